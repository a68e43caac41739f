"""Which columns a task's templates look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def columns_in(params: Mapping[str, Any]) -> set[str]:
    """Names that the templates among a task's parameters use, whatever the capability calls them."""
    from jinja2 import Environment, TemplateSyntaxError, meta

    found: set[str] = set()
    for template in params.values():
        if isinstance(template, str) and "{" in template:
            try:
                found |= meta.find_undeclared_variables(Environment(autoescape=True).parse(template))
            except TemplateSyntaxError:
                continue
    return found
