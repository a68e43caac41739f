"""What ``mediamill`` exports is enough to add to it: every type of ours that an export names is exported, too."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import mediamill
from mediamill import interface
from mediamill.tasks import capabilities


def find_annotations(node: ast.AST) -> set[str]:
    """The names in the annotations and bases of a definition, private members left out."""
    found: set[str] = set()

    def take(annotation: ast.expr | None) -> None:
        if annotation is not None:
            found.update(re.findall(r"\b[A-Za-z]\w+\b", ast.unparse(annotation)))

    for each in ast.walk(node):
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and not (
            each.name.startswith("_") and each.name != "__init__"
        ):
            arguments = (*each.args.posonlyargs, *each.args.args, *each.args.kwonlyargs)
            for argument in arguments:
                take(argument.annotation)
            take(each.returns)
    if isinstance(node, ast.ClassDef):
        for base in node.bases:
            take(base)
        for member in node.body:
            if isinstance(member, ast.AnnAssign) and not ast.unparse(member.target).startswith("_"):
                take(member.annotation)
    return found


def find_own_types(module: str) -> set[str]:
    """The names of types that a module takes from mediamill or defines itself."""
    path = Path(inspect.getfile(importlib.import_module(module)))
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mediamill."):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            found.add(node.name)
    return found


INTERNAL_TYPES = {"Notifications", "RenamedFields", "RunEnd", "Work"}
"""Base classes, arguments and results of exports that give a program nothing to call or to name."""


@pytest.mark.parametrize("name", [name for name in interface.__all__ if inspect.isclass(getattr(mediamill, name))])
def test_every_type_that_an_export_names_is_exported(name: str) -> None:
    cls = getattr(mediamill, name)
    path = Path(inspect.getfile(cls))
    tree = ast.parse(path.read_text(encoding="utf-8"))
    definition = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == cls.__name__)
    named = find_annotations(definition) & find_own_types(cls.__module__)
    assert sorted(named - set(interface.__all__) - INTERNAL_TYPES) == []


def test_every_export_exists_and_dir_lists_no_other_names() -> None:
    assert [name for name in interface.__all__ if not hasattr(mediamill, name)] == []
    assert set(interface.__all__) <= set(dir(mediamill))
    functions = {name.replace("-", "_") for name in capabilities.BUILT_IN}
    assert functions <= set(dir(mediamill))
    assert functions <= set(dir(mediamill.aio))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mediamill.nothing  # type: ignore[attr-defined]  # noqa: B018
