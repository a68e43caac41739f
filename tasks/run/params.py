"""Validate a capability's parameters: those of the job, and those of a manifest's row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mediamill.tasks.bounded.values import check_depth
from mediamill.tasks.capabilities.base import Capability
from mediamill.tasks.capabilities.parameters import NamesFiles, Option, ReadsFile
from mediamill.tasks.domain import Item
from mediamill.tasks.errors import BadInput, NoSuchOption, UsageError
from mediamill.tasks.field_errors import get_first_error
from mediamill.tasks.job import Job
from mediamill.tasks.renamed_options import get_renamed_params, override, to_new_names
from mediamill.tasks.sources.locate import find_file
from mediamill.tasks.sources.row_paths import PathRefused, RowPaths

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


def validate_params(capability: Capability, params: dict[str, Any]) -> Any:
    """Validate a job's parameters; an object of ``capability.params``.

    Raises:
        UsageError: naming the parameter, with the nearest known one when it is unknown.
    """
    try:
        return capability.params.model_validate(params)
    except ValidationError as error:
        first = get_first_error(error, capability.params)
        if first.is_unknown:
            raise NoSuchOption(f"{capability.name} parameter", first.name, capability.params.model_fields) from None
        raise UsageError(str(first)) from None


def list_param_names(capability: Capability) -> frozenset[str]:
    """The parameters that a manifest's columns hold by their names, also by those they had before."""
    fields = capability.params.model_fields.items()
    return frozenset({*(name for name, field in fields if _is_by_row(field)), *get_renamed_params(capability.name)})


def _is_by_row(field: FieldInfo) -> bool:
    return all(each.by_row for each in field.metadata if isinstance(each, Option))


def resolve_item_params(capability: Capability, job: Job, item: Item, params: Any, row_paths: RowPaths) -> Any:
    """The parameters for one item: the job's ``params``, overridden by the row's.

    A row is data from strangers: it names no code, and only files that ``row_paths`` finds.

    Raises:
        BadInput: when a row's value does not fit.
    """
    if not item.params:
        return params
    renamed = get_renamed_params(capability.name)
    with _fail_item(item):
        row = to_new_names(item.params, renamed)
    own = {}
    for name, value in row.items():
        with _fail_item(item, f"column {name!r}: "):
            own[name] = _restrict_row_value(capability.params.model_fields.get(name), value, row_paths)
    try:
        return capability.params.model_validate(override(job.params, own, renamed), context=set(own))
    except ValidationError as error:
        first = get_first_error(error, capability.params)
        where = f"column {first.name!r}: " if first.path else ""
        raise BadInput(f"{item.source}: {where}{first.message}", kind="wrong_row") from None


def _restrict_row_value(field: FieldInfo | None, value: Any, row_paths: RowPaths) -> Any:
    """A row's value for a parameter, with full paths in place of the files it names.

    Raises:
        ValueError: when it names code, a file it may not name, or gives a permission.
    """
    check_depth(value)
    for declaration in field.metadata if field is not None else ():
        if isinstance(declaration, NamesFiles):
            value = declaration.find_files(value, lambda name: find_file(name, row_paths))
        elif isinstance(declaration, ReadsFile):
            value = declaration.parse_row_value(value)
            check_depth(value)
        elif isinstance(declaration, Option) and declaration.permission:
            raise ValueError("it is a permission, which only the job gives")
    return value


@contextmanager
def _fail_item(item: Item, where: str = "") -> Iterator[None]:
    """Make a ValueError about a row the item's failure, which names the row."""
    try:
        yield
    except ValueError as error:
        is_transient = isinstance(error, PathRefused)  # a later run succeeds once the job allows the path
        raise BadInput(f"{item.source}: {where}{error}", kind="wrong_row", transient=is_transient) from None
