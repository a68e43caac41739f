"""The Arrow schemas of what comes out: results, failures and calls. Every column may be null."""

from __future__ import annotations

import pyarrow as pa

MONEY = pa.decimal128(24, 12)
MOMENT = pa.timestamp("us", tz="UTC")

_COMMON = [
    ("item_id", pa.string()),
    ("item_index", pa.int64()),
    ("run_id", pa.string()),
    ("capability", pa.string()),
    ("source", pa.string()),
    ("content_sha256", pa.string()),
    ("provider", pa.string()),
    ("model", pa.string()),
    ("engine", pa.string()),
    ("simulated", pa.bool_()),
    ("request_key", pa.string()),
    ("request_id", pa.string()),
    ("started_at", MOMENT),
    ("latency_ms", pa.int64()),
    ("attempts", pa.int32()),
    ("cached", pa.bool_()),
    ("cost_usd", MONEY),
    ("cost_basis", pa.string()),
    ("price_source", pa.string()),
]

_FAILURE = [
    ("item_id", pa.string()),
    ("item_index", pa.int64()),
    ("run_id", pa.string()),
    ("source", pa.string()),
    ("error_kind", pa.string()),
    ("error_message", pa.string()),
    ("hint", pa.string()),
    ("attempts", pa.int32()),
    ("last_http_status", pa.int32()),
    ("cost_usd", MONEY),
]

_USAGE = pa.struct(
    [
        ("audio_seconds", MONEY),
        ("input_tokens", pa.int64()),
        ("cached_input_tokens", pa.int64()),
        ("audio_input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("characters", pa.int64()),
        ("speech_seconds", MONEY),
        ("videos", pa.int64()),
        ("video_seconds", MONEY),
        ("video_lines", pa.int64()),
        ("input_images", pa.int64()),
        ("searches", pa.int64()),
        ("sessions", pa.int64()),
        ("images", pa.int64()),
        ("megapixels", MONEY),
        ("image_input_tokens", pa.int64()),
        ("image_output_tokens", pa.int64()),
        ("requests", pa.int64()),
        ("billed_usd", MONEY),
    ]
)

CALLS = pa.schema(
    [
        ("call_id", pa.string()),
        ("run_id", pa.string()),
        ("capability", pa.string()),
        ("item_ids", pa.list_(pa.string())),
        ("request_keys", pa.list_(pa.string())),
        ("attempt", pa.int32()),
        ("outcome", pa.string()),
        ("http_status", pa.int32()),
        ("error_kind", pa.string()),
        ("started_at", MOMENT),
        ("latency_ms", pa.int64()),
        ("wait_ms", pa.int64()),
        ("provider", pa.string()),
        ("model", pa.string()),
        ("request_id", pa.string()),
        ("usage", _USAGE),
        ("cost_usd", MONEY),
        ("cost_max_usd", MONEY),
        ("cost_basis", pa.string()),
        ("price_source", pa.string()),
    ]
)
"""One row for each attempt."""


def results_schema(own: pa.Schema, row: pa.Schema) -> pa.Schema:
    """One row for each item that succeeded: common columns, the capability's own, the manifest's as ``in_*``."""
    common = pa.schema(_COMMON)
    twice = set(common.names) & set(own.names)
    assert not twice, f"columns named twice: {sorted(twice)}"
    return pa.schema([*common, *own, *carried(row)])


def failures_schema(row: pa.Schema) -> pa.Schema:
    """One row for each item that is failed now."""
    return pa.schema([*pa.schema(_FAILURE), *carried(row)])


def carried(row: pa.Schema) -> list[pa.Field]:
    """The manifest's own columns under the names they have in results."""
    return [pa.field(f"in_{field.name}", _carried(field.type)) for field in row]


def _carried(kind: pa.DataType) -> pa.DataType:
    """The type a column of the manifest has in results: moments in microseconds, what JSON cannot hold as text."""
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", tz=kind.tz)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(_carried(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _carried(field.type)) for field in kind])
    plain = (
        pa.types.is_boolean(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_date(kind)
        or pa.types.is_large_string(kind)
    )
    return kind if plain else pa.string()


def freeze(schema: pa.Schema) -> bytes:
    """A schema as bytes (Arrow IPC)."""
    return schema.serialize().to_pybytes()  # type: ignore[no-any-return]


def thaw(frozen: bytes) -> pa.Schema:
    """Inverse of :func:`freeze`."""
    return pa.ipc.read_schema(pa.py_buffer(frozen))
