"""The JSON Schema of job files, for editors: of a job with each capability's parameters, and of a chain."""

from __future__ import annotations

from typing import Any

from mediamill.tasks import capabilities
from mediamill.tasks.capabilities.base import Capability
from mediamill.tasks.job import Job
from mediamill.tasks.pipeline.spec import Chain


def make_job_schema() -> dict[str, Any]:
    """Make the schema of a job file: that of a chain where it has ``steps``, else that of a job."""
    job, chain = _make_job_definition(), Chain.model_json_schema()
    definitions = {**chain.pop("$defs", {}), **job.pop("$defs", {})}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "if": {"required": ["steps"]},
        "then": {"$ref": "#/$defs/Chain"},
        "else": {"$ref": "#/$defs/Job"},
        "$defs": {**definitions, "Chain": chain, "Job": job},
    }


def _make_job_definition() -> dict[str, Any]:
    """Make the schema of a job, whose ``params`` depend on its ``capability``."""
    schema, usable = Job.model_json_schema(), list(capabilities.iter_usable())
    schema["properties"]["capability"]["enum"] = [capability.name for capability in usable]
    schema["allOf"] = [_make_params_rule(capability, schema) for capability in usable]
    return schema


def _make_params_rule(capability: Capability, schema: dict[str, Any]) -> dict[str, Any]:
    params = capability.params.model_json_schema(ref_template="#/$defs/{model}")
    schema.setdefault("$defs", {}).update(params.pop("$defs", {}))
    condition = {"properties": {"capability": {"const": capability.name}}}
    return {"if": condition, "then": {"properties": {"params": params}}}
