"""Jinja templates over a row's columns, in Jinja's sandbox, because rows come from anybody."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mediamill.tasks.bounded.limits import LIMIT_KIND, MAX_RENDERED_CHARACTERS, SIZE_MESSAGE, WorkFailed

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.sandbox import SandboxedEnvironment

_FILL_ERRORS = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError)


@functools.cache
def build_environment() -> SandboxedEnvironment:
    """The environment of all templates."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)


def check_template(text: str) -> None:
    """Compile a template. Compiling computes what is constant in it, so it may take long, too.

    Raises:
        WorkFailed: ``syntax`` when it is not a template.
    """
    _compile_template(text)


def fill_template(text: str, row: Mapping[str, Any]) -> str:
    """A template filled with a row's columns.

    Raises:
        WorkFailed: ``undefined`` when it uses a column that the row does not have; ``invalid`` when it cannot be
            filled; ``over_limit`` when the text is too long.
    """
    from jinja2 import TemplateError, UndefinedError

    parts: list[str] = []
    size = 0
    try:
        for part in _compile_template(text).generate(row):
            parts.append(part)
            size += len(part)
            if size > MAX_RENDERED_CHARACTERS:
                raise WorkFailed(LIMIT_KIND, SIZE_MESSAGE)
    except UndefinedError as error:
        raise WorkFailed("undefined", str(error.message)) from None
    except (TemplateError, *_FILL_ERRORS) as error:
        raise WorkFailed("invalid", str(error)) from None
    return "".join(parts)


@functools.lru_cache(maxsize=256)
def _compile_template(text: str) -> Template:
    from jinja2 import TemplateSyntaxError

    try:
        return build_environment().from_string(text)
    except TemplateSyntaxError as error:
        raise WorkFailed("syntax", f"in line {error.lineno}: {error.message}") from None
    except (ValueError, SyntaxError) as error:
        raise WorkFailed("syntax", str(error)) from None
