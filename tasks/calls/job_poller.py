"""One loop that polls every job that runs at a provider."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count

from mediamill.tasks.wire import Reply

LookUp = Callable[[], Awaitable[Reply | float]]
"""Looks a job up once: the reply of an ended job, or the seconds until the next look-up."""

_MAX_CONCURRENT_LOOKUPS = 16


@dataclass(order=True, slots=True)
class _WatchedJob:
    due_at: float
    number: int
    look_up: LookUp = field(compare=False)
    ended: asyncio.Future[Reply] = field(compare=False)


class JobPoller:
    """Looks jobs up when they are due, a few at once; thousands wait in a heap and cost nothing meanwhile.

    Args:
        max_concurrent: look-ups that may be on the wire at once.
    """

    def __init__(self, max_concurrent: int = _MAX_CONCURRENT_LOOKUPS) -> None:
        self._jobs: list[_WatchedJob] = []
        self._numbers = count()
        self._slots = asyncio.Semaphore(max_concurrent)
        self._changed = asyncio.Event()
        self._lookups: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    async def wait_until_ended(self, look_up: LookUp, first_wait: float) -> Reply:
        """Look up a job after ``first_wait`` seconds, then as ``look_up`` says, until it has ended; its last reply.

        Raises:
            Whatever ``look_up`` raises.
        """
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Reply] = loop.create_future()
        self._schedule(_WatchedJob(loop.time() + first_wait, next(self._numbers), look_up, ended))
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._run())
        return await ended

    def _schedule(self, job: _WatchedJob) -> None:
        heapq.heappush(self._jobs, job)
        self._changed.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._jobs or self._lookups:
            self._changed.clear()
            wait = self._jobs[0].due_at - loop.time() if self._jobs else None
            if wait is None or wait > 0:
                await self._wait_for_change(wait)
                continue
            job = heapq.heappop(self._jobs)
            if job.ended.done():  # its waiter was cancelled
                continue
            await self._slots.acquire()
            task = loop.create_task(self._look_up(job))
            self._lookups.add(task)
            task.add_done_callback(self._finish_lookup)

    async def _wait_for_change(self, seconds: float | None) -> None:
        """Wait until a job is due, another comes, or a look-up has ended."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    def _finish_lookup(self, task: asyncio.Task[None]) -> None:
        self._lookups.discard(task)
        self._slots.release()
        self._changed.set()

    async def _look_up(self, job: _WatchedJob) -> None:
        try:
            reply_or_wait = await job.look_up()
        except BaseException as error:  # raised where the job is waited for
            if not job.ended.done():
                job.ended.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        if job.ended.done():
            return
        if isinstance(reply_or_wait, Reply):
            job.ended.set_result(reply_or_wait)
        else:
            job.due_at = asyncio.get_running_loop().time() + reply_or_wait
            self._schedule(job)
