"""Expressions over a row's columns: Python's operators and a few functions, without access to anything else."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any

from mediamill.tasks.errors import BadInput

_WORD = re.compile(r"\w+")
_MAX_COMPARED_WORDS = 20_000
_EVALUATION_ERRORS = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError)


class Expression:
    """An expression such as ``language != 'en' and audio_seconds > 5``.

    Names are columns; a column that a row does not have is ``None``. Functions: len, lower, upper, str, int, float,
    abs, min, max, round, sum, any, all, contains, matches (a regular expression), words, similarity (0 to 1, of two
    texts).

    Raises:
        ValueError: when the text is not an expression.
    """

    def __init__(self, text: str) -> None:
        from simpleeval import EvalWithCompoundTypes

        self.text = text.strip()
        self._evaluator = EvalWithCompoundTypes(functions=_FUNCTIONS)
        try:
            self._parsed = ast.parse(self.text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise ValueError(f"{text!r} cannot be read: {getattr(error, 'msg', error)}") from None

    @property
    def column_names(self) -> set[str]:
        """The columns it uses, without the variables of its comprehensions."""
        nodes = [node for node in ast.walk(self._parsed) if isinstance(node, ast.Name)]
        bound_names = {node.id for node in nodes if isinstance(node.ctx, ast.Store)}
        return {node.id for node in nodes} - bound_names - set(_FUNCTIONS)

    def is_true_for(self, row: Mapping[str, Any], source: str = "") -> bool:
        """Whether the expression is true for a row.

        Raises:
            BadInput: when it cannot be evaluated for this row.
        """
        from simpleeval import InvalidExpression

        self._evaluator.names = _ColumnValues(row)
        try:
            return bool(self._evaluator.eval(self.text, self._parsed))
        except (InvalidExpression, *_EVALUATION_ERRORS) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise BadInput(f"{source}: {self.text!r} cannot be evaluated: {reason}", kind="bad_expression") from None


class _ColumnValues(dict[str, Any]):
    """The columns of a row, and None for any other name but a function's."""

    def __missing__(self, name: str) -> Any:
        if name in _FUNCTIONS:
            raise KeyError(name)
        return None


def _similarity(first: Any, second: Any) -> float:
    """Similarity of two texts by words: 1 when they differ in case and spacing only, 0 without a common word."""
    a, b = _split_words(first), _split_words(second)
    if not a and not b:
        return 1.0
    return difflib.SequenceMatcher(None, a[:_MAX_COMPARED_WORDS], b[:_MAX_COMPARED_WORDS], autojunk=False).ratio()


def _split_words(text: Any) -> list[str]:
    return _WORD.findall(str(text or "").lower())


def _contains(container: Any, part: Any) -> bool:
    if isinstance(container, str):
        return str(part).lower() in container.lower()
    return part in (container or ())


def _matches_pattern(text: Any, pattern: str) -> bool:
    return re.search(pattern, str(text or "")) is not None


def _length(value: Any) -> int:
    return 0 if value is None else len(value)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "len": _length,
    "lower": lambda text: str(text or "").lower(),
    "upper": lambda text: str(text or "").upper(),
    "str": lambda value: "" if value is None else str(value),
    "int": int,
    "float": float,
    "abs": abs,
    "min": min,
    "max": max,
    "round": round,
    "sum": sum,
    "any": any,
    "all": all,
    "contains": _contains,
    "matches": _matches_pattern,
    "words": _split_words,
    "similarity": _similarity,
}
