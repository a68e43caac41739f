"""The steps of an attempt, each for a whole batch at once: a few statements for a batch, not a few for each Ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson
from sqlalchemy import Connection, Update, bindparam, case, insert, null, select, update

from mediamill.tasks.errors import CallFailed
from mediamill.tasks.journal.claims import BOUND_ASK, CHANGED_BY_OTHER_OUT
from mediamill.tasks.journal.sql_dialect import split_values
from mediamill.tasks.journal.tables import asks, attempts


class ClaimLost(CallFailed):
    """Another run has claimed an Ask since: nothing was sent, and the Ask may be claimed again."""

    def __init__(self, message: str) -> None:
        super().__init__(message, kind="claim_lost", transient=True, hint="run again for its answer")


@dataclass(frozen=True, slots=True)
class NewAttempt:
    """A request about to be sent. ``cost_max`` is the maximum it can cost; None when there is no known maximum."""

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
class AttemptEnd:
    """How an attempt ended: the columns of its row, and the new state of its Asks.

    ``before`` is the state to which an Ask that is still claimed returns when its owner releases it or dies.
    """

    call_id: str
    keys: Sequence[str]
    columns: dict[str, Any]
    state: str
    before: str = "free"
    remote_id: str | None = None


def record_sending(connection: Connection, new_attempts: Sequence[tuple[NewAttempt, Sequence[str]]]) -> Sequence[None]:
    """Insert the attempts' rows and mark their Asks as being sent.

    Raises:
        ClaimLost: when an Ask is no longer claimed by the attempt's run; then nothing may be sent.
    """
    connection.execute(insert(attempts), [_to_row(attempt, keys) for attempt, keys in new_attempts])
    bindings = [
        {"b_key": key, "b_call": attempt.call_id, "b_owner": attempt.run_id}
        for attempt, keys in new_attempts
        for key in keys
    ]
    if connection.execute(_MARK_SENDING, bindings).rowcount != len(bindings):
        raise ClaimLost("another run took this request over")
    return [None] * len(new_attempts)


def record_accepted(connection: Connection, ends: Sequence[AttemptEnd]) -> Sequence[None]:
    """Record jobs that the provider has accepted."""
    return _record_ends(connection, ends, _RECORD_ACCEPTED)


def record_replies(connection: Connection, ends: Sequence[AttemptEnd]) -> Sequence[None]:
    """Record raw replies."""
    return _record_ends(connection, ends, _RECORD_REPLY)


def record_rejections(connection: Connection, ends: Sequence[AttemptEnd]) -> Sequence[None]:
    """Record rejected attempts, which are not billed."""
    return _record_ends(connection, ends, _RECORD_REJECTION)


def record_unknown(connection: Connection, ends: Sequence[AttemptEnd]) -> Sequence[None]:
    """Record attempts whose outcome is not known."""
    return _record_ends(connection, ends, _RECORD_UNKNOWN)


def record_costs(connection: Connection, costs: Sequence[dict[str, Any]]) -> Sequence[None]:
    """Record usage and cost of parsed replies."""
    connection.execute(_RECORD_COST, costs)
    return [None] * len(costs)


def fetch_attempts(connection: Connection, call_ids: Sequence[str]) -> Sequence[dict[str, Any]]:
    """Complete attempt rows, read by the writer so that they include what was just written."""
    rows: dict[str, dict[str, Any]] = {}
    for chunk in split_values(call_ids):
        statement = select(attempts).where(attempts.c.call_id.in_(chunk))
        rows.update({row["call_id"]: dict(row) for row in connection.execute(statement).mappings()})
    return [rows[call_id] for call_id in call_ids]


def _record_ends(connection: Connection, ends: Sequence[AttemptEnd], statement: Update) -> Sequence[None]:
    connection.execute(statement, [{"b_call": e.call_id, **e.columns} for e in ends])
    bindings = [
        {"b_key": key, "b_call": e.call_id, "state": e.state, "before": e.before, "remote_id": e.remote_id}
        for e in ends
        for key in e.keys
    ]
    connection.execute(_MOVE_ASKS, bindings)
    return [None] * len(ends)


def _to_row(attempt: NewAttempt, keys: Sequence[str]) -> dict[str, Any]:
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


def _update_attempt(*columns: str) -> Update:
    values: dict[str, Any] = {name: bindparam(name) for name in ("outcome", *columns)}
    return update(attempts).where(attempts.c.call_id == bindparam("b_call")).values(**values, changed_in=_CHANGED_IN)


_CHANGED_IN = case((attempts.c.out_id == bindparam("b_out"), bindparam("b_run")), else_=CHANGED_BY_OTHER_OUT)


_MARK_SENDING = (
    update(asks).where(*BOUND_ASK, asks.c.state == "claimed").values(state="sending", call_id=bindparam("b_call"))
)
_MOVE_ASKS = (  # a late reply, after the next owner has sent again, is kept with its attempt and changes no Ask
    update(asks)
    .where(asks.c.key == bindparam("b_key"), asks.c.call_id == bindparam("b_call"))
    .values(state=bindparam("state"), before=bindparam("before"), remote_id=bindparam("remote_id"))
)
_RECORD_ACCEPTED = _update_attempt()
_RECORD_REPLY = _update_attempt(
    "http_status", "latency_ms", "request_id", "reply_status", "reply_headers", "reply_body", "reply_blob"
).values(
    error_kind=null(), error_message=null(), cost_basis=null()
)  # the attempt may have been recorded as unknown before
_RECORD_REJECTION = _update_attempt(
    "http_status", "error_kind", "error_message", "latency_ms", "request_id", "cost_usd", "cost_basis"
)
_RECORD_UNKNOWN = _update_attempt(
    *("http_status", "error_kind", "error_message", "latency_ms", "request_id", "cost_basis"),
    *("reply_status", "reply_headers", "reply_body", "reply_blob"),
)
_RECORD_COST = (
    update(attempts)
    .where(attempts.c.call_id == bindparam("b_call"))
    .values(
        changed_in=_CHANGED_IN,
        **{name: bindparam(name) for name in ("usage", "cost_usd", "cost_basis", "price_source")},
    )
)
