"""The transitions of Asks, each done for all that wait at once: a few statements a batch, not a few an Ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import orjson
from sqlalchemy import Connection, Update, bindparam, insert, select, update

from tasks.journal.dialect import insert_or_ignore
from tasks.journal.tables import asks, attempts

LEASE_SECONDS = 60
HELD = ("claimed", "sending", "accepted")
CRASHED = {
    "outcome": "unknown",
    "cost_basis": "unknown",
    "error_kind": "crash",
    "error_message": "the process ended before the reply was on record",
}
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
class Claiming:
    """A wish to claim an Ask."""

    key: str
    owner: str
    out_id: str
    now: int

    @property
    def lease(self) -> int:
        """When the claim runs out, unless renewed; microseconds since the epoch."""
        return self.now + LEASE_SECONDS * 1_000_000


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended: the columns of its row, and the state of its Asks."""

    call_id: str
    keys: Sequence[str]
    attempt: dict[str, Any]
    state: str
    remote_id: str | None = None


Found = tuple[Literal["mine", "hit", "busy", "accepted", "unknown"], dict[str, Any]]


def claim(connection: Connection, wishes: Sequence[Claiming]) -> Sequence[Found]:
    """Claim every Ask that is free; the first wish for a key wins, in this batch and in the database."""
    new = {w.key: w for w in reversed(wishes)}
    fresh = _insert_claims(connection, list(new.values()))
    rows = _rows(connection, [key for key in new if key not in fresh])
    found: list[Found] = []
    taken: dict[str, str] = {}
    for wish in wishes:
        if wish.key in fresh:
            first = taken.setdefault(wish.key, wish.owner) == wish.owner and wish is new[wish.key]
            found.append(("mine", {}) if first else ("busy", {}))
        else:
            found.append(_inherit(connection, wish, rows[wish.key]))
    return found


def _insert_claims(connection: Connection, wishes: list[Claiming]) -> set[str]:
    """The keys that nobody had; they are the wishers' now."""
    known = set(_rows(connection, [w.key for w in wishes]))
    absent = [w for w in wishes if w.key not in known]
    if not absent:
        return set()
    values = [
        {"key": w.key, "state": "claimed", "before": "free", "owner": w.owner, "lease": w.lease, "out_id": w.out_id}
        for w in absent
    ]
    connection.execute(insert_or_ignore(connection, asks), values)
    if connection.dialect.name == "sqlite":  # the write lock is held: nobody came in between
        return {w.key for w in absent}
    held = _rows(connection, [w.key for w in absent])
    return {w.key for w in absent if held[w.key]["owner"] == w.owner and held[w.key]["lease"] == w.lease}


def _rows(connection: Connection, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for start in range(0, len(keys), _CHUNK):
        chosen = select(asks).where(asks.c.key.in_(keys[start : start + _CHUNK]))
        if connection.dialect.name != "sqlite":
            chosen = chosen.with_for_update()
        rows.update({row["key"]: dict(row) for row in connection.execute(chosen).mappings()})
    return rows


def _inherit(connection: Connection, wish: Claiming, row: dict[str, Any]) -> Found:
    """What becomes of a wish for an Ask that is known already."""
    state = row["state"]
    if state == "replied":
        return "hit", row
    if state in HELD and (row["lease"] > wish.now or row["owner"] == wish.owner):
        return "busy", row
    if state == "sending":
        _mark_unknown(connection, row["call_id"], wish.owner)
        state = "unknown"
    before = row["before"] if state == "claimed" else state
    held = {
        "state": "accepted" if before == "accepted" else "claimed",
        "before": before,
        "owner": wish.owner,
        "lease": wish.lease,
        "out_id": wish.out_id,
    }
    connection.execute(update(asks).where(asks.c.key == wish.key).values(**held))
    row.update(held)
    answers: dict[str, Literal["unknown", "accepted"]] = {"unknown": "unknown", "accepted": "accepted"}
    return answers.get(before, "mine"), row


def _mark_unknown(connection: Connection, call_id: str, run_id: str) -> None:
    where = (attempts.c.call_id == call_id, attempts.c.outcome == "sending")
    connection.execute(update(attempts).where(*where).values(changed_in=run_id, **CRASHED))


def recover(connection: Connection, out_id: str, run_id: str) -> None:
    """Every claim of this OUT's earlier runs is dead; what they were sending is unknown."""
    dead = (asks.c.out_id == out_id, asks.c.owner != run_id)
    connection.execute(update(asks).where(*dead, asks.c.state == "claimed").values(state=asks.c.before, lease=0))
    connection.execute(update(asks).where(*dead, asks.c.state == "sending").values(state="unknown", lease=0))
    connection.execute(update(asks).where(*dead, asks.c.state == "accepted").values(lease=0))
    lost = (attempts.c.out_id == out_id, attempts.c.run_id != run_id, attempts.c.outcome == "sending")
    connection.execute(update(attempts).where(*lost).values(changed_in=run_id, **CRASHED))


def release(connection: Connection, groups: Sequence[Sequence[str]]) -> Sequence[None]:
    """Give claims back that led to nothing; each Ask falls back to what it was before."""
    connection.execute(_RELEASE, [{"b_key": key} for group in groups for key in group])
    return [None] * len(groups)


def sending(connection: Connection, begun: Sequence[tuple[NewAttempt, Sequence[str]]]) -> Sequence[None]:
    """The attempts' rows appear and their Asks are on the way."""
    connection.execute(insert(attempts), [_row(attempt, keys) for attempt, keys in begun])
    moved = [{"b_key": key, "b_call": attempt.call_id} for attempt, keys in begun for key in keys]
    connection.execute(_SENDING, moved)
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
    moved = [{"b_key": key, "state": e.state, "remote_id": e.remote_id} for e in ended for key in e.keys]
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
    return update(attempts).where(attempts.c.call_id == bindparam("b_call")).values(**named)


_RELEASE = update(asks).where(asks.c.key == bindparam("b_key"), asks.c.state == "claimed").values(state=asks.c.before)
_SENDING = update(asks).where(asks.c.key == bindparam("b_key")).values(state="sending", call_id=bindparam("b_call"))
_MOVE = (
    update(asks)
    .where(asks.c.key == bindparam("b_key"))
    .values(state=bindparam("state"), remote_id=bindparam("remote_id"))
)
_ACCEPTED = _ending("changed_in")
_REPLIED = _ending(
    "http_status", "latency_ms", "request_id", "reply_status", "reply_headers", "reply_body", "reply_blob", "changed_in"
)
_REJECTED = _ending(
    "http_status", "error_kind", "error_message", "latency_ms", "request_id", "cost_usd", "cost_basis", "changed_in"
)
_UNKNOWN = _ending("http_status", "error_kind", "error_message", "latency_ms", "cost_basis", "changed_in")
_SETTLE = (
    update(attempts)
    .where(attempts.c.call_id == bindparam("b_call"))
    .values({name: bindparam(name) for name in ("usage", "cost_usd", "cost_basis", "price_source", "changed_in")})
)
