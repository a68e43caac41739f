"""Every test asserts something, or its docstring says why not, after the words ``Asserts nothing:``."""

from __future__ import annotations

import ast
from functools import cache

from tests.helpers.paths import ROOT

FILES = sorted((ROOT / "tests").rglob("*.py"))
FAILING = {"raises", "warns", "fail"}
"""Calls of pytest that fail a test; a helper's call counts when its name begins with ``assert_`` or ``check_``."""
REASON = "Asserts nothing: "
Function = ast.FunctionDef | ast.AsyncFunctionDef


def test_every_test_asserts_or_says_why_not() -> None:
    silent = [name for name, function in functions("test_") if not (asserts(function) or gives_reason(function))]
    assert not silent, f"these tests assert nothing: assert, or say why not in the docstring, after '{REASON}'"


def test_helpers_that_are_named_so_assert() -> None:
    empty = [name for prefix in ("assert_", "check_") for name, function in functions(prefix) if not asserts(function)]
    assert not empty, "these helpers are named as if they asserted"


def functions(prefix: str) -> list[tuple[str, Function]]:
    """Every function of tests/ whose name begins so, by file and name."""
    return [(name, function) for name, function in all_functions() if function.name.startswith(prefix)]


@cache
def all_functions() -> list[tuple[str, Function]]:
    """Every function of tests/, by file and name."""
    return [
        (f"{path.relative_to(ROOT)}::{node.name}", node)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, Function)
    ]


def asserts(function: Function) -> bool:
    """Whether something in the function's body can fail a test."""
    return any(isinstance(node, ast.Assert) or is_failing_call(node) for node in ast.walk(function))


def gives_reason(function: Function) -> bool:
    """Whether the docstring says why the test asserts nothing."""
    return REASON in (ast.get_docstring(function) or "")


def is_failing_call(node: ast.AST) -> bool:
    """Whether a node calls what fails a test."""
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in FAILING or name.startswith(("assert_", "check_"))
