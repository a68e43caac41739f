"""Whether the owner of a claim still works: it counts in the journal, and whoever waits for it watches that count.

No clock of another process is believed, nor this machine's time of day: it may have been two hours ahead when a lease
was written, or be set while runs work. An owner is dead once its count has stood still for a minute of this process's
own monotonic clock; on the same machine at once, when nobody holds the lock of its OUT.
"""

from __future__ import annotations

import fcntl
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Select, select, update

from mediamill.tasks.errors import StorageError
from mediamill.tasks.journal.out_place import Place, read_out_id
from mediamill.tasks.journal.sql_dialect import split_values, upsert
from mediamill.tasks.journal.tables import leases, outs

LEASE_SECONDS = 60
"""Seconds without a sign of life after which a claim's owner counts as dead."""
_MAX_STOPPED_SECONDS = 600
"""The same for a request in flight, while the owner's process is there but silent: it may have been stopped by a signal
or wait for a disk, and what it has sent is paid for already."""
_LOOK_SECONDS = 1.0

LockState = Literal["held", "free", "unknown"]


@dataclass(frozen=True, slots=True)
class OwnerSigns:
    """What the journal says of the OUT of a claim: which run counts there, its count, and where the OUT is."""

    owner: str | None = None
    count: int = 0
    place: Place | None = None


@dataclass(slots=True)
class _Watched:
    """An owner's count, since when it has stood still, and the state of its OUT's lock; monotonic seconds."""

    count: int
    since: float
    lock: LockState = "unknown"
    looked_at: float = float("-inf")


class ClaimOwners:
    """What this process has seen of the owners of claims that it waits for.

    Args:
        monotonic: the clock, in seconds.
        look_at_lock: the state of the lock of an OUT, given its id and its place.
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        look_at_lock: Callable[[str, Place], LockState] | None = None,
    ) -> None:
        self._monotonic = monotonic
        self._look_at_lock = look_at_lock or find_lock_state
        self._watched: dict[str, _Watched] = {}

    def is_dead(self, claim: Mapping[str, Any], signs: OwnerSigns, now: int) -> bool:
        """Whether a claim may be taken over.

        Args:
            claim: the row of an Ask that is claimed, sending or accepted.
            signs: what the journal says of its owner.
            now: microseconds since the epoch, for claims of a program that does not count.
        """
        if not claim["lease"]:
            return True  # released, or abandoned by its owner
        if signs.owner is None:  # an older program, which only has its lease
            return not now < claim["lease"] <= now + LEASE_SECONDS * 1_000_000
        if signs.owner != claim["owner"]:
            return True  # a later run holds the OUT, so this one has ended
        watched = self._watch(claim, signs)
        if watched.lock == "free":
            return True
        is_in_flight = claim["state"] == "sending" and watched.lock == "held"
        limit = _MAX_STOPPED_SECONDS if is_in_flight else LEASE_SECONDS
        return self._monotonic() - watched.since >= limit

    def _watch(self, claim: Mapping[str, Any], signs: OwnerSigns) -> _Watched:
        now, owner = self._monotonic(), str(claim["owner"])
        watched = self._watched.get(owner)
        if watched is None or watched.count != signs.count:
            watched = self._watched[owner] = _Watched(signs.count, now)
        if signs.place is not None and now - watched.looked_at >= _LOOK_SECONDS:
            watched.lock, watched.looked_at = self._look_at_lock(str(claim["out_id"]), signs.place), now
        return watched


def find_lock_state(out_id: str, place: Place) -> LockState:
    """Whether a run holds the lock of an OUT; unknown where its folder is not on this machine or is another OUT's."""
    out = Path(place.path)
    try:
        if place.host != socket.gethostname() or read_out_id(out) != out_id:
            return "unknown"
        with (out / ".journal" / "lock").open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return "held"
    except (OSError, StorageError):
        return "unknown"
    return "free"


def begin_counting(connection: Connection, out_id: str, run_id: str) -> None:
    """Let a run count for its OUT; an earlier run of that OUT no longer does."""
    row = {"name": _to_name(out_id), "owner": run_id, "heartbeat": 0, "token": 0}
    connection.execute(upsert(connection, leases, ("owner", "heartbeat")), row)


def select_counting_run(out_id: str) -> Select[tuple[str]]:
    """A select of the run that last began to count for an OUT."""
    return select(leases.c.owner).where(leases.c.name == _to_name(out_id))


def count_on(connection: Connection, holders: Iterable[tuple[str, str]]) -> None:
    """Give a sign of life for each (out id, run)."""
    for out_id, run_id in holders:
        mine = (leases.c.name == _to_name(out_id), leases.c.owner == run_id)
        connection.execute(update(leases).where(*mine).values(heartbeat=leases.c.heartbeat + 1))


def load_signs(connection: Connection, out_ids: Iterable[str]) -> dict[str, OwnerSigns]:
    """What the journal says of the owners in these OUTs, by OUT id."""
    places: dict[str, str] = {}
    counts: dict[str, tuple[str, int]] = {}
    for chunk in split_values(sorted(set(out_ids))):
        found = connection.execute(select(outs.c.out_id, outs.c.place).where(outs.c.out_id.in_(chunk)))
        places.update({out_id: place for out_id, place in found if place})
        names = [_to_name(out_id) for out_id in chunk]
        rows = select(leases.c.name, leases.c.owner, leases.c.heartbeat).where(leases.c.name.in_(names))
        counts.update({name: (owner, count) for name, owner, count in connection.execute(rows)})
    signs = {}
    for out_id in set(out_ids):
        owner, count = counts.get(_to_name(out_id), (None, 0))
        place = places.get(out_id)
        signs[out_id] = OwnerSigns(owner, count, Place.from_json(place) if place else None)
    return signs


def _to_name(out_id: str) -> str:
    """The name of the row in which the run on an OUT counts."""
    return f"claims:{out_id}"
