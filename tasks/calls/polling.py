"""One loop that looks after every job that runs at a provider."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count

from mediamill.tasks.wire import Reply

Look = Callable[[], Awaitable[Reply | float]]
"""One look at a job: its last reply once it has ended, or the seconds until the next look."""

_AT_ONCE = 16


@dataclass(order=True, slots=True)
class _Job:
    due: float
    number: int
    look: Look = field(compare=False)
    ended: asyncio.Future[Reply] = field(compare=False)


class Poller:
    """Looks at jobs when they are due, at a few at once; thousands wait in a heap and cost nothing meanwhile.

    Args:
        at_once: looks that may be on the wire at the same time.
    """

    def __init__(self, at_once: int = _AT_ONCE) -> None:
        self._jobs: list[_Job] = []
        self._numbers = count()
        self._slots = asyncio.Semaphore(at_once)
        self._changed = asyncio.Event()
        self._looking: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None

    async def watch(self, look: Look, first: float) -> Reply:
        """Look after ``first`` seconds, and again as ``look`` says, until the job has ended.

        Raises:
            Whatever ``look`` raises.
        """
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Reply] = loop.create_future()
        self._add(_Job(loop.time() + first, next(self._numbers), look, ended))
        if self._loop is None or self._loop.done():
            self._loop = loop.create_task(self._run())
        return await ended

    def _add(self, job: _Job) -> None:
        heapq.heappush(self._jobs, job)
        self._changed.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._jobs or self._looking:
            self._changed.clear()
            wait = self._jobs[0].due - loop.time() if self._jobs else None
            if wait is None or wait > 0:
                await self._pause(wait)
                continue
            job = heapq.heappop(self._jobs)
            if job.ended.done():  # nobody waits for it any more
                continue
            await self._slots.acquire()
            task = loop.create_task(self._look(job))
            self._looking.add(task)
            task.add_done_callback(self._looked)

    async def _pause(self, seconds: float | None) -> None:
        """Until a job is due, another comes, or a look has ended."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._looking.discard(task)
        self._slots.release()
        self._changed.set()

    async def _look(self, job: _Job) -> None:
        try:
            told = await job.look()
        except BaseException as error:  # the one who waits for the job gets it
            if not job.ended.done():
                job.ended.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        if job.ended.done():
            return
        if isinstance(told, Reply):
            job.ended.set_result(told)
        else:
            job.due = asyncio.get_running_loop().time() + told
            self._add(job)
