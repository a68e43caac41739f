"""Typed columns for answers that fit a schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from mediamill.tasks.capabilities.text.json_schema import Schema, resolve_ref

if TYPE_CHECKING:
    import pyarrow as pa

WHOLE_ANSWER_COLUMN = "answer"
"""The column of an answer that is not an object."""

_MAX_REFERENCES = 32

_MAX_PARTS = 5_000
"""Maximum parts of a schema, with each reference replaced by what it points to: a few references can make millions."""

RESERVED_COLUMNS = frozenset(
    (
        *("item_id", "item_index", "run_id", "capability", "source", "content_sha256", "provider", "model", "engine"),
        *("simulated", "request_key", "request_id", "started_at", "latency_ms", "attempts", "cached", "cost_usd"),
        *(
            "cost_usd_float",
            "cost_basis",
            "price_source",
            "text",
            "reasoning",
            "finish_reason",
            "answered_by",
            "input_tokens",
        ),
        *("cached_input_tokens", "output_tokens", "reasoning_tokens", "first_token_ms", "repairs", "choices"),
        *("width", "height", "format", "bytes", "pictures", "warnings", "duplicate_of", "file", "flags", "tool_calls"),
    )
)
"""Columns that results of prompts already have."""


def to_column_name(name: str) -> str:
    """The column of a schema's property: its own name, or ``answer_NAME`` when results already have that column."""
    return f"answer_{name}" if name in RESERVED_COLUMNS or name.startswith("in_") else name


def check_size(schema: Schema) -> None:
    """Check that a schema has few enough parts for columns, before any is made.

    Raises:
        ValueError: when it has too many.
    """
    pending: list[tuple[Any, frozenset[str]]] = [(schema, frozenset())]
    parts = 0
    while pending:
        parts += 1
        part, outer_refs = pending.pop()
        part, refs = _resolve_part(part, schema, outer_refs)
        inner = [*(part.get("properties") or {}).values(), *([part["items"]] if "items" in part else [])]
        pending += [(each, refs) for each in inner]
        if parts + len(pending) > _MAX_PARTS:
            raise ValueError(f"has more than {_MAX_PARTS:,} parts, with what its references point to")


def to_arrow_fields(schema: Schema) -> list[pa.Field]:
    """The answer's columns: one for each property of an object, otherwise the single column ``answer``."""
    import pyarrow as pa

    root, refs = _resolve_part(schema, schema, frozenset())
    if root.get("properties") and root.get("type", "object") == "object":
        return [pa.field(name, to_arrow_type(part, schema, refs)) for name, part in root["properties"].items()]
    return [pa.field(WHOLE_ANSWER_COLUMN, to_arrow_type(schema, schema))]


def to_arrow_type(part: Any, schema: Schema, outer_refs: frozenset[str] = frozenset()) -> pa.DataType:
    """The Arrow type of a part of a schema; JSON text where it may have several types.

    ``outer_refs`` are the references that the part is inside of: a part that contains itself becomes JSON text.
    """
    import pyarrow as pa

    part, refs = _resolve_part(part, schema, outer_refs)
    json_type = _find_json_type(part)
    if json_type == "array":
        return pa.list_(to_arrow_type(part.get("items", {}), schema, refs))
    if json_type == "object" and part.get("properties"):
        named = part["properties"].items()
        return pa.struct([pa.field(name, to_arrow_type(inner, schema, refs)) for name, inner in named])
    arrow_types = {"integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
    return arrow_types.get(json_type or "", pa.string())


def fit_to_type(value: Any, arrow_type: pa.DataType) -> Any:
    """A value as its column stores it: JSON text where the column is text and the value is not.

    Raises:
        ValueError: when a number is too large for its column. The message goes into the request for a repair.
    """
    import pyarrow as pa

    if value is None:
        return None
    if pa.types.is_string(arrow_type):
        return value if isinstance(value, str) else orjson.dumps(value).decode()
    if pa.types.is_list(arrow_type):
        return [fit_to_type(member, arrow_type.value_type) for member in value]
    if pa.types.is_struct(arrow_type):
        return {field.name: fit_to_type(value.get(field.name), field.type) for field in arrow_type}
    if pa.types.is_integer(arrow_type):
        number = int(value)
        if not -(2**63) <= number < 2**63:
            raise ValueError(f"{number} is larger than 64 bits hold")
        return number
    return float(value) if pa.types.is_floating(arrow_type) else value


def _resolve_part(part: Any, schema: Schema, outer_refs: frozenset[str]) -> tuple[Mapping[str, Any], frozenset[str]]:
    """A part with its references resolved, and with the only choice that is not null when it has choices."""
    for _ in range(_MAX_REFERENCES):
        if not isinstance(part, Mapping):
            return {}, outer_refs
        ref = part.get("$ref")
        if isinstance(ref, str):
            if ref in outer_refs:
                return {}, outer_refs
            outer_refs, part = outer_refs | {ref}, resolve_ref(ref, schema)
            continue
        choices = part.get("anyOf") or part.get("oneOf") or part.get("allOf")
        if not choices:
            return part, outer_refs
        non_null = [choice for choice in choices if not (isinstance(choice, dict) and choice.get("type") == "null")]
        if len(non_null) != 1:
            return {}, outer_refs
        part = non_null[0]
    return {}, outer_refs


def _find_json_type(part: Mapping[str, Any]) -> str | None:
    json_type = part.get("type")
    if isinstance(json_type, list):
        non_null = [name for name in json_type if name != "null"]
        json_type = non_null[0] if len(non_null) == 1 else "number" if set(non_null) == {"integer", "number"} else None
    if json_type is None and "enum" in part:
        return _find_json_type_of_values([value for value in part["enum"] if value is not None])
    if json_type is None and "const" in part:
        return _find_json_type_of_values([part["const"]])
    return json_type if isinstance(json_type, str) else None


def _find_json_type_of_values(values: list[Any]) -> str | None:
    kinds = {type(value) for value in values}
    names = {bool: "boolean", int: "integer", float: "number", str: "string"}
    return names.get(kinds.pop()) if len(kinds) == 1 else None
