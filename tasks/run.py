"""A run, told once: plan, shards, publish, given a way to start a shard."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, TimeoutError as NotYet
from dataclasses import dataclass
from pathlib import Path

from tasks.context import Context
from tasks.engine import Engine
from tasks.errors import ItemError, MediamillError, Stop, UsageError
from tasks.job import Job, make_job
from tasks.journal.items import ShardWork
from tasks.plan import make_plan
from tasks.publish import publish
from tasks.setup import open_context
from tasks.shard import run_shard
from tasks.summary import Progress, Summary

_TICK = 0.25
_DRAIN = 25.0
"""Seconds in-flight requests get after a stop; with publishing it stays under the promised 30."""
_AHEAD = 2
"""Shards open beside the ones that fill the pipeline, so that a slow tail never empties it."""


class Cancelled(Stop):
    """Stopped by a person or a signal."""

    kind = "cancelled"


@dataclass(frozen=True, slots=True)
class Retry:
    """Do failed items again: all of them, or only those with these error kinds."""

    only: frozenset[str] | None = None


StartShard = Callable[[Context, ShardWork], Awaitable[None]]


async def _inline(context: Context, work: ShardWork) -> None:
    await run_shard(context, work.shard)


class Run:
    """One run of a job on this process's engine.

    Args:
        job: what to do.
        on_progress: called about four times a second, in the thread that executes.
        retry: do failed items again instead of reading the source.
        start_shard: how one shard is started; inline on the engine by default.
    """

    def __init__(
        self,
        job: Job,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        retry: Retry | None = None,
        start_shard: StartShard = _inline,
    ) -> None:
        self._job = job
        self._on_progress = on_progress
        self._retry = retry
        self._start_shard = start_shard
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
        context, source = await open_context(self._job, engine, retry=self._retry is not None)
        self._context = context
        try:
            if self._stopped:
                self.stop(self._stopped)
            async with _deadline(context):
                if self._retry is not None:
                    work = await self._mark(context, self._retry)
                else:
                    work = await make_plan(context, source)
                context.phase = "run"
                await self._shards(context, work)
            context.phase = "publish"
            return await publish(context)
        finally:
            await engine.thread(context.close)

    async def _mark(self, context: Context, retry: Retry) -> list[ShardWork]:
        kinds = set(retry.only) if retry.only else None
        context.counts.total = await context.journal.items.retry(context.run_id, kinds)
        return await context.journal.items.shards(context.run_id)

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
                    task = group.create_task(self._start_shard(context, shard))
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
