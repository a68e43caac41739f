"""Jinja templates over a row's columns, in Jinja's sandbox, because rows come from anybody."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from mediamill.tasks.bounded.limits import LIMIT_KIND, MAX_RENDERED_CHARACTERS, SIZE_MESSAGE, WorkFailed

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.sandbox import SandboxedEnvironment

_NULL_MESSAGE = "it prints a value that is empty"
_TEXT_FILTERS = (
    *("capitalize", "center", "e", "escape", "forceescape", "indent", "lower", "replace", "string", "striptags"),
    *("title", "trim", "truncate", "upper", "urlencode", "wordwrap"),
)
"""Filters whose result is a text that is empty, or ``None``, where the value is."""
_FILL_ERRORS = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, AssertionError)


class _EmptyText(str):
    """A cell without text, which is false as '' is."""

    __slots__ = ()


@functools.cache
def build_environment() -> SandboxedEnvironment:
    """The environment of all templates."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False, finalize=_refuse_empty)
    environment.filters |= {name: _refusing_empty(environment.filters[name]) for name in _TEXT_FILTERS}
    return environment


def _refusing_empty(text_filter: Callable[..., Any]) -> Callable[..., Any]:
    """A filter of texts that takes no cell which is null or empty: it would print ``None``, or nothing."""

    @functools.wraps(text_filter)  # with the mark by which Jinja passes some filters its environment first
    def refusing(*args: Any, **kwargs: Any) -> Any:
        is_marked = hasattr(text_filter, "jinja_pass_arg")
        _refuse_empty(args[is_marked])
        return text_filter(*args, **kwargs)

    return refusing


def _refuse_empty(value: Any) -> Any:
    """A value that a template prints. A cell that is null or empty is no text, and a prompt without it is paid for."""
    if value is None or isinstance(value, _EmptyText):
        from jinja2 import UndefinedError

        raise UndefinedError(_NULL_MESSAGE)
    return value


def check_template(text: str) -> None:
    """Compile a template. Compiling computes what is constant in it, so it may take long, too.

    Raises:
        WorkFailed: ``syntax`` when it is not a template.
    """
    _compile_template(text)


def fill_template(text: str, row: Mapping[str, Any]) -> str:
    """A template filled with a row's columns.

    Raises:
        WorkFailed: ``undefined`` when it uses a column that the row does not have, or prints one that is null or has
            no text; ``invalid`` when it cannot be filled; ``over_limit`` when the text is too long.
    """
    from jinja2 import TemplateError, UndefinedError

    parts: list[str] = []
    size = 0
    try:
        for part in _compile_template(text).generate(_mark_empty(_add_other_forms(row))):
            parts.append(part)
            size += len(part)
            if size > MAX_RENDERED_CHARACTERS:
                raise WorkFailed(LIMIT_KIND, SIZE_MESSAGE)
    except UndefinedError as error:
        raise WorkFailed("undefined", _explain(str(error.message), text, row)) from None
    except (TemplateError, *_FILL_ERRORS) as error:
        raise WorkFailed("invalid", str(error)) from None
    return "".join(parts)


def _explain(message: str, text: str, row: Mapping[str, Any]) -> str:
    """Why a template cannot be filled: a column that is missing, or those that are empty."""
    return message if message.endswith(" is undefined") else _name_empty(text, row) or message


def _name_empty(text: str, row: Mapping[str, Any]) -> str | None:
    """The columns that a template uses and that are empty in a row, in words; None where there are none."""
    from jinja2 import meta

    used = meta.find_undeclared_variables(build_environment().parse(text))
    empty = sorted(name for name in used if name in row and _is_empty(row[name]))
    return f"{', '.join(map(repr, empty))} is empty there" if empty else None


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _mark_empty(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its texts that are empty, or white space alone, as what no template may print."""
    return {name: _EmptyText() if isinstance(value, str) and _is_empty(value) else value for name, value in row.items()}


def _add_other_forms(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row, whose columns also have their names composed and decomposed (NFC and NFD): both look the same."""
    names = [name for name in row if not name.isascii()]
    forms = {normalize(form, name): row[name] for name in names for form in ("NFC", "NFD")}
    return {**forms, **row} if forms else row


@functools.lru_cache(maxsize=256)
def _compile_template(text: str) -> Template:
    from jinja2 import TemplateSyntaxError

    try:
        return build_environment().from_string(text)
    except TemplateSyntaxError as error:
        raise WorkFailed("syntax", f"in line {error.lineno}: {error.message}") from None
    except (ValueError, SyntaxError) as error:
        raise WorkFailed("syntax", str(error)) from None
