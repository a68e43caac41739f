"""The JSON Schema of job files, for editors: Job's own, with each capability's parameters."""

from __future__ import annotations

from typing import Any

from tasks import capabilities
from tasks.job import Job


def job_schema() -> dict[str, Any]:
    """Job's schema; ``params`` follows what ``capability`` names."""
    schema = Job.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["properties"]["capability"]["enum"] = list(capabilities.names())
    schema["allOf"] = [_params_of(name, schema) for name in capabilities.names()]
    return schema


def _params_of(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    params = capabilities.get(name).params.model_json_schema(ref_template="#/$defs/{model}")
    schema.setdefault("$defs", {}).update(params.pop("$defs", {}))
    return {"if": {"properties": {"capability": {"const": name}}}, "then": {"properties": {"params": params}}}
