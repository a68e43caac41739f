"""Calls: one row for each attempt; together they are the bill."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, get_args, get_type_hints

import orjson
import pyarrow as pa

from mediamill.tasks.domain import Usage
from mediamill.tasks.sinks.schema import COST_AS_FLOAT, COST_AS_FLOAT_MEANING, MONEY, TIMESTAMP, make_field

_ARROW_TYPES = {int | None: pa.int64(), Decimal | None: MONEY}


def _make_usage_fields() -> list[pa.Field]:
    """A field for each of :class:`Usage`, with its description."""
    return [
        make_field(name, _ARROW_TYPES[get_args(hint)[0]], get_args(hint)[1])
        for name, hint in get_type_hints(Usage, include_extras=True).items()
    ]


CALLS_SCHEMA = pa.schema(
    [
        make_field("call_id", pa.string(), "the request's id"),
        make_field("run_id", pa.string(), "the run that sent it"),
        make_field("capability", pa.string(), "what it was for"),
        make_field("item_ids", pa.list_(pa.string()), "the items it was for; several for a batch of texts"),
        make_field("request_keys", pa.list_(pa.string()), "the key of each item's part of it"),
        make_field("attempt", pa.int32(), "number of the attempt, from 1"),
        make_field(
            "outcome",
            pa.string(),
            "sending (the run was killed meanwhile), accepted (a job runs), replied, rejected (nothing was billed) or "
            "unknown (it may have been billed)",
        ),
        make_field("http_status", pa.int32(), "HTTP status of the reply, where there was one"),
        make_field("error_kind", pa.string(), "kind of the error in a word; null when it was answered"),
        make_field(
            "error_message",
            pa.string(),
            "what was wrong, in the provider's own words where it gave any (after `it said:` where our reading "
            "differs), without keys; up to 2,000 characters",
        ),
        make_field("started_at", TIMESTAMP, "when it was sent"),
        make_field("latency_ms", pa.int64(), "milliseconds from its first byte to the reply"),
        make_field(
            "wait_ms",
            pa.int64(),
            "milliseconds it waited for the rate limit and for a free place, before `started_at`; the pause after the "
            "attempt before it, which ended at its own `started_at` plus `latency_ms`, is not in it",
        ),
        make_field("provider", pa.string(), "the provider"),
        make_field("model", pa.string(), "the model that was requested"),
        make_field("request_id", pa.string(), "the provider's id of it"),
        make_field(
            "usage",
            pa.struct(_make_usage_fields()),
            "what was used, as the provider states it; a field is null when it is not stated",
        ),
        make_field("cost_usd", MONEY, "what it cost; null while that is unknown"),
        make_field(COST_AS_FLOAT, pa.float64(), COST_AS_FLOAT_MEANING),
        make_field("cost_max_usd", MONEY, "the maximum it can cost; null when a price is not known"),
        make_field(
            "cost_basis",
            pa.string(),
            "where the cost comes from: billed, metered, estimated, free, stated (settle) or unknown",
        ),
        make_field("price_source", pa.string(), "where the price was read, and when"),
    ]
)
"""The columns have the names they have in the journal, which lacks the cost as a float alone; ``usage`` has a field for
each of :class:`Usage`."""


def to_call_row(attempt: Mapping[str, Any]) -> bytes:
    """The row of a stored attempt, as JSON."""
    return orjson.dumps({name: attempt[name] for name in CALLS_SCHEMA.names if name != COST_AS_FLOAT})
