"""The reference of the Python interface: the functions that run jobs, and the names for extensions."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from typing import Any

from mediamill import interface
from mediamill.tasks.capabilities import BUILT_IN
from tests.docs.reference.markdown import NOTE, escape, format_code, format_table, join_blocks

_INTRODUCTION = """\
Everything here is imported from `mediamill`. Other modules may change from one release to the next.
`mediamill.transcribe(source, **options)` is `mediamill.run("transcribe", source, **options)`, and so for each
capability; `mediamill.aio` has `run`, `quote` and the same functions to be awaited. Options are those of the command,
with underscores ([job.md](job.md)); the summary's fields are in [columns.md](columns.md#runsrunjson). Examples:
[python.md](../python.md)."""


def make_python_page() -> str:
    """The functions with their help, then every other public name in one line."""
    names = sorted(interface.__all__, key=str.lower)
    functions = [name for name in names if inspect.isfunction(getattr(interface, name))]
    others = [name for name in names if name not in functions]
    return join_blocks(
        [
            NOTE,
            "# Python",
            _INTRODUCTION,
            "## One function for each capability",
            format_table(
                ["function", "what it does"],
                [
                    [format_code(f"mediamill.{name.replace('-', '_')}"), escape(words)]
                    for name, (_, words) in BUILT_IN.items()
                ],
            ),
            "## Functions",
            *(block for name in functions for block in _describe_function(name)),
            "## Classes and constants",
            format_table(["name", "meaning"], [[format_code(name), get_first_sentence(name)] for name in others]),
        ]
    )


def _describe_function(name: str) -> list[str]:
    function = getattr(interface, name)
    text = inspect.getdoc(function) or ""
    return [
        f"### {name}",
        f"```text\n{name}{_format_signature(function)}\n\n{_to_plain_text(text)}\n```",
    ]


def _format_signature(function: Any) -> str:
    """A function's signature as it is written in the code."""
    signature = inspect.signature(function)
    parameters = [
        parameter.replace(annotation=_Literal(parameter.annotation))
        if parameter.annotation is not inspect.Parameter.empty
        else parameter
        for parameter in signature.parameters.values()
    ]
    return str(signature.replace(parameters=parameters, return_annotation=_Literal(signature.return_annotation)))


class _Literal:
    """An annotation that is printed without quotes."""

    def __init__(self, annotation: Any) -> None:
        self._annotation = annotation

    def __repr__(self) -> str:
        return str(self._annotation)


def get_first_sentence(name: str) -> str:
    """What a public name is, in a sentence; of a constant or type what stands below its definition."""
    value = getattr(interface, name)
    if not inspect.isclass(value):
        return escape(_get_constant_meaning(name))
    text = " ".join((inspect.getdoc(value) or "").partition("\n\n")[0].split())
    return escape(_to_plain_text(text))


def _get_constant_meaning(name: str) -> str:
    """The docstring that stands below a constant's definition."""
    source = inspect.getsource(importlib.import_module(_find_module(name)))
    match = re.search(rf'^{name}\b[^\n]*=.*?\n"""(.+?)"""', source, re.MULTILINE | re.DOTALL)
    return " ".join(_to_plain_text(match[1]).split()) if match else ""


def _find_module(name: str) -> str:
    """The module from which the interface imports a name."""
    for node in ast.parse(inspect.getsource(interface)).body:
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            return str(node.module)
    raise LookupError(name)


def _to_plain_text(text: str) -> str:
    """A docstring without the marks of reStructuredText."""
    return re.sub(r":\w+:`~?([^`]+)`", lambda match: match[1].rpartition(".")[2], text).replace("``", "`")
