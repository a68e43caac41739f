"""What a run and its worker processes tell each other. None of it holds a key: each process has its own environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from mediamill.tasks.calls.call_context import CallStats
from mediamill.tasks.errors import MediamillError, RunStopped
from mediamill.tasks.job import Job
from mediamill.tasks.run.run_context import ItemCounts, PaceNow
from mediamill.tasks.run.shard import ShardResult


@dataclass(frozen=True, slots=True)
class WorkerTicket:
    """What a worker needs to take part in a run.

    Attributes:
        out: OUT as an absolute path.
        run_id: the run's id.
        token: the fencing token of OUT's lock, under which parts are committed.
        job: what the run does, with this worker's part of the requests in flight and of the memory.
        worker: its number among the run's workers, from 1.
        share: its part of the configured limits.
        is_limited: whether the run has a budget, of which money is leased.
        tells_results: whether somebody wants to know of each result.
        log_level: of the records that the run's process takes.
        started_at: when the run began.
    """

    out: str
    run_id: str
    token: int
    job: Job
    worker: int
    share: float
    is_limited: bool
    tells_results: bool
    log_level: int
    started_at: datetime


@dataclass(frozen=True, slots=True)
class ShardWanted:
    """To the run: the worker has room for one more shard."""


@dataclass(frozen=True, slots=True)
class DoShard:
    """To a worker: do this shard."""

    shard: int


@dataclass(frozen=True, slots=True)
class ShardDone:
    """To the run: what a shard's pending items came to; its parts are committed."""

    shard: int
    result: ShardResult


@dataclass(frozen=True, slots=True)
class Money:
    """What a worker has charged and reserved, in US dollars."""

    spent: Decimal = Decimal(0)
    unknown: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class MoneyWanted:
    """To the run: the worker needs ``usd`` more than it was granted."""

    usd: Decimal


@dataclass(frozen=True, slots=True)
class MoneyReturned:
    """To the run: the worker gives back ``usd`` of what it was granted, and ``money`` is what it has charged."""

    usd: Decimal
    money: Money


@dataclass(frozen=True, slots=True)
class MoneyResumed:
    """To the run: the worker holds ``usd`` again that an earlier process left charged."""

    usd: Decimal


@dataclass(frozen=True, slots=True)
class MoneyGranted:
    """To a worker: it may spend ``usd`` more; ``is_short`` says to return what it does not need."""

    usd: Decimal = Decimal(0)
    is_short: bool = False


@dataclass(frozen=True, slots=True)
class MoneyRefused:
    """To a worker: the budget does not cover what it wanted."""

    error: MediamillError


@dataclass(frozen=True, slots=True)
class WorkerState:
    """To the run, a few times a second: what the worker has done so far, and what it does now.

    ``counts.open_since`` has the time of :func:`time.monotonic`, which is the same for all processes of a machine.
    """

    counts: ItemCounts
    stats: CallStats
    money: Money
    pace: PaceNow


@dataclass(frozen=True, slots=True)
class ResultStored:
    """To the run: an item's result is in the journal."""

    item_id: str


@dataclass(frozen=True, slots=True)
class Logged:
    """To the run: a record for its log."""

    name: str
    level: int
    event: str
    message: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stop:
    """In both directions: the run is to end, and why."""

    reason: RunStopped


@dataclass(frozen=True, slots=True)
class Failed:
    """To the run: the disk or the journal failed, or a bug; the worker ends."""

    error: MediamillError


@dataclass(frozen=True, slots=True)
class Finish:
    """To a worker: no shard is left; make what is held ready for the end, and end."""


@dataclass(frozen=True, slots=True)
class Finished:
    """To the run: everything is in the journal, and the worker ends."""

    state: WorkerState
