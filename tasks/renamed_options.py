"""Options that were renamed. Their old names go on working, hidden, and what is stored keeps them.

Either name may stand in a job file, a chain, a deployment's parameters, a manifest's columns or a Python call. The
journal and the run records hold the old one, so that an OUT means the same to every version that opens it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

JOB_OPTIONS: Mapping[str, str] = {"deadline": "timeout", "memory": "max_memory", "refresh": "no_cache"}
"""Fields of a job: the old name and the name now."""

TASK_OPTIONS: Mapping[str, str] = {"deadline": "timeout"}
"""Those of them that a chain's task has."""

_PARAMS: Mapping[str, Mapping[str, str]] = {"rerank": {"spelling": "api_style"}}


def get_renamed_params(capability: Any) -> Mapping[str, str]:
    """A capability's parameters that were renamed, by their old names; empty for one that has none."""
    return _PARAMS.get(capability, {}) if isinstance(capability, str) else {}


def override(base: Mapping[str, Any], over: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """``base`` with the values of ``over`` in place of its own, whichever of a field's names each of them uses."""
    replaced = {renamed.get(name, name) for name in over}
    return {**{name: value for name, value in base.items() if renamed.get(name, name) not in replaced}, **over}


def to_new_names(fields: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """The fields under the names they have now.

    Raises:
        ValueError: when a field is given under both of its names.
    """
    for old, new in renamed.items():
        if old in fields and new in fields:
            raise ValueError(f"{old} is the old name of {new}, and both are given; give {new} alone")
    return {renamed.get(name, name): value for name, value in fields.items()}


def to_stored_names(fields: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """The fields under the names that the journal and the run records keep: the old ones."""
    stored = {new: old for old, new in renamed.items()}
    return {stored.get(name, name): value for name, value in fields.items()}


def to_stored_job(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A job's fields as they are stored, its parameters among them."""
    stored = to_stored_names(fields, JOB_OPTIONS)
    if isinstance(stored.get("params"), dict):
        stored["params"] = to_stored_names(stored["params"], get_renamed_params(stored.get("capability")))
    return stored


class RenamedFields(BaseModel):
    """A model that takes some of its fields under an old name, too. Its JSON Schema allows those without showing them.

    Attributes:
        renamed: the old names and the names now.
    """

    renamed: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _take_old_names(cls, fields: Any) -> Any:
        return to_new_names(fields, cls.renamed) if isinstance(fields, Mapping) else fields

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core_schema)
        resolved = handler.resolve_ref_schema(schema)
        properties = resolved.get("properties", {})
        old = {f"^{name}$": properties[new] for name, new in cls.renamed.items() if new in properties}
        if old:
            resolved["patternProperties"] = old
        return schema
