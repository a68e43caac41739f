"""A capability's parameters: the job's, and a row's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mediamill.tasks.capabilities.base import Capability
from mediamill.tasks.domain import Item
from mediamill.tasks.errors import BadInput, NoSuchOption, UsageError
from mediamill.tasks.job import Job
from mediamill.tasks.renamed_options import get_renamed_params, override

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def validate_params(capability: Capability, params: dict[str, Any]) -> Any:
    """The capability's parameters, validated.

    Raises:
        UsageError: naming the parameter, with the nearest known one when it is unknown.
    """
    try:
        return capability.params.model_validate(params)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(p) for p in first["loc"])
        if first["type"] == "extra_forbidden":
            raise NoSuchOption(f"{capability.name} parameter", name, capability.params.model_fields) from None
        raise UsageError(f"{name}: {_get_message(first)}" if name else _get_message(first)) from None


def list_param_names(capability: Capability) -> frozenset[str]:
    """The parameters that a manifest's columns may hold, also under the names they had before."""
    return frozenset({*capability.params.model_fields, *get_renamed_params(capability.name)})


def resolve_item_params(capability: Capability, job: Job, item: Item, params: Any) -> Any:
    """The parameters for one item: the job's ``params``, overridden by the row's.

    Raises:
        BadInput: when a row's value does not fit.
    """
    if not item.params:
        return params
    fields = override(job.params, item.params, get_renamed_params(capability.name))
    try:
        return capability.params.model_validate(fields, context=set(item.params))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(p) for p in first["loc"])
        raise BadInput(f"{item.source}: column {name!r}: {_get_message(first)}", kind="bad_row") from None


def _get_message(error: ErrorDetails) -> str:
    return error["msg"].removeprefix("Value error, ")
