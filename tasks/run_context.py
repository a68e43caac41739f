"""What the three steps of a run share: the job, its parts on this engine, and how it is being stopped."""

from __future__ import annotations

import asyncio
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
from mediamill.tasks.domain import Failure
from mediamill.tasks.engine import Engine
from mediamill.tasks.errors import RunStopped
from mediamill.tasks.job import Job
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.output_lock import OutLock
from mediamill.tasks.summary import FailureGroup, Progress

if TYPE_CHECKING:
    import pyarrow as pa


class StopSwitch:
    """Thrown once, from any thread or signal handler: nothing new is sent, what is in flight may end."""

    def __init__(self) -> None:
        self._why: RunStopped | None = None
        self._lock = threading.Lock()

    @property
    def why(self) -> RunStopped | None:
        """Why the run is ending; None while it is not."""
        return self._why

    def throw(self, why: RunStopped) -> None:
        """End the run; the first reason counts."""
        with self._lock:
            if self._why is None:
                self._why = why

    def check(self) -> None:
        """Raise the reason, once thrown."""
        if self._why is not None:
            raise self._why


@dataclass(slots=True)
class Counts:
    """Items of this run, as they end."""

    total: int = 0
    skipped: int = 0
    done: int = 0
    failed: int = 0
    cached: int = 0
    audio_seconds: Decimal = Decimal(0)
    planned: int = 0
    flags: Counter[str] = field(default_factory=Counter)
    standing: dict[str, FailureGroup] = field(default_factory=dict)

    def note_standing(self, failure: Failure) -> None:
        """An attempt to replace a result failed: no row tells it, so the run's end does."""
        kind = failure.kind
        known = self.standing.get(kind)
        first = known or FailureGroup(kind, 0, failure.item_id, failure.message, failure.hint, stands=True)
        self.standing[kind] = replace(first, count=first.count + 1)


@dataclass(slots=True)
class Context:
    """One run in progress. ``gate`` bounds the items in the pipeline."""

    job: Job
    run_id: str
    out: Path
    journal: Journal
    lock: OutLock
    engine: Engine
    capability: Capability
    params: Any
    line: CallContext
    caller: Caller
    kit: EngineCapabilityContext
    stop: StopSwitch
    gate: asyncio.Semaphore
    gate_size: int
    schema: pa.Schema
    row_schema: pa.Schema
    limiter: Limiter
    limits_name: str
    phase: str = "plan"
    counts: Counts = field(default_factory=Counts)
    began: float = field(default_factory=time.monotonic)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def progress(self) -> Progress:
        """How the run stands now."""
        counts, stats, budget = self.counts, self.line.stats, self.line.budget
        seconds = time.monotonic() - self.began
        ended = counts.done + counts.failed
        rate = ended / seconds if seconds > 0 else 0.0
        left = max(counts.total - ended, 0)
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
            seconds=seconds,
            rate=rate,
            eta_s=self._seconds_left(left, seconds, rate),
            running=stats.running_jobs,
        )

    def _seconds_left(self, left: int, seconds: float, rate: float) -> float | None:
        stats = self.line.stats
        if self.phase != "run":
            return None
        if stats.running_jobs or stats.jobs_ended:
            return stats.estimate_seconds_left(left, seconds)
        return left / rate if rate else None

    def close(self) -> None:
        """Give OUT back. Blocks until the journal holds everything."""
        self.lock.release()
        self.journal.close()
