"""Claims of Asks: made, taken over from dead owners, released, renewed; each for a whole batch at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, bindparam, or_, select, update

from mediamill.tasks.journal.claim_owners import LEASE_SECONDS, ClaimOwners, OwnerSigns, count_on, load_signs
from mediamill.tasks.journal.sql_dialect import insert_if_absent, split_values
from mediamill.tasks.journal.tables import asks, attempts

HELD_STATES = ("claimed", "sending", "accepted")
CRASHED_COLUMNS = {
    "outcome": "unknown",
    "cost_basis": "unknown",
    "error_kind": "crash",
    "error_message": "the process ended before the reply was on record",
}
CHANGED_BY_OTHER_OUT = ""
"""``changed_in`` of an attempt that a run of another OUT has changed; its own OUT's next run publishes it."""
BOUND_ASK = (asks.c.key == bindparam("b_key"), asks.c.owner == bindparam("b_owner"))
"""Selects the Ask whose key and owner are bound as ``b_key`` and ``b_owner``."""


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """A request to claim the Ask ``key`` for ``owner``.

    ``now`` is in microseconds since the epoch; ``owners`` knows which other owners are dead. ``worker`` is the number
    of the owner's process, where the run has several.
    """

    key: str
    owner: str
    out_id: str
    now: int
    owners: ClaimOwners
    worker: int | None = None

    @property
    def lease(self) -> int:
        """When older programs may take the claim over unless it is renewed; microseconds since the epoch."""
        return self.now + LEASE_SECONDS * 1_000_000


@dataclass(frozen=True, slots=True)
class HeldAsks:
    """Asks that ``owner`` has claimed."""

    owner: str
    keys: Sequence[str]


ClaimOutcome = tuple[Literal["mine", "hit", "busy", "accepted", "unknown"], dict[str, Any]]


def claim(connection: Connection, requests: Sequence[ClaimRequest]) -> Sequence[ClaimOutcome]:
    """Claim every Ask that is free; the first request for a key wins, in this batch and in the database."""
    first_by_key = {request.key: request for request in reversed(requests)}
    inserted = _insert_claims(connection, list(first_by_key.values()))
    rows = _select_asks(connection, [key for key in first_by_key if key not in inserted])
    held_in = [row["out_id"] for row in rows.values() if row["state"] in HELD_STATES and row["lease"]]
    signs = load_signs(connection, held_in) if held_in else {}
    outcomes: list[ClaimOutcome] = []
    for request in requests:
        if request.key in inserted:
            outcomes.append(("mine" if request is first_by_key[request.key] else "busy", {}))
        else:
            row = rows[request.key]
            outcomes.append(_claim_existing(connection, request, row, signs.get(row["out_id"], OwnerSigns())))
    return outcomes


def _insert_claims(connection: Connection, requests: list[ClaimRequest]) -> set[str]:
    """Claim the Asks that the journal does not know yet; their keys."""
    known = set(_select_asks(connection, [r.key for r in requests]))
    absent = [r for r in requests if r.key not in known]
    if not absent:
        return set()
    values = [
        {
            "key": r.key,
            "state": "claimed",
            "before": "free",
            "owner": r.owner,
            "lease": r.lease,
            "out_id": r.out_id,
            "worker": r.worker,
        }
        for r in absent
    ]
    return insert_if_absent(connection, asks, "key", values)


