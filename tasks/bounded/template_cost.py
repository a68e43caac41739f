"""How long a template's text can become: for templates that only insert columns, a sum that is known beforehand.

Such a template is filled in this process. Any other (loops in loops, arithmetic, calls, macros, variables) is filled
in a worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import nodes

_MAX_LOCAL_CHARACTERS = 4_000_000
_MAX_NODES = 10_000
_MAX_SCALAR_CHARACTERS = 32
_REPR_GROWTH = 10
"""Characters of one character inside a list, which Python may write as ``\\U0010ffff``."""
_GROWTH = {
    **dict.fromkeys(("trim", "length", "count", "first", "last", "string", "safe", "int", "float", "round", "abs"), 1),
    **dict.fromkeys(("upper", "lower", "title", "capitalize"), 3),
    **dict.fromkeys(("e", "escape"), 6),
    "tojson": 12,
}
"""Filters without arguments, and how many times longer they may make a text at most."""
_CHEAP_TESTS = frozenset(("defined", "undefined", "none", "string", "number", "boolean", "mapping", "sequence"))


class _NotLinear(Exception):
    """The template is none whose length is known beforehand."""


@dataclass(frozen=True, slots=True)
class TemplateCost:
    """A bound of a template's length: a constant, and for each column how often its length is added."""

    constant: int
    growth: Mapping[str, int]

    def max_characters(self, row: Mapping[str, Any]) -> int | None:
        """The bound for this row; None when a column has so many parts that they are not counted."""
        total = self.constant
        for name, factor in self.growth.items():
            size = _measure(row.get(name))
            if size is None:
                return None
            total += factor * size
        return total

    def is_cheap_for(self, row: Mapping[str, Any]) -> bool:
        """True when the template, filled with this row, is surely short."""
        characters = self.max_characters(row)
        return characters is not None and characters <= _MAX_LOCAL_CHARACTERS


def find_cost(template: nodes.Template) -> TemplateCost | None:
    """The bound of a parsed template's length; None when none is known."""
    try:
        return _sum(_cost(part) for part in template.body)
    except (_NotLinear, RecursionError):
        return None


def _measure(value: Any) -> int | None:
    """The characters of a value, at least one for each part; None when it has many parts."""
    if isinstance(value, str):
        return len(value)
    total = parts = 0
    pending = [value]
    while pending:
        current = pending.pop()
        parts += 1
        if parts > _MAX_NODES:
            return None
        if isinstance(current, str):
            total += _REPR_GROWTH * len(current)
        elif isinstance(current, Mapping):
            if len(current) > _MAX_NODES:
                return None
            pending += [*current.keys(), *current.values()]
        elif isinstance(current, list | tuple):
            if len(current) > _MAX_NODES:
                return None
            pending += current
        else:
            total += current.bit_length() if isinstance(current, int) else 0
            total += _MAX_SCALAR_CHARACTERS
    return total + 4 * parts


def _sum(costs: Any) -> TemplateCost:
    constant, growth = 0, dict[str, int]()
    for cost in costs:
        constant += cost.constant
        for name, factor in cost.growth.items():
            growth[name] = growth.get(name, 0) + factor
    return TemplateCost(constant, growth)


def _multiply(cost: TemplateCost, factor: int) -> TemplateCost:
    return TemplateCost(cost.constant * factor, {name: n * factor for name, n in cost.growth.items()})


def _cost(node: nodes.Node) -> TemplateCost:
    """The bound of one part of a template.

    Raises:
        _NotLinear: when there is none.
    """
    from jinja2 import nodes

    if isinstance(node, nodes.TemplateData):
        return TemplateCost(len(node.data), {})
    if isinstance(node, nodes.Const):
        return TemplateCost(len(str(node.value)), {})
    if isinstance(node, nodes.Name) and node.ctx == "load":
        return TemplateCost(_MAX_SCALAR_CHARACTERS, {node.name: 1})
    if isinstance(node, nodes.Getattr) or (isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const)):
        return _cost(node.node)
    if isinstance(node, nodes.Filter):
        return _filter_cost(node)
    if isinstance(node, nodes.Test) and node.name in _CHEAP_TESTS and not (node.args or node.kwargs):
        return _cost(node.node)
    if isinstance(node, nodes.For):
        return _loop_cost(node)
    if isinstance(node, nodes.Output | nodes.If | nodes.CondExpr | nodes.Concat | nodes.Not | nodes.And | nodes.Or):
        return _sum(_cost(child) for child in node.iter_child_nodes())
    if isinstance(node, nodes.Compare | nodes.Operand):
        return _sum(_cost(child) for child in node.iter_child_nodes())
    raise _NotLinear


def _filter_cost(node: nodes.Filter) -> TemplateCost:
    from jinja2 import nodes

    if node.node is None or node.kwargs or node.dyn_args or node.dyn_kwargs:
        raise _NotLinear
    if not node.args and node.name in _GROWTH:
        return _multiply(_cost(node.node), _GROWTH[node.name])
    if node.name == "join" and all(isinstance(each, nodes.Const) for each in node.args[:1]) and len(node.args) <= 1:
        return _multiply(_cost(node.node), 1 + sum(_cost(each).constant for each in node.args))
    if node.name in ("default", "d") and node.args:
        return _sum(_cost(each) for each in (node.node, *node.args))
    raise _NotLinear


def _loop_cost(node: nodes.For) -> TemplateCost:
    """A loop over a column, whose body inserts only the loop's own values: each part of the column counts once."""
    from jinja2 import nodes

    if node.recursive or not isinstance(node.target, nodes.Name):
        raise _NotLinear
    body = _sum(_cost(part) for part in (*node.body, *([node.test] if node.test else [])))
    if set(body.growth) - {node.target.name, "loop"}:
        raise _NotLinear
    uses, loop_uses = body.growth.get(node.target.name, 0), body.growth.get("loop", 0)
    per_part = body.constant + uses + _MAX_SCALAR_CHARACTERS * loop_uses
    return _sum((_multiply(_cost(node.iter), 1 + per_part), *(_cost(part) for part in node.else_)))
