"""Refuse templates with columns that no row has, before OUT is bound to them and before anything is paid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from mediamill.tasks.bounded.template_columns import find_needed_columns
from mediamill.tasks.capabilities.base import Capability
from mediamill.tasks.capabilities.parameters import Template
from mediamill.tasks.errors import NoSuchOption

if TYPE_CHECKING:
    from mediamill.tasks.run.resolved_job import ResolvedJob
    from mediamill.tasks.sources import Source

TEMPLATE_VALUES = ("file_name", "item_id", "source", "text")
"""What templates may name beside the row's columns; not each capability fills all of them."""


def check_template_columns(resolved: ResolvedJob, source: Source) -> None:
    """Refuse a job whose templates name a column that no row has. One that only some rows lack fails those rows.

    Raises:
        NoSuchOption: with the nearest column there is.
    """
    templates = dict(list_templates(resolved.capability, resolved.params))
    schema = source.row_schema()
    known = {*(schema.names if schema is not None else ()), *TEMPLATE_VALUES}
    for param, text in templates.items():
        missing = find_unknown_columns(text, known)
        if missing and not _is_given_by_rows(source, param):
            raise NoSuchOption("column", missing[0], known, where=f"{resolved.job.source}: {param}")


def list_templates(capability: Capability, params: Any) -> Iterator[tuple[str, str]]:
    """The parameters that hold a template, with their texts."""
    for name, field in capability.params.model_fields.items():
        text = getattr(params, name)
        if isinstance(text, str) and "{" in text and any(isinstance(each, Template) for each in field.metadata):
            yield name, text


def find_unknown_columns(template: str, known: Iterable[str]) -> list[str]:
    """The columns that a template needs in every row and that are not ``known``, in any form of their letters."""
    composed = {normalize("NFC", name) for name in known}
    return sorted(name for name in find_needed_columns(template) if normalize("NFC", name) not in composed)


def _is_given_by_rows(source: Source, param: str) -> bool:
    """Whether rows have a column of the parameter's name, which comes in its place."""
    first = next(source.items(), None) if source.root != "-" else None
    return first is not None and param in first.params