def _select_asks(connection: Connection, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for chunk in split_values(keys):
        statement = select(asks).where(asks.c.key.in_(chunk))
        if connection.dialect.name != "sqlite":
            statement = statement.with_for_update()
        rows.update({row["key"]: dict(row) for row in connection.execute(statement).mappings()})
    return rows


def _claim_existing(
    connection: Connection, request: ClaimRequest, row: dict[str, Any], signs: OwnerSigns
) -> ClaimOutcome:
    """Claim an Ask that the journal knows already, if it has no reply and no live owner."""
    state = row["state"]
    if state == "replied":
        return "hit", row
    is_held = state in HELD_STATES and row["lease"]
    if is_held and (row["owner"] == request.owner or not request.owners.is_dead(row, signs, request.now)):
        return "busy", row
    if state == "sending":
        _mark_unknown(connection, row["call_id"])
        state = "unknown"
    before = row["before"] if state == "claimed" else state
    claimed = {
        "state": "accepted" if before == "accepted" else "claimed",
        "before": before,
        "owner": request.owner,
        "lease": request.lease,
        "out_id": request.out_id,
        "worker": request.worker,
    }
    connection.execute(update(asks).where(asks.c.key == request.key).values(**claimed))
    row.update(claimed)
    outcomes: dict[str, Literal["unknown", "accepted"]] = {"unknown": "unknown", "accepted": "accepted"}
    return outcomes.get(before, "mine"), row


def _mark_unknown(connection: Connection, call_id: str) -> None:
    conditions = (attempts.c.call_id == call_id, attempts.c.outcome == "sending")
    connection.execute(update(attempts).where(*conditions).values(changed_in=CHANGED_BY_OTHER_OUT, **CRASHED_COLUMNS))


def recover(connection: Connection, out_id: str, run_id: str) -> None:
    """End every claim of this OUT's earlier runs; what they were sending becomes unknown.

    Attempts of this OUT that another OUT's run has changed are published by this run.
    """
    earlier_runs = (asks.c.out_id == out_id, asks.c.owner != run_id)
    connection.execute(
        update(asks).where(*earlier_runs, asks.c.state == "claimed").values(state=asks.c.before, lease=0)
    )
    connection.execute(update(asks).where(*earlier_runs, asks.c.state == "sending").values(state="unknown", lease=0))
    connection.execute(update(asks).where(*earlier_runs, asks.c.state == "accepted").values(lease=0))
    interrupted = (attempts.c.out_id == out_id, attempts.c.run_id != run_id, attempts.c.outcome == "sending")
    connection.execute(update(attempts).where(*interrupted).values(changed_in=run_id, **CRASHED_COLUMNS))
    changed_by_other = (attempts.c.out_id == out_id, attempts.c.changed_in == CHANGED_BY_OTHER_OUT)
    connection.execute(update(attempts).where(*changed_by_other).values(changed_in=run_id))


def recover_worker(connection: Connection, out_id: str, run_id: str, worker: int) -> int:
    """End every claim of a dead worker of a run that goes on; how many of its requests become unknown."""
    mine = (asks.c.out_id == out_id, asks.c.owner == run_id, asks.c.worker == worker)
    connection.execute(update(asks).where(*mine, asks.c.state == "claimed").values(state=asks.c.before, lease=0))
    sending = select(asks.c.call_id).where(*mine, asks.c.state == "sending").distinct()
    call_ids = list(connection.execute(sending).scalars())
    for chunk in split_values(call_ids):
        interrupted = (attempts.c.call_id.in_(chunk), attempts.c.outcome == "sending")
        connection.execute(update(attempts).where(*interrupted).values(changed_in=run_id, **CRASHED_COLUMNS))
    connection.execute(update(asks).where(*mine, asks.c.state == "sending").values(state="unknown", lease=0))
    connection.execute(update(asks).where(*mine, asks.c.state == "accepted").values(lease=0))
    return len(call_ids)


def release(connection: Connection, claims: Sequence[HeldAsks]) -> Sequence[None]:
    """Release claims. A claimed Ask returns to its state before; one sending or accepted waits for its next owner."""
    bindings = [{"b_key": key, "b_owner": held.owner} for held in claims for key in held.keys]
    connection.execute(_RELEASE, bindings)
    connection.execute(_ABANDON, bindings)
    return [None] * len(claims)


def renew(connection: Connection, holders: Sequence[tuple[str, str]]) -> Sequence[None]:
    """Give a sign of life for each (out id, owner), and extend the leases of all Asks that it holds.

    Released ones stay released. The leases are for older programs, which believe them.
    """
    count_on(connection, holders)
    lease = time.time_ns() // 1000 + LEASE_SECONDS * 1_000_000
    connection.execute(_RENEW, [{"b_out": out_id, "b_owner": owner, "b_lease": lease} for out_id, owner in holders])
    return [None] * len(holders)


def _is_in_state(states: Sequence[str]) -> ColumnElement[bool]:
    """A condition for any of the states; written out, because a list cannot be bound for many rows at once."""
    return or_(*(asks.c.state == state for state in states))


_RELEASE = update(asks).where(*BOUND_ASK, asks.c.state == "claimed").values(state=asks.c.before, lease=0)
_ABANDON = update(asks).where(*BOUND_ASK, _is_in_state(("sending", "accepted"))).values(lease=0)
_RENEW = (
    update(asks)
    .where(
        asks.c.out_id == bindparam("b_out"),
        _is_in_state(HELD_STATES),
        asks.c.owner == bindparam("b_owner"),
        asks.c.lease > 0,
    )
    .values(lease=bindparam("b_lease"))
)
