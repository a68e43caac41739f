"""The JSON Schema of job files, for editors: a job's, with each capability's parameters, and a chain's."""

from __future__ import annotations

from typing import Any

from mediamill.tasks import capabilities
from mediamill.tasks.job import Job
from mediamill.tasks.pipeline.spec import Chain


def job_schema() -> dict[str, Any]:
    """The schema of a job file, or of a chain's where there are ``steps``."""
    job, chain = _job_schema(), Chain.model_json_schema()
    definitions = {**chain.pop("$defs", {}), **job.pop("$defs", {})}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "if": {"required": ["steps"]},
        "then": {"$ref": "#/$defs/Chain"},
        "else": {"$ref": "#/$defs/Job"},
        "$defs": {**definitions, "Chain": chain, "Job": job},
    }


def _job_schema() -> dict[str, Any]:
    """Job's schema; ``params`` follows what ``capability`` names."""
    schema = Job.model_json_schema()
    schema["properties"]["capability"]["enum"] = list(capabilities.names())
    schema["allOf"] = [_params_of(name, schema) for name in capabilities.names()]
    return schema


def _params_of(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    params = capabilities.get(name).params.model_json_schema(ref_template="#/$defs/{model}")
    schema.setdefault("$defs", {}).update(params.pop("$defs", {}))
    return {"if": {"properties": {"capability": {"const": name}}}, "then": {"properties": {"params": params}}}
