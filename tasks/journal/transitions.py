"""Attempts on their way, each step done for all that wait at once: a few statements a batch, not a few an Ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson
from sqlalchemy import Connection, Update, bindparam, case, insert, null, select, update

from mediamill.tasks.errors import CallFailed
from mediamill.tasks.journal.claims import ELSEWHERE, MINE
from mediamill.tasks.journal.tables import asks, attempts

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class NewAttempt:
    """One request about to be sent. ``cost_max`` is the most it can cost; None when that cannot be stated."""

    call_id: str
    out_id: str
    run_id: str
    capability: str
    provider: str
    model: str
    operation: str
    item_ids: tuple[str, ...]
    attempt: int
    started_at: int
    wait_ms: int
    cost_max: Decimal | None


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended: the columns of its row, and the state of its Asks.

    ``before`` is what an Ask still claimed falls back to when its owner lets go of it, or dies.
    """

    call_id: str
    keys: Sequence[str]
    attempt: dict[str, Any]
    state: str
    before: str = "free"
    remote_id: str | None = None


def sending(connection: Connection, begun: Sequence[tuple[NewAttempt, Sequence[str]]]) -> Sequence[None]:
    """The attempts' rows appear and their Asks are on the way.

    Raises:
        CallFailed: when an Ask is no longer claimed by the attempt's run; then nothing may be sent.
    """
    connection.execute(insert(attempts), [_row(attempt, keys) for attempt, keys in begun])
    moved = [
        {"b_key": key, "b_call": attempt.call_id, "b_owner": attempt.run_id} for attempt, keys in begun for key in keys
    ]
    if connection.execute(_SENDING, moved).rowcount != len(moved):
        raise CallFailed(
            "another run took this request over", kind="claim_lost", transient=True, hint="run again for its answer"
        )
    return [None] * len(begun)


def end_accepted(connection: Connection, ended: Sequence[Ended]) -> Sequence[None]:
    """Jobs that the provider has taken on."""
    return _end(connection, ended, _ACCEPTED)


def end_replied(connection: Connection, ended: Sequence[Ended]) -> Sequence[None]:
    """Replies, as they came."""
    return _end(connection, ended, _REPLIED)


def end_rejected(connection: Connection, ended: Sequence[Ended]) -> Sequence[None]:
    """Refusals: nothing billed."""
    return _end(connection, ended, _REJECTED)


def end_unknown(connection: Connection, ended: Sequence[Ended]) -> Sequence[None]:
    """Attempts whose outcome nobody knows."""
    return _end(connection, ended, _UNKNOWN)


def settle(connection: Connection, settled: Sequence[dict[str, Any]]) -> Sequence[None]:
    """Usage and cost of parsed replies."""
    connection.execute(_SETTLE, settled)
    return [None] * len(settled)


def fetch(connection: Connection, call_ids: Sequence[str]) -> Sequence[dict[str, Any]]:
    """Whole attempt rows. Read by the writer, so that they include what was just written."""
    rows: dict[str, dict[str, Any]] = {}
    for start in range(0, len(call_ids), _CHUNK):
        chosen = select(attempts).where(attempts.c.call_id.in_(call_ids[start : start + _CHUNK]))
        rows.update({row["call_id"]: dict(row) for row in connection.execute(chosen).mappings()})
    return [rows[call_id] for call_id in call_ids]


def _end(connection: Connection, ended: Sequence[Ended], statement: Update) -> Sequence[None]:
    connection.execute(statement, [{"b_call": e.call_id, **e.attempt} for e in ended])
    moved = [
        {"b_key": key, "b_call": e.call_id, "state": e.state, "before": e.before, "remote_id": e.remote_id}
        for e in ended
        for key in e.keys
    ]
    connection.execute(_MOVE, moved)
    return [None] * len(ended)


def _row(attempt: NewAttempt, keys: Sequence[str]) -> dict[str, Any]:
    return {
        "call_id": attempt.call_id,
        "out_id": attempt.out_id,
        "run_id": attempt.run_id,
        "capability": attempt.capability,
        "provider": attempt.provider,
        "model": attempt.model,
        "operation": attempt.operation,
        "item_ids": orjson.dumps(attempt.item_ids).decode(),
        "request_keys": orjson.dumps(list(keys)).decode(),
        "attempt": attempt.attempt,
        "outcome": "sending",
        "started_at": attempt.started_at,
        "wait_ms": attempt.wait_ms,
        "cost_max_usd": None if attempt.cost_max is None else str(attempt.cost_max),
        "changed_in": attempt.run_id,
    }


def _ending(*columns: str) -> Update:
    named: dict[str, Any] = {name: bindparam(name) for name in ("outcome", *columns)}
    return update(attempts).where(attempts.c.call_id == bindparam("b_call")).values(**named, changed_in=_CHANGED)


_CHANGED = case((attempts.c.out_id == bindparam("b_out"), bindparam("b_run")), else_=ELSEWHERE)


_SENDING = update(asks).where(*MINE, asks.c.state == "claimed").values(state="sending", call_id=bindparam("b_call"))
_MOVE = (  # a reply that comes after an heir has sent again is kept with its own attempt, and moves nothing
    update(asks)
    .where(asks.c.key == bindparam("b_key"), asks.c.call_id == bindparam("b_call"))
    .values(state=bindparam("state"), before=bindparam("before"), remote_id=bindparam("remote_id"))
)
_ACCEPTED = _ending()
_REPLIED = _ending(
    "http_status", "latency_ms", "request_id", "reply_status", "reply_headers", "reply_body", "reply_blob"
).values(error_kind=null(), error_message=null(), cost_basis=null())  # it may have been thought lost
_REJECTED = _ending("http_status", "error_kind", "error_message", "latency_ms", "request_id", "cost_usd", "cost_basis")
_UNKNOWN = _ending("http_status", "error_kind", "error_message", "latency_ms", "cost_basis")
_SETTLE = (
    update(attempts)
    .where(attempts.c.call_id == bindparam("b_call"))
    .values(
        changed_in=_CHANGED,
        **{name: bindparam(name) for name in ("usage", "cost_usd", "cost_basis", "price_source")},
    )
)
