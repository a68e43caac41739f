"""The language of expressions over a row: Python's operators and a few functions, without access to anything else."""

from __future__ import annotations

import ast
import difflib
import functools
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mediamill.tasks.bounded.limits import WorkFailed

if TYPE_CHECKING:
    from simpleeval import EvalWithCompoundTypes

_WORD = re.compile(r"\w+")
_MAX_COMPARED_WORDS = 20_000
_EVALUATION_ERRORS = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, re.error)


def evaluate(text: str, row: Mapping[str, Any], must_decide: bool = False) -> bool:  # noqa: FBT001, FBT002 (sent to workers)
    """Whether an expression is true for a row.

    Args:
        text: the expression.
        row: its columns.
        must_decide: take no other value than true or false; an ``and`` or ``or`` may end at an empty value, as false.

    Raises:
        WorkFailed: ``invalid`` when it cannot be evaluated for this row.
    """
    from simpleeval import InvalidExpression

    evaluator, parsed = _parse(text)
    evaluator.names = _ColumnValues(row)
    try:
        value = evaluator.eval(text, parsed)
    except (InvalidExpression, *_EVALUATION_ERRORS) as error:
        raise WorkFailed("invalid", next(iter(str(error).splitlines()), type(error).__name__)) from None
    if must_decide and not isinstance(value, bool) and (value or not isinstance(parsed, ast.BoolOp)):
        raise WorkFailed("invalid", f"it is {describe_type(value)}, and neither true nor false")
    return bool(value)


def describe_type(value: Any) -> str:
    """What a value is, in words."""
    names = {str: "a text", int: "a number", float: "a number", list: "a list", tuple: "a list", dict: "a record"}
    return "nothing" if value is None else names.get(type(value), f"a {type(value).__name__}")


def find_type(parsed: ast.expr, columns: Mapping[str, str]) -> str | None:
    """What an expression's value is whatever the row, in words; None where that is true or false, or not known.

    Args:
        parsed: the expression.
        columns: what columns are, in words; those that are true or false, or of no known type, are not in it.
    """
    if isinstance(parsed, ast.BoolOp):  # it ends at an empty value, which is false, or with its last operand
        return find_type(parsed.values[-1], columns)
    if isinstance(parsed, ast.IfExp):
        kinds = {find_type(each, columns) for each in (parsed.body, parsed.orelse)}
        return kinds.pop() if len(kinds) == 1 else None
    if isinstance(parsed, ast.Name):
        return columns.get(parsed.id)
    if isinstance(parsed, ast.Constant):
        return None if isinstance(parsed.value, bool) else describe_type(parsed.value)
    if isinstance(parsed, ast.Call) and isinstance(parsed.func, ast.Name):
        return _RESULTS.get(parsed.func.id)
    if isinstance(parsed, (ast.List, ast.Tuple, ast.ListComp)):
        return "a list"
    return "a text" if isinstance(parsed, ast.JoinedStr) else None


def is_linear(parsed: ast.expr) -> bool:
    """True when evaluating it takes time and memory in proportion to the row alone, so that it needs no worker."""
    return all(
        isinstance(node, _LINEAR_NODES) and (not isinstance(node, ast.Call) or _is_linear_call(node))
        for node in ast.walk(parsed)
    )


def _is_linear_call(call: ast.Call) -> bool:
    """With a second argument, ``sum`` joins lists again and again, and ``round`` computes a power of ten."""
    if not isinstance(call.func, ast.Name) or call.func.id not in _LINEAR_FUNCTIONS:
        return False
    if call.func.id == "round":
        return all(isinstance(each, ast.Constant) for each in call.args[1:])
    return call.func.id not in ("sum", "int") or len(call.args) == 1


@functools.lru_cache(maxsize=64)
def _parse(text: str) -> tuple[EvalWithCompoundTypes, ast.expr]:
    from simpleeval import EvalWithCompoundTypes

    return EvalWithCompoundTypes(functions=FUNCTIONS), ast.parse(text, mode="eval").body


class _ColumnValues(dict[str, Any]):
    """The columns of a row, and None for any other name but a function's."""

    def __missing__(self, name: str) -> Any:
        if name in FUNCTIONS:
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


FUNCTIONS: dict[str, Callable[..., Any]] = {
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

_RESULTS = {
    **dict.fromkeys(("len", "int", "float", "abs", "round", "similarity"), "a number"),
    **dict.fromkeys(("lower", "upper", "str"), "a text"),
    "words": "a list",
}
"""What functions return that never return true or false; min, max and sum depend on what they get."""
_LINEAR_FUNCTIONS = FUNCTIONS.keys() - {"matches", "similarity"}
_LINEAR_NODES = (
    *(ast.Name, ast.Constant, ast.Load, ast.Attribute, ast.Subscript, ast.Compare, ast.cmpop, ast.BoolOp, ast.boolop),
    *(ast.UnaryOp, ast.unaryop, ast.Call, ast.IfExp, ast.List, ast.Tuple),
    *(ast.BinOp, ast.Add, ast.Sub, ast.Div),
)
"""Without multiplication, powers, the remainder (which formats texts), methods and comprehensions."""
