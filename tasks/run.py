"""A run, told once: plan, shards, publish, given a way to start a shard."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import TimeoutError as NotYet
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import orjson

from mediamill.tasks.engine import Engine
from mediamill.tasks.errors import BudgetReached, MediamillError, Stop
from mediamill.tasks.job import Job
from mediamill.tasks.journal.items import PREVIEWS, ShardWork
from mediamill.tasks.journal.planning import LOST
from mediamill.tasks.open_run import open_context
from mediamill.tasks.plan import make_plan
from mediamill.tasks.publish import publish
from mediamill.tasks.resolved_job import ResolvedJob, resolve_job
from mediamill.tasks.run_context import Context
from mediamill.tasks.shard import run_shard
from mediamill.tasks.sinks.media import lost_media, previews
from mediamill.tasks.summary import Progress, Summary

if TYPE_CHECKING:
    from mediamill.tasks.sources import Source

T = TypeVar("T")

_TICK = 0.25
_DRAIN = 25.0
"""Seconds in-flight requests get after a stop; with publishing it stays under the promised 30."""
_AHEAD = 2
"""Shards open beside the ones that fill the pipeline, so that a slow tail never empties it."""


FLAGGED = "flagged"


def kept_previews(context: Context) -> list[str]:
    """The ids of previews whose file still stands, and of those that an earlier promotion left undone."""
    return previews(context.out, context.journal.outcomes.standing_results())


def lost_finals(context: Context) -> list[str]:
    """The ids of videos made in full whose file is gone."""
    rows = context.journal.outcomes.every_result()
    return lost_media(context.out, (row for row in rows if orjson.loads(row).get("preview") is False))


class Cancelled(Stop):
    """Stopped by a person or a signal."""

    kind = "cancelled"


@dataclass(frozen=True, slots=True)
class Retry:
    """Do failed items again: all of them, or only those with these error kinds.

    The kind ``previews`` stands for previews whose file is still there, to be made in full; beside others, for those
    whose full version failed so. The kind ``lost`` stands for results whose file is gone, which cost nothing again.
    The kind ``flagged`` stands for results that carry flags: done again by another model, they stand until it succeeds.
    The provider, model and parameters of the job hold for these items alone; OUT stays bound to its own.
    """

    only: frozenset[str] | None = None

    @classmethod
    def of(cls, kinds: Sequence[str] | None) -> Retry | None:
        """A retry from a list of kinds, where ``all`` stands for every kind; None from an empty one."""
        return cls(None if "all" in kinds else frozenset(kinds)) if kinds else None

    def kinds(self) -> list[str]:
        """The same as a list."""
        return sorted(self.only) if self.only else ["all"]


@dataclass(frozen=True, slots=True)
class Step:
    """One of a run's steps, as it is told: ``plan``, ``shard`` or ``publish``; how many items it is about, if known."""

    name: str
    shard: int | None = None
    items: int | None = None


class Around(Protocol):
    """How a step is started: at once, or inside a Prefect task."""

    async def __call__(self, step: Step, work: Callable[[], Coroutine[Any, Any, T]], /) -> T:
        """Do ``work`` on the engine's loop, once, and give back what it gives."""
        ...


