"""Validate a capability's parameters: those of the job, and those of a manifest's row."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from mediamill.tasks.capabilities.base import Capability
from mediamill.tasks.domain import Item
from mediamill.tasks.errors import BadInput, NoSuchOption, UsageError
from mediamill.tasks.job import Job, get_first_error
from mediamill.tasks.renamed_options import get_renamed_params, override


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
        first = get_first_error(error, capability.params)
        where = f"column {first.name!r}: " if first.path else ""
        raise BadInput(f"{item.source}: {where}{first.message}", kind="bad_row") from None
