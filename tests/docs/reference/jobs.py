"""The reference of job files, from the models that validate them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from mediamill.tasks import capabilities
from mediamill.tasks.escalation import Escalation
from mediamill.tasks.job import Columns, Job
from mediamill.tasks.pipeline.spec import Chain, Step, Task
from mediamill.tasks.schedule import Schedule
from tests.docs.reference.markdown import NOTE, escape, format_code, format_table, join_blocks

_WHERE_PARAMS_STAND = (
    "Under `params` in a job file, with `--set NAME=VALUE`, or, where it is about one row, in a manifest's column of "
    "that name."
)
_INTRODUCTION = """\
`mediamill run FILE.yaml` runs a job; `configs/jobs/` has examples, and `mediamill run --schema` prints a JSON Schema
for editors. In Python the same names are arguments: `mediamill.transcribe(SOURCE, budget=5)`. A name without a
default must be given."""


def make_jobs_page() -> str:
    """Every option of a job file, of a chain, and every capability's parameters."""
    return join_blocks(
        [
            NOTE,
            "# Job files",
            _INTRODUCTION,
            "## A job",
            format_model(Job),
            "## columns",
            format_model(Columns),
            "## escalate",
            "One of its list; as text `NAME` or `NAME:MODEL`.",
            format_model(Escalation),
            "## schedule",
            format_model(Schedule),
            "## A chain of steps",
            "A file with `steps` is a chain.",
            format_model(Chain),
            "### A step",
            format_model(Step),
            "### A task of a step",
            format_model(Task),
            *(block for name in capabilities.BUILT_IN for block in describe_params(name)),
        ]
    )


def describe_params(name: str) -> list[str]:
    """The parameters of a capability, and of the objects they hold."""
    params = capabilities.get(name).params
    blocks = [
        f"## params of {name}",
        _WHERE_PARAMS_STAND,
        format_model(params),
    ]
    for definition, schema in sorted(_get_schema(params).get("$defs", {}).items()):
        if "properties" in schema:
            blocks += [f"{definition}:", _format_properties(schema)]
    return blocks


def format_model(model: type[BaseModel]) -> str:
    """The table of a model's fields."""
    return _format_properties(_get_schema(model))


def _get_schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _format_properties(schema: Mapping[str, Any]) -> str:
    return format_table(["name", "type", "default", "meaning"], list(_iter_property_rows(schema)))


def _iter_property_rows(schema: Mapping[str, Any]) -> Iterator[list[str]]:
    required = schema.get("required", [])
    for name, part in schema["properties"].items():
        default = "" if name in required else format_default(part)
        yield [format_code(name), escape(format_json_schema_type(part)), default, escape(part.get("description", ""))]


def format_default(part: Mapping[str, Any]) -> str:
    """A property's default as it is written in YAML; ``none`` for null."""
    default = part.get("default")
    if default is None:
        return "none"
    if isinstance(default, float):
        return format_code(_format_number(default))
    return format_code(default if isinstance(default, str) and default else json.dumps(default))


def _format_number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


_TYPES = {"string": "text", "boolean": "true or false", "object": "mapping", "null": "", "array": "list"}


def format_json_schema_type(part: Mapping[str, Any]) -> str:
    """The type of a property in words, with its choices and bounds."""
    if "anyOf" in part:
        kinds = [format_json_schema_type(each) for each in part["anyOf"]]
        return " or ".join(dict.fromkeys(kind for kind in kinds if kind)) or "anything"
    if "$ref" in part:
        return str(part["$ref"]).rpartition("/")[2]
    if "enum" in part or "const" in part:
        return ", ".join(map(str, part.get("enum") or [part["const"]]))
    kind = part.get("type", "anything")
    if kind == "array" and part.get("items"):
        return f"list of {format_json_schema_type(part['items'])}"
    return f"{_TYPES.get(kind, kind)}{_format_bounds(part)}"


def _format_bounds(part: Mapping[str, Any]) -> str:
    """The bounds of a number: ``, more than 0, at most 5``."""
    words = {
        "exclusiveMinimum": "more than",
        "minimum": "at least",
        "exclusiveMaximum": "less than",
        "maximum": "at most",
    }
    return "".join(f", {word} {_format_number(part[name])}" for name, word in words.items() if name in part)
