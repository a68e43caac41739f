"""Which columns a template needs in every row: those whose absence no row gets past."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mediamill.tasks.bounded.templates import build_environment

if TYPE_CHECKING:
    from jinja2 import nodes


def find_needed_columns(text: str) -> set[str]:
    """The columns that a template prints or tests whatever else a row holds.

    A column that stands only in a branch, in a loop or before ``default`` is none of them: a row may do without it.

    Raises:
        jinja2.TemplateSyntaxError: when it is no template.
    """
    from jinja2 import meta

    environment = build_environment()
    parsed = environment.parse(text)
    try:
        needed = {name for part in parsed.body for name in _find_needed_names(part)}
    except RecursionError:
        return set()
    return needed & meta.find_undeclared_variables(parsed) - environment.globals.keys()


def _find_needed_names(node: nodes.Node) -> Iterator[str]:
    from jinja2 import nodes

    for part in _list_needed_parts(node):
        if isinstance(part, nodes.Name):
            yield part.name
        else:
            yield from _find_needed_names(part)


def _list_needed_parts(node: nodes.Node) -> list[nodes.Node]:
    """The parts of a node that are evaluated in any case, and fail where they are undefined."""
    from jinja2 import nodes

    match node:
        case nodes.Output() | nodes.Concat():
            return list(node.nodes)
        case nodes.If() | nodes.CondExpr():
            return [node.test]
        case nodes.For():
            return [node.iter]
        case nodes.Filter(name="default" | "d", node=nodes.Name()):
            return []
        case nodes.Filter() if node.node is not None:
            return [node.node]
        case nodes.And() | nodes.Or():
            return [node.left]
        case nodes.BinExpr():
            return [node.left, node.right]
        case nodes.UnaryExpr() | nodes.Getattr() | nodes.Getitem() | nodes.Call():
            return [node.node]
        case nodes.Compare():
            return [node.expr, node.ops[0].expr]
    return []