async def _inline(_: Step, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return await work()


class Run:
    """One run of a job on this process's engine.

    Args:
        job: what to do.
        on_progress: called about four times a second, in the thread that executes.
        retry: do failed items again instead of reading the source.
        around: how each step is started; at once by default.
    """

    def __init__(
        self,
        job: Job | ResolvedJob,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        retry: Retry | None = None,
        around: Around = _inline,
    ) -> None:
        self._job = job
        self._on_progress = on_progress
        self._retry = retry
        self._around = around
        self._context: Context | None = None
        self._stopped: str | None = None

    def execute(self) -> Summary:
        """Do the job and return what came of it.

        Raises:
            MediamillError: when the run could not start, or the disk or the journal failed.
        """
        engine = Engine.shared()
        future = engine.submit(self._run(engine))
        while True:
            try:
                return future.result(timeout=_TICK)
            except NotYet:
                if future.done():
                    raise
                self._report()

    def stop(self, reason: str) -> None:
        """Send nothing new, let what is in flight end, and leave OUT resumable. Safe in any thread or signal."""
        self._stopped = reason
        if self._context is not None:
            self._context.stop.throw(Cancelled(reason, hint="run the same command again to go on"))

    async def _run(self, engine: Engine) -> Summary:
        resolved = await engine.thread(resolve_job, self._job)
        context, source = await open_context(resolved, engine, retry=self._retry is not None)
        self._context = context
        try:
            if self._stopped:
                self.stop(self._stopped)
            async with _deadline(context):
                work = await self._around(Step("plan"), functools.partial(self._plan, context, source))
                context.phase = "run"
                await self._shards(context, work)
            context.phase = "publish"
            return await self._around(Step("publish"), functools.partial(publish, context))
        except BaseException:
            # What is in flight has been paid for: its replies are kept, whatever broke.
            context.stop.throw(Cancelled("the run failed"))
            await context.caller.drain(_DRAIN)
            raise
        finally:
            await engine.thread(context.close)

    async def _plan(self, context: Context, source: Source | None) -> list[ShardWork]:
        if source is not None:
            return await make_plan(context, source)
        journal_items, only = context.journal.items, self._retry.only if self._retry else None
        if only is not None and PREVIEWS in only:
            ids = await context.engine.thread(kept_previews, context)
            kinds = only - {PREVIEWS}
            context.counts.total += await journal_items.retry_ids(ids, promoting=True, kinds=kinds)
            finals = await context.engine.thread(lost_finals, context)
            context.counts.total += 0 if kinds else await journal_items.make_again(finals, now=True)
            return await journal_items.shards()
        if only and LOST in only:
            results = context.journal.outcomes.every_result()
            lost = await context.engine.thread(lost_media, context.out, results)
            context.counts.total += await journal_items.make_again(lost, now=True)
        if only is None or only - {FLAGGED, LOST}:
            context.counts.total += await journal_items.retry(set(only) if only else None)
        if only and FLAGGED in only:
            flagged = await context.engine.thread(lambda: list(context.journal.outcomes.flagged_ids()))
            context.counts.total += await journal_items.retry_ids(flagged)
        return await journal_items.shards()

    async def _shards(self, context: Context, work: list[ShardWork]) -> None:
        """Start shards in order, several at once; a stop ends them after what is in flight."""
        open_at_once = _AHEAD + -(-context.gate_size // context.job.shard_size)
        slots = asyncio.Semaphore(open_at_once)
        drain = asyncio.create_task(self._drain(context))
        try:
            async with asyncio.TaskGroup() as group:
                for shard in work:
                    await slots.acquire()
                    if context.stop.why is not None:
                        break
                    step = Step("shard", shard.shard, shard.pending)
                    work_on = functools.partial(run_shard, context, shard.shard)
                    task = group.create_task(self._around(step, work_on))
                    task.add_done_callback(lambda _: slots.release())
        except BaseExceptionGroup as errors:
            raise _first(errors) from errors
        finally:
            drain.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await drain

    @staticmethod
    async def _drain(context: Context) -> None:
        """Once stopped, give what is in flight its time, then cut it off."""
        while context.stop.why is None:
            await asyncio.sleep(_TICK)
        await context.caller.drain(_DRAIN)

    def _report(self) -> None:
        context = self._context
        if context is not None and self._on_progress is not None:
            self._on_progress(snapshot(context))


class OutOfTime(Stop):
    """The run's own deadline passed."""

    kind = "run_deadline"


@asynccontextmanager
async def _deadline(context: Context) -> AsyncIterator[None]:
    """Stop the run when its deadline passes."""
    seconds = context.job.run_deadline
    why: Stop = OutOfTime(f"the run deadline of {seconds or 0:g} s passed", hint="run the same command again to go on")
    bought = _bought_seconds(context)
    if bought is not None and (seconds is None or bought < seconds):
        hint = "raise --budget to go on; an endpoint costs by the hour until it is stopped"
        seconds, why = bought, BudgetReached(f"the budget of ${context.job.budget} is used up", hint=hint)
    if seconds is None:
        yield
        return
    timer = asyncio.get_running_loop().call_later(seconds, context.stop.throw, why)
    try:
        yield
    finally:
        timer.cancel()


def _bought_seconds(context: Context) -> float | None:
    """How long what is left of the budget pays a dedicated endpoint; None without one, or without a budget."""
    hourly, budget = context.job.endpoint_hourly, context.job.budget
    if not hourly or budget is None:
        return None
    spent = sum((Decimal(told["endpoint_usd"]) for _, told in context.journal.runs.endpoint_costs()), Decimal(0))
    return max(float((budget - spent) / hourly * 3600), 0.0)


def _first(errors: BaseExceptionGroup) -> BaseException:
    """The one error to tell: ours before others, whatever else broke in its wake."""
    flat: list[BaseException] = []
    pending: list[BaseException] = [errors]
    while pending:
        error = pending.pop(0)
        if isinstance(error, BaseExceptionGroup):
            pending.extend(error.exceptions)
        else:
            flat.append(error)
    return next((e for e in flat if isinstance(e, MediamillError)), flat[0])


def _seconds_left(context: Context, left: int, seconds: float, rate: float) -> float | None:
    tally = context.line.tally
    if context.phase != "run":
        return None
    if tally.running or tally.jobs_ended:
        return tally.seconds_left(left, seconds)
    return left / rate if rate else None


def snapshot(context: Context) -> Progress:
    """How a run stands now."""
    counts, tally, budget = context.counts, context.line.tally, context.line.budget
    seconds = time.monotonic() - context.began
    ended = counts.done + counts.failed
    rate = ended / seconds if seconds > 0 else 0.0
    left = max(counts.total - ended, 0)
    return Progress(
        phase=context.phase,
        total=counts.total,
        done=counts.done,
        failed=counts.failed,
        cached=counts.cached,
        in_flight=tally.in_flight,
        spent=budget.spent,
        unknown_max=budget.unknown,
        budget=context.job.budget,
        seconds=seconds,
        rate=rate,
        eta_s=_seconds_left(context, left, seconds, rate),
        running=tally.running,
    )
