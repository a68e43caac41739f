"""What the three steps of a run share: the job, the objects it runs with, and the switch that stops it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mediamill.tasks.bounded.expressions import Expression
from mediamill.tasks.calls.call import Caller
from mediamill.tasks.calls.call_context import CallContext
from mediamill.tasks.calls.pace_exchange import PaceExchange
from mediamill.tasks.calls.provider_gate import ProviderGate
from mediamill.tasks.calls.rate_limiter import Limiter
from mediamill.tasks.capabilities.base import Capability
from mediamill.tasks.domain import Failure, Result
from mediamill.tasks.engine import Engine
from mediamill.tasks.errors import RunStopped
from mediamill.tasks.job import Job
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.output_lock import HeldLock, OutputLock
from mediamill.tasks.not_taken import NotTaken
from mediamill.tasks.out.damage import Damage
from mediamill.tasks.run.capability_context import EngineCapabilityContext
from mediamill.tasks.run.failures_in_a_row import FailuresInARow
from mediamill.tasks.run.item_slots import ItemSlots
from mediamill.tasks.sources.row_paths import RowPaths
from mediamill.tasks.sources.sidecars import SidecarNames
from mediamill.tasks.summary import FailureGroup, Outage, Progress, SidecarCounts

if TYPE_CHECKING:
    import pyarrow as pa

_MAX_LAST_FAILURES = 3


class StopSwitch:
    """Stops a run, from any thread or signal handler: nothing new is sent, requests in flight may end."""

    def __init__(self) -> None:
        self._reason: RunStopped | None = None
        self._lock = threading.Lock()

    @property
    def reason(self) -> RunStopped | None:
        """Why the run is ending; None while it is not."""
        return self._reason

    def trigger(self, reason: RunStopped) -> None:
        """End the run; the first reason counts."""
        with self._lock:
            if self._reason is None:
                self._reason = reason

    def raise_if_stopped(self) -> None:
        """Raise the reason, once the run is ending."""
        if self._reason is not None:
            raise self._reason


@dataclass(slots=True)
class ItemCounts:
    """The items of this run, counted as they end; ``open_since`` has those that are open, the oldest first."""

    total: int = 0
    skipped: int = 0
    done: int = 0
    failed: int = 0
    cached: int = 0
    audio_seconds: Decimal = Decimal(0)
    planned: int = 0
    tried_again: int = 0
    taken_later: int = 0
    tries_missing: int = 0
    undecided: int = 0
    undecided_example: str | None = None
    failed_tries: dict[str, FailureGroup] = field(default_factory=dict)
    flags: Counter[str] = field(default_factory=Counter)
    replacement_failures: dict[str, FailureGroup] = field(default_factory=dict)
    last_failures: tuple[FailureGroup, ...] = ()
    open_since: dict[str, float] = field(default_factory=dict)

    def add_last_failure(self, failure: Failure) -> None:
        """Keep a failure among the latest ones, for who watches the run."""
        latest = FailureGroup(failure.kind, 1, failure.item_id, failure.message, failure.hint)
        self.last_failures = (latest, *self.last_failures[: _MAX_LAST_FAILURES - 1])

    def find_slowest(self) -> tuple[str, float] | None:
        """The item that has been open longest, and since when, in the time of :func:`time.monotonic`."""
        try:
            return next(iter(self.open_since.items()), None)
        except RuntimeError:  # the run's own thread has just changed it
            return None

    def add_replacement_failure(self, failure: Failure) -> None:
        """Count an attempt to replace a result that failed: it has no row of its own, so the summary reports it."""
        _count_failure(self.replacement_failures, failure)

    def add_tries(self, result: Result) -> None:
        """Count what became of the tries of an item that is done."""
        self.tried_again += len(result.columns.get("tries") or ()) > 1
        self.taken_later += (result.columns.get("taken") or 1) > 1
        self.tries_missing += result.lacks_try
        self.undecided += result.undecided is not None
        self.undecided_example = self.undecided_example or result.undecided
        for failure in result.failed_tries:
            _count_failure(self.failed_tries, failure)


def _count_failure(groups: dict[str, FailureGroup], failure: Failure) -> None:
    """Count a failure among those of its kind that leave a result standing."""
    kind = failure.kind
    first = groups.get(kind) or FailureGroup(kind, 0, failure.item_id, failure.message, failure.hint, stands=True)
    groups[kind] = replace(first, count=first.count + 1)


class RunListener(Protocol):
    """Is told what a run does, on the engine's loop, so it must not block."""

    def on_planned(self, run_id: str) -> None:
        """The journal says which items the run does; none has begun."""
        ...

    def on_result(self, item_id: str) -> None:
        """An item's result is in the journal."""
        ...


@dataclass(frozen=True, slots=True)
class PaceNow:
    """What a run may send now, and what holds it up: of this process, or of all its workers together.

    ``outages`` have ended or go on, and took ``outage_seconds`` in all; ``outage`` is one that goes on.
    """

    max_in_flight: int = 0
    requests_per_second: float | None = None
    silent_seconds: float | None = None
    outage: Outage | None = None
    outages: int = 0
    outage_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class TryContext:
    """What one try of an item uses: a provider with its limits, a model and parameters.

    ``job`` names them. ``pace_exchange`` is as in :class:`RunContext`.
    """

    job: Job
    params: Any
    call_context: CallContext
    caller: Caller
    capability_context: EngineCapabilityContext
    limiter: Limiter
    limiter_name: str
    pace_exchange: PaceExchange | None


