"""Expressions over a row's columns: Python's operators and a few functions, without access to anything else."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from mediamill.tasks.bounded.expression_language import FUNCTIONS, evaluate, find_type, is_linear
from mediamill.tasks.bounded.limits import DEPTH_MESSAGE, LIMIT_KIND, WorkFailed
from mediamill.tasks.bounded.worker_pool import run_bounded
from mediamill.tasks.errors import BadInput


class Expression:
    """An expression such as ``language != 'en' and audio_seconds > 5``.

    Names are columns; a column that a row does not have is ``None``. Functions: len, lower, upper, str, int, float,
    abs, min, max, round, sum, any, all, contains, matches (a regular expression), words, similarity (0 to 1, of two
    texts).

    Raises:
        ValueError: when the text is not an expression.
    """

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        try:
            self._parsed = ast.parse(self.text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise ValueError(f"{text!r} cannot be read: {getattr(error, 'msg', error)}") from None
        self._is_linear = is_linear(self._parsed)

    @property
    def column_names(self) -> set[str]:
        """The columns it uses, without the variables of its comprehensions."""
        nodes = [node for node in ast.walk(self._parsed) if isinstance(node, ast.Name)]
        bound_names = {node.id for node in nodes if isinstance(node.ctx, ast.Store)}
        return {node.id for node in nodes} - bound_names - set(FUNCTIONS) - self.unknown_functions

    @property
    def unknown_functions(self) -> set[str]:
        """The names that it calls and that are no function of expressions."""
        called = [node.func for node in ast.walk(self._parsed) if isinstance(node, ast.Call)]
        return {function.id for function in called if isinstance(function, ast.Name)} - set(FUNCTIONS)

    def is_true_for(self, row: Mapping[str, Any], source: str = "") -> bool:
        """Whether the expression is true for a row. What may take long is evaluated in a worker, with limits.

        Raises:
            BadInput: when it cannot be evaluated for this row.
        """
        return self._evaluate(row, source, must_decide=False)

    def decide(self, row: Mapping[str, Any], source: str = "") -> bool:
        """As :meth:`is_true_for`, and takes no other value than true or false.

        Raises:
            BadInput: when it cannot be evaluated for this row, or is a text, a number or nothing.
        """
        return self._evaluate(row, source, must_decide=True)

    def find_type(self, columns: Mapping[str, str]) -> str | None:
        """What its value is whatever the row; see :func:`mediamill.tasks.bounded.expression_language.find_type`."""
        return find_type(self._parsed, columns)

    def _evaluate(self, row: Mapping[str, Any], source: str, *, must_decide: bool) -> bool:
        try:
            if self._is_linear:
                return evaluate(self.text, row, must_decide)
            return bool(run_bounded("evaluate", self.text, dict(row), must_decide))
        except RecursionError:
            message = f"{source}: {self.text[:200]!r} cannot be evaluated: {DEPTH_MESSAGE}"
            raise BadInput(message, kind=LIMIT_KIND) from None
        except WorkFailed as error:
            kind = LIMIT_KIND if error.kind == LIMIT_KIND else "bad_expression"
            message = f"{source}: {self.text!r} cannot be evaluated: {error.message}"
            raise BadInput(message, kind=kind) from None
