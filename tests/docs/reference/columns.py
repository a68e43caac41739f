"""The reference of the files in OUT: every column of results, failures and calls, and the fields of a run record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pyarrow as pa

from mediamill.tasks import capabilities
from mediamill.tasks.capabilities.speech.glossary import build_replacements_field
from mediamill.tasks.capabilities.speech.transcript_checks import FLAG_MEANINGS
from mediamill.tasks.capabilities.speech.transcript_columns import build_channel_fields
from mediamill.tasks.not_taken import NotTaken
from mediamill.tasks.providers.registry import load_config, make_provider
from mediamill.tasks.run.publish import PartRecord, RunRecord
from mediamill.tasks.sinks.calls import CALLS_SCHEMA
from mediamill.tasks.sinks.failures import build_failures_schema
from mediamill.tasks.sinks.results import RESULT_COLUMNS
from mediamill.tasks.sinks.schema import DESCRIPTION, to_schema
from mediamill.tasks.sinks.tries import build_tries_fields
from mediamill.tasks.summary import FailureGroup, SidecarCounts, Summary
from tests.docs.reference.markdown import NOTE, escape, format_code, format_table, join_blocks

_PERMISSIONS = {"execute": {"allow_local_code": True}}
"""Parameters without which a capability has no columns on the built-in provider."""

_MODELS = {"translate": "whisper"}
"""Models of capabilities for which the built-in provider has none of its own."""
_INTRODUCTION = """\
Every column may be null; null means not known or not stated, never zero. The Parquet files carry each meaning as the
field's metadata `description`. A field of a struct is written `column.field`, one of a list's members
`column[].field`. A manifest's own columns follow as `in_NAME`."""

_HEAD = ["column", "type", "meaning"]


def make_columns_page() -> str:
    """Every column with its Arrow type and meaning."""
    return join_blocks(
        [
            NOTE,
            "# Columns",
            _INTRODUCTION,
            "## results: the columns of every capability",
            format_schema(to_schema(RESULT_COLUMNS)),
            *(block for name in capabilities.BUILT_IN for block in describe_capability(name)),
            "## Flags of a transcript",
            format_table(
                ["flag", "meaning"], [[format_code(flag), escape(words)] for flag, words in FLAG_MEANINGS.items()]
            ),
            "## Tries",
            "An OUT whose job has `check` or `escalate` has these columns, too.",
            format_schema(pa.schema(build_tries_fields())),
            "## failures",
            format_schema(build_failures_schema(pa.schema([]))),
            "## calls",
            "One row a request, in the order in which they were sent.",
            format_schema(CALLS_SCHEMA),
            "## runs/RUN.json",
            *_describe_run_record(),
        ]
    )


def describe_capability(name: str) -> list[str]:
    """The section of a capability's own columns."""
    schema = get_own_schema(name)
    blocks = [f"## results of {name}", format_schema(schema)]
    if "json_schema" in capabilities.get(name).params.model_fields:
        blocks.append("With `--schema` the fields of the JSON Schema follow as columns of their own types.")
    if "channels" in capabilities.get(name).params.model_fields:
        blocks += ["With `--channels split` or `auto` these follow:", format_schema(pa.schema(build_channel_fields()))]
    if "glossary" in capabilities.get(name).params.model_fields:
        blocks += ["With `--glossary` this one follows:", format_schema(pa.schema([build_replacements_field()]))]
    return blocks


def get_own_schema(name: str) -> pa.Schema:
    """A capability's own columns with the built-in provider and default parameters."""
    capability = capabilities.get(name)
    provider = make_provider("local", base_url=None, api_key_env=None, environ={})
    params = capability.params.model_validate(_PERMISSIONS.get(name, {}))
    model = _MODELS.get(name) or load_config("local").operations[capability.operation].default_model
    return capability.schema(params, provider, model or provider.choose_model(capability.operation, None))


def format_schema(schema: pa.Schema) -> str:
    """The table of a schema's columns, each followed by the fields it consists of."""
    rows = [row for field in schema for row in iter_field_rows(field, "")]
    return format_table(_HEAD, rows)


def iter_field_rows(field: pa.Field, prefix: str) -> Iterator[list[str]]:
    """A field's row, then those of the fields it consists of."""
    name, kind = f"{prefix}{field.name}", field.type
    description = (field.metadata or {}).get(DESCRIPTION, b"").decode()
    yield [format_code(name), format_type(kind), escape(description)]
    if pa.types.is_list(kind):
        kind, name = kind.value_type, f"{name}[]"
    if pa.types.is_struct(kind):
        for inner in kind:
            yield from iter_field_rows(inner, f"{name}.")


def format_type(kind: pa.DataType) -> str:
    """An Arrow type in a few words."""
    if pa.types.is_fixed_size_list(kind):
        return f"list of {kind.list_size} {format_type(kind.value_type)}"
    if pa.types.is_list(kind):
        return f"list of {format_type(kind.value_type)}"
    return "struct" if pa.types.is_struct(kind) else str(kind)


def _describe_run_record() -> list[str]:
    """The fields of a run record and of the objects in it."""
    parts: Mapping[str, type] = {
        "The record": RunRecord,
        "`summary`": Summary,
        "`summary.failures[]`": FailureGroup,
        "`summary.not_taken`": NotTaken,
        "`summary.sidecars`": SidecarCounts,
        "`parts[]`": PartRecord,
    }
    blocks = ["Written last, once a run has ended: a run without it was cut short. `--json` prints the summary."]
    for title, record in parts.items():
        blocks += [f"{title}:", format_table(["field", "type", "meaning"], list(iter_record_rows(record)))]
    return blocks


def iter_record_rows(record: type) -> Iterator[list[str]]:
    """A row for each field of a dataclass or typed dict whose fields are annotated with their meanings."""
    for name, hint in get_type_hints(record, include_extras=True).items():
        kind, meaning = get_args(hint)
        yield [format_code(name), format_json_type(kind), escape(meaning)]


_JSON_TYPES = {str: "text", int: "integer", float: "number", bool: "true or false", Decimal: "decimal as text"}


def format_json_type(kind: Any) -> str:
    """How a value of that type is written in JSON."""
    if kind in _JSON_TYPES:
        return _JSON_TYPES[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if NoneType in arguments:
        return " or ".join([format_json_type(each) for each in arguments if each is not NoneType] + ["null"])
    if origin is Literal:
        return "text"
    return "list" if origin in (list, tuple) else "object"
