"""Worker processes, one executor each, so that a crash fails only the request that caused it."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class WorkerDied(Exception):
    """The worker process ended before it returned a result."""


class WorkerPool:
    """Up to ``workers`` processes, started when first needed; they end with :meth:`close` or with this process."""

    def __init__(self, workers: int) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._pipe_reader, self._pipe_writer = self._context.Pipe(duplex=False)
        self._executors = [self._start_executor() for _ in range(max(1, workers))]
        # The most recently used worker comes first, so that under little load only one loads its model.
        self._idle_executors: asyncio.LifoQueue[ProcessPoolExecutor] = asyncio.LifoQueue()
        for executor in self._executors:
            self._idle_executors.put_nowait(executor)

    async def run(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a module-level function in a worker.

        Raises:
            WorkerDied: when the process ended meanwhile; another takes its place.
        """
        assert not kwargs
        executor = await self._idle_executors.get()
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, fn, *args)
        except BrokenProcessPool:
            executor.shutdown(wait=False)
            self._executors.remove(executor)
            executor = self._start_executor()
            self._executors.append(executor)
            raise WorkerDied("the process that was working on it ended unexpectedly") from None
        finally:
            self._idle_executors.put_nowait(executor)

    def close(self) -> None:
        """End the workers at once."""
        self._pipe_writer.close()
        for executor in self._executors:
            executor.shutdown(wait=False, cancel_futures=True)
        self._pipe_reader.close()

    def _start_executor(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, self._context, initializer=_end_with_parent, initargs=(self._pipe_reader,))


def _end_with_parent(pipe: Connection) -> None:
    """End this worker as soon as the other end of ``leash`` is closed, be it by SIGKILL; leave Ctrl-C to the server."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait() -> None:
        pipe.poll(None)
        os._exit(0)

    threading.Thread(target=wait, daemon=True, name="leash").start()
