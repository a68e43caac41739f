"""Which columns a task's templates look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def columns_in(params: Mapping[str, Any]) -> set[str]:
    """Names that the templates among a task's parameters use."""
    from jinja2 import Environment, TemplateSyntaxError, meta

    found: set[str] = set()
    for name in ("prompt", "system"):
        template = params.get(name)
        if isinstance(template, str):
            try:
                found |= meta.find_undeclared_variables(Environment(autoescape=True).parse(template))
            except TemplateSyntaxError:
                continue
    return found
