"""Answers that fit a schema as typed columns."""

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

RESERVED_COLUMNS = frozenset(
    (
        *("item_id", "item_index", "run_id", "capability", "source", "content_sha256", "provider", "model", "engine"),
        *("simulated", "request_key", "request_id", "started_at", "latency_ms", "attempts", "cached", "cost_usd"),
        *("cost_basis", "price_source", "text", "reasoning", "finish_reason", "answered_by", "input_tokens"),
        *("cached_input_tokens", "output_tokens", "reasoning_tokens", "first_token_ms", "repairs", "choices"),
        *("width", "height", "format", "bytes", "pictures", "warnings", "duplicate_of", "file", "flags", "tool_calls"),
    )
)
"""Columns that results of prompts have already."""


def column_name(name: str) -> str:
    """The column of a schema's property: its own name, or ``answer_NAME`` where results have such a column already."""
    return f"answer_{name}" if name in RESERVED_COLUMNS or name.startswith("in_") else name


def to_arrow_fields(schema: Schema) -> list[pa.Field]:
    """The answer's columns: one for each property of an object, else one, ``answer``."""
    import pyarrow as pa

    whole, refs = _resolve_part(schema, schema, frozenset())
    if whole.get("properties") and whole.get("type", "object") == "object":
        return [pa.field(name, to_arrow_type(part, schema, refs)) for name, part in whole["properties"].items()]
    return [pa.field(WHOLE_ANSWER_COLUMN, to_arrow_type(schema, schema))]


def to_arrow_type(part: Any, schema: Schema, outer_refs: frozenset[str] = frozenset()) -> pa.DataType:
    """The Arrow type of what a part of a schema describes; JSON text where it may be several things.

    ``within`` are the references it stands inside of: what holds itself is told as JSON text.
    """
    import pyarrow as pa

    part, refs = _resolve_part(part, schema, outer_refs)
    kind = _find_json_type(part)
    if kind == "array":
        return pa.list_(to_arrow_type(part.get("items", {}), schema, refs))
    if kind == "object" and part.get("properties"):
        named = part["properties"].items()
        return pa.struct([pa.field(name, to_arrow_type(inner, schema, refs)) for name, inner in named])
    plain = {"integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
    return plain.get(kind or "", pa.string())


def fit_to_type(value: Any, kind: pa.DataType) -> Any:
    """A value as its column holds it: JSON text where the column is text and the value is not.

    Raises:
        ValueError: when a number is too large for its column.
    """
    import pyarrow as pa

    if value is None:
        return None
    if pa.types.is_string(kind):
        return value if isinstance(value, str) else orjson.dumps(value).decode()
    if pa.types.is_list(kind):
        return [fit_to_type(one, kind.value_type) for one in value]
    if pa.types.is_struct(kind):
        return {field.name: fit_to_type(value.get(field.name), field.type) for field in kind}
    if pa.types.is_integer(kind):
        number = int(value)
        if not -(2**63) <= number < 2**63:
            raise ValueError(f"{number} is larger than 64 bits hold")
        return number
    return float(value) if pa.types.is_floating(kind) else value


def _resolve_part(part: Any, schema: Schema, outer_refs: frozenset[str]) -> tuple[Mapping[str, Any], frozenset[str]]:
    """A part with its reference followed, and of several choices the only one that is not null."""
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
        real = [choice for choice in choices if not (isinstance(choice, dict) and choice.get("type") == "null")]
        if len(real) != 1:
            return {}, outer_refs
        part = real[0]
    return {}, outer_refs


def _find_json_type(part: Mapping[str, Any]) -> str | None:
    kind = part.get("type")
    if isinstance(kind, list):
        real = [name for name in kind if name != "null"]
        kind = real[0] if len(real) == 1 else "number" if set(real) == {"integer", "number"} else None
    if kind is None and "enum" in part:
        return _find_json_type_of_values([value for value in part["enum"] if value is not None])
    if kind is None and "const" in part:
        return _find_json_type_of_values([part["const"]])
    return kind if isinstance(kind, str) else None


def _find_json_type_of_values(values: list[Any]) -> str | None:
    kinds = {type(value) for value in values}
    names = {bool: "boolean", int: "integer", float: "number", str: "string"}
    return names.get(kinds.pop()) if len(kinds) == 1 else None