@dataclass(slots=True)
class RunContext:
    """One run in progress. ``item_slots`` bounds the items that are open at once.

    ``pace_exchange`` shares the limiter's limit with runs in other processes; None where there is nothing to share.
    ``second`` makes the second try of an item with doubts (None without ``check``), and ``later`` those that follow
    while ``until`` is false, or, where it is None, while there are doubts.
    ``failures_in_a_row`` stops a run whose provider has turned bad.
    ``is_new`` says that the run made OUT, ``keeps_learned`` that this process keeps what it learns for later runs.
    ``workers_pace`` is None where this process sends the requests. ``not_taken`` is what its source holds and the run
    passes over; None in a retry and before the plan.
    ``not_taken_changed`` says whether an earlier run told something else, so that the page is stale. ``subtitles`` are
    the formats that OUT's recordings have as files, ``sidecars`` what those beside the sources are called, and
    ``sidecar_counts`` what became of them.
    """

    job: Job
    run_id: str
    out: Path
    journal: Journal
    lock: OutputLock | HeldLock
    engine: Engine
    capability: Capability
    params: Any
    row_paths: RowPaths
    call_context: CallContext
    caller: Caller
    capability_context: EngineCapabilityContext
    stop_switch: StopSwitch
    item_slots: ItemSlots
    max_open_items: int
    schema: pa.Schema
    row_schema: pa.Schema
    limiter: Limiter
    limiter_name: str
    pace_exchange: PaceExchange | None
    failures_in_a_row: FailuresInARow
    second: TryContext | None = None
    later: tuple[TryContext, ...] = ()
    until: Expression | None = None
    damage: Damage = field(default_factory=Damage)
    is_new: bool = False
    keeps_learned: bool = True
    workers_pace: PaceNow | None = None
    listener: RunListener | None = None
    subtitles: Sequence[str] = ()
    sidecars: SidecarNames | None = None
    sidecar_counts: SidecarCounts | None = None
    phase: str = "plan"
    not_taken: NotTaken | None = None
    not_taken_changed: bool = False
    counts: ItemCounts = field(default_factory=ItemCounts)
    start_time: float = field(default_factory=time.monotonic)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    spent_before: Decimal = field(init=False)

    def __post_init__(self) -> None:
        self.spent_before = self.call_context.budget.spent

    @property
    def first(self) -> TryContext:
        """What every item's first try uses."""
        return TryContext(
            self.job,
            self.params,
            self.call_context,
            self.caller,
            self.capability_context,
            self.limiter,
            self.limiter_name,
            self.pace_exchange,
        )

    @property
    def may_be_billed(self) -> bool:
        """Whether any of the providers bills anything."""
        return not all(each.call_context.pricing.billing.free for each in self.list_tries())

    def list_tries(self) -> list[TryContext]:
        """All tries that an item may get, in order."""
        return [self.first, *([self.second] if self.second else []), *self.later]

    def list_gates(self) -> list[ProviderGate]:
        """The gates of all providers, each once."""
        tries = self.list_tries()
        gates = [gate for each in tries for gate in (each.call_context.gate, each.call_context.lookup_gate)]
        return list(dict.fromkeys(gates))

    async def drain(self, seconds: float, repeatable_seconds: float | None = None) -> None:
        """Let requests in flight end, for all providers; see :meth:`mediamill.tasks.calls.call.Caller.drain`."""
        await asyncio.gather(*(each.caller.drain(seconds, repeatable_seconds) for each in self.list_tries()))

    def measure_pace(self) -> PaceNow:
        """What it may send now, and what holds it up."""
        if self.workers_pace is not None:
            return self.workers_pace
        gates = self.list_gates()
        return PaceNow(
            max_in_flight=self.limiter.concurrency,
            requests_per_second=self.limiter.requests_per_second,
            silent_seconds=self.call_context.gate.measure_silence(),
            outage=next(filter(None, (gate.describe_outage() for gate in gates)), None),
            outages=sum(gate.outages for gate in gates),
            outage_seconds=max(gate.measure_outage_seconds() for gate in gates),
        )

    def progress(self) -> Progress:
        """The progress of the run so far."""
        pace = self.measure_pace()
        counts, stats, budget = self.counts, self.call_context.stats, self.call_context.budget
        elapsed = time.monotonic() - self.start_time
        ended = counts.done + counts.failed
        rate = ended / elapsed if elapsed > 0 else 0.0
        items_left = max(counts.total - ended, 0)
        now_spent = budget.spent - self.spent_before
        slowest = counts.find_slowest()
        return Progress(
            phase=self.phase,
            total=counts.total,
            done=counts.done,
            failed=counts.failed,
            cached=counts.cached,
            in_flight=stats.in_flight,
            spent=budget.spent,
            unknown_max=budget.unknown,
            budget=self.job.budget,
            seconds=elapsed,
            rate=rate,
            eta_s=self._estimate_seconds_left(items_left, elapsed, rate),
            running=stats.running_jobs,
            outage=pace.outage,
            retried=stats.retried,
            rate_limited=stats.rate_limited,
            max_in_flight=pace.max_in_flight,
            max_requests_per_second=pace.requests_per_second,
            projected=budget.spent + now_spent * items_left / ended if ended and now_spent else None,
            slowest_item=slowest[0] if slowest else None,
            slowest_seconds=time.monotonic() - slowest[1] if slowest else 0.0,
            last_failures=counts.last_failures,
            silent_seconds=pace.silent_seconds,
            claimed_by_others=self.call_context.stats.claimed_by_others,
        )

    def _estimate_seconds_left(self, items_left: int, elapsed: float, rate: float) -> float | None:
        stats = self.call_context.stats
        if self.phase != "run":
            return None
        if stats.running_jobs or stats.jobs_ended:
            return stats.estimate_seconds_left(items_left, elapsed)
        return items_left / rate if rate else None

    def close(self) -> None:
        """Release OUT's lock. Blocks until everything is in the journal."""
        self.lock.release()
        self.journal.close()
