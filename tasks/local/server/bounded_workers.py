"""Worker processes for work whose time and memory a request decides: schemas, regular expressions, long prompts.

A regular expression holds the interpreter's lock for as long as it runs: no thread could end it, and the whole server
would wait. Here the system ends the process: after its processor time, or when it wants too much memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import queue
import resource
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, TypeVar

from mediamill.tasks.local.server.api_error import ApiError

P = ParamSpec("P")
T = TypeVar("T")

MAX_CPU_SECONDS = 3.0
"""Processor time that one piece of work may take."""
_MAX_MEMORY_BYTES = 2 * 2**30
_START_SECONDS = 60.0
_N_WORKERS = 2


class _Worker:
    """One process and the pipe to it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, far_end = context.Pipe()
        self.process = context.Process(target=_serve_pipe, args=(far_end,), daemon=True)
        self.process.start()
        far_end.close()
        if not self.pipe.poll(_START_SECONDS) or self.pipe.recv() != "ready":
            self.end()
            raise EOFError

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


class BoundedWorkers:
    """At most two processes, started when first needed. They end with :meth:`close` or with this process."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_N_WORKERS, thread_name_prefix="bounded")
        # The last one used comes first, so that little work starts one process only.
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(_N_WORKERS):
            self._idle.put(None)
        self._started: set[_Worker] = set()
        self._closed = False

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a module-level function in a worker, and return what it returns.

        Raises:
            ApiError: what the function raises; ``bad_value`` when it takes too long or too much memory.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, work, args, kwargs)

    def close(self) -> None:
        """End the processes at once."""
        self._closed = True
        for worker in list(self._started):
            worker.process.kill()  # whoever waits for it closes its pipe
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, work: Callable[..., T], args: Any, kwargs: Any) -> T:
        worker = self._idle.get()
        try:
            worker = worker or self._start_worker()
            worker.pipe.send((work, args, kwargs))
            refused, result = worker.pipe.recv()
        except (EOFError, OSError):
            if worker is not None:
                self._started.discard(worker)
                worker.end()
                worker = None
            raise ApiError(
                "bad_value", f"the request needs more than {MAX_CPU_SECONDS:g} s of processor time, or too much memory"
            ) from None
        finally:
            self._idle.put(worker)
        if refused:
            kind, message, param = result
            raise ApiError(kind, message, param=param)
        answer: T = result
        return answer

    def _start_worker(self) -> _Worker:
        worker = _Worker()
        self._started.add(worker)
        if self._closed:
            worker.process.kill()
        return worker


def _serve_pipe(pipe: Connection) -> None:
    """Do one piece of work after the other, until the pipe closes; a timer of the system ends what takes too long."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    with contextlib.suppress(ValueError, OSError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pipe.send("ready")
    while True:
        try:
            work, args, kwargs = pipe.recv()
        except (EOFError, OSError):
            return
        signal.setitimer(signal.ITIMER_PROF, MAX_CPU_SECONDS)
        reply = _do_work(work, args, kwargs)
        signal.setitimer(signal.ITIMER_PROF, 0)
        pipe.send(reply)


def _do_work(work: Callable[..., Any], args: Any, kwargs: Any) -> tuple[bool, Any]:
    try:
        return False, work(*args, **kwargs)
    except ApiError as error:
        return True, (error.kind, error.message, error.param)
    except MemoryError:
        return True, ("bad_value", "the request needs too much memory", None)
    except RecursionError:
        return True, ("bad_value", "the request is nested too deeply", None)
    except Exception as error:  # noqa: BLE001 - a bug is the answer to this request, and the next one is served
        return True, ("failed", f"{type(error).__name__}: {error}"[:200], None)
