"""Claims of Asks: taken, inherited from the dead, let go of, kept alive; all that wait at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, bindparam, or_, select, update

from mediamill.tasks.journal.sql_dialect import insert_absent
from mediamill.tasks.journal.tables import asks, attempts

LEASE_SECONDS = 60
HELD = ("claimed", "sending", "accepted")
CRASHED = {
    "outcome": "unknown",
    "cost_basis": "unknown",
    "error_kind": "crash",
    "error_message": "the process ended before the reply was on record",
}
ELSEWHERE = ""
"""``changed_in`` of an attempt that a run of another OUT has changed; its own OUT's next run publishes it."""
MINE = (asks.c.key == bindparam("b_key"), asks.c.owner == bindparam("b_owner"))
_CHUNK = 500


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
class Held:
    """Asks that ``owner`` claimed."""

    owner: str
    keys: Sequence[str]


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
    return insert_absent(connection, asks, "key", values)


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
    if state in HELD and row["lease"] > wish.now:
        return "busy", row
    if state == "sending":
        _mark_unknown(connection, row["call_id"])
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


def _mark_unknown(connection: Connection, call_id: str) -> None:
    where = (attempts.c.call_id == call_id, attempts.c.outcome == "sending")
    connection.execute(update(attempts).where(*where).values(changed_in=ELSEWHERE, **CRASHED))


def recover(connection: Connection, out_id: str, run_id: str) -> None:
    """Every claim of this OUT's earlier runs is dead; what they were sending is unknown.

    Attempts of this OUT that another OUT's run has changed are this run's to publish.
    """
    dead = (asks.c.out_id == out_id, asks.c.owner != run_id)
    connection.execute(update(asks).where(*dead, asks.c.state == "claimed").values(state=asks.c.before, lease=0))
    connection.execute(update(asks).where(*dead, asks.c.state == "sending").values(state="unknown", lease=0))
    connection.execute(update(asks).where(*dead, asks.c.state == "accepted").values(lease=0))
    lost = (attempts.c.out_id == out_id, attempts.c.run_id != run_id, attempts.c.outcome == "sending")
    connection.execute(update(attempts).where(*lost).values(changed_in=run_id, **CRASHED))
    elsewhere = (attempts.c.out_id == out_id, attempts.c.changed_in == ELSEWHERE)
    connection.execute(update(attempts).where(*elsewhere).values(changed_in=run_id))


def release(connection: Connection, groups: Sequence[Held]) -> Sequence[None]:
    """Let go of Asks. A claim falls back to what it was before; one on its way or accepted waits for an heir."""
    let_go = [{"b_key": key, "b_owner": held.owner} for held in groups for key in held.keys]
    connection.execute(_RELEASE, let_go)
    connection.execute(_ABANDON, let_go)
    return [None] * len(groups)


def renew(connection: Connection, holders: Sequence[tuple[str, str]]) -> Sequence[None]:
    """Prolong the leases of all that is held, by (out id, owner). What was let go of stays so."""
    lease = time.time_ns() // 1000 + LEASE_SECONDS * 1_000_000
    connection.execute(_RENEW, [{"b_out": out_id, "b_owner": owner, "b_lease": lease} for out_id, owner in holders])
    return [None] * len(holders)


def _any(states: Sequence[str]) -> ColumnElement[bool]:
    """In one of the states; written out, because a list cannot be bound for many rows at once."""
    return or_(*(asks.c.state == state for state in states))


_RELEASE = update(asks).where(*MINE, asks.c.state == "claimed").values(state=asks.c.before, lease=0)
_ABANDON = update(asks).where(*MINE, _any(("sending", "accepted"))).values(lease=0)
_RENEW = (
    update(asks)
    .where(
        asks.c.out_id == bindparam("b_out"),
        _any(HELD),
        asks.c.owner == bindparam("b_owner"),
        asks.c.lease > 0,
    )
    .values(lease=bindparam("b_lease"))
)
