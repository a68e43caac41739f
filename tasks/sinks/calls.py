"""Calls: one row for each attempt; together they are the bill."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, get_type_hints

import orjson
import pyarrow as pa

from mediamill.tasks.domain import Usage
from mediamill.tasks.sinks.schema import MONEY, TIMESTAMP

_ARROW_TYPES = {int | None: pa.int64(), Decimal | None: MONEY}

CALLS_SCHEMA = pa.schema(
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
        ("error_message", pa.string()),
        ("started_at", TIMESTAMP),
        ("latency_ms", pa.int64()),
        ("wait_ms", pa.int64()),
        ("provider", pa.string()),
        ("model", pa.string()),
        ("request_id", pa.string()),
        ("usage", pa.struct([(name, _ARROW_TYPES[kind]) for name, kind in get_type_hints(Usage).items()])),
        ("cost_usd", MONEY),
        ("cost_max_usd", MONEY),
        ("cost_basis", pa.string()),
        ("price_source", pa.string()),
    ]
)
"""The columns have the names they have in the journal; ``usage`` has a field for each of :class:`Usage`.

``error_message`` is our reading of an attempt that failed and, after ``; it said: ``, the provider's own text, without
keys, at most 2,000 characters; null after a reply. ``wait_ms`` is how long the attempt waited for the rate and the
concurrency to let it go, right before ``started_at``; the pause after the attempt before it is not in it: that one
ended at its ``started_at`` plus its ``latency_ms``, and what is left until this one's wait began is the pause.
"""


def to_call_row(attempt: Mapping[str, Any]) -> bytes:
    """The row of a stored attempt, as JSON."""
    return orjson.dumps({name: attempt[name] for name in CALLS_SCHEMA.names})
