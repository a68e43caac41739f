"""What the three steps of a run share: the job, the objects it runs with, and the switch that stops it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediamill.tasks.calls.call import Caller
from mediamill.tasks.calls.call_context import CallContext
from mediamill.tasks.calls.rate_limiter import Limiter
from mediamill.tasks.capabilities.base import Capability
from mediamill.tasks.capability_context import EngineCapabilityContext
from mediamill.tasks.damage import Damage
from mediamill.tasks.domain import Failure
from mediamill.tasks.engine import Engine
from mediamill.tasks.errors import RunStopped
from mediamill.tasks.item_slots import ItemSlots
from mediamill.tasks.job import Job
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.output_lock import OutputLock
from mediamill.tasks.not_taken import NotTaken
from mediamill.tasks.sources.row_paths import RowPaths
from mediamill.tasks.summary import FailureGroup, Progress

if TYPE_CHECKING:
    import pyarrow as pa


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
    """The items of this run, counted as they end."""

    total: int = 0
    skipped: int = 0
    done: int = 0
    failed: int = 0
    cached: int = 0
    audio_seconds: Decimal = Decimal(0)
    planned: int = 0
    flags: Counter[str] = field(default_factory=Counter)
    replacement_failures: dict[str, FailureGroup] = field(default_factory=dict)

    def add_replacement_failure(self, failure: Failure) -> None:
        """Count an attempt to replace a result that failed: it has no row of its own, so the summary reports it."""
        kind = failure.kind
        group = self.replacement_failures.get(kind)
        first = group or FailureGroup(kind, 0, failure.item_id, failure.message, failure.hint, stands=True)
        self.replacement_failures[kind] = replace(first, count=first.count + 1)


@dataclass(slots=True)
class RunContext:
    """One run in progress. ``item_slots`` bounds the items that are open at once.

    ``not_taken`` is what its source holds and the run passes over; None in a retry and before the plan.
    ``not_taken_changed`` says whether an earlier run told something else, so that the page is stale.
    """

    job: Job
    run_id: str
    out: Path
    journal: Journal
    lock: OutputLock
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
    damage: Damage = field(default_factory=Damage)
    phase: str = "plan"
    not_taken: NotTaken | None = None
    not_taken_changed: bool = False
    counts: ItemCounts = field(default_factory=ItemCounts)
    start_time: float = field(default_factory=time.monotonic)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def progress(self) -> Progress:
        """The progress of the run so far."""
        counts, stats, budget = self.counts, self.call_context.stats, self.call_context.budget
        elapsed = time.monotonic() - self.start_time
        ended = counts.done + counts.failed
        rate = ended / elapsed if elapsed > 0 else 0.0
        items_left = max(counts.total - ended, 0)
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
            outage=self.call_context.gate.describe_outage() or self.call_context.lookup_gate.describe_outage(),
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
