"""The engine: one for each process, with one thread and one event loop.

It owns the client, the limiters and the built-in provider's servers.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import secrets
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, TypeVar

from mediamill.tasks.calls.client import Client
from mediamill.tasks.calls.hang_detector import HangDetector
from mediamill.tasks.calls.rate_limiter import Limiter

if TYPE_CHECKING:
    from mediamill.tasks.local.spawn import Server

P = ParamSpec("P")
T = TypeVar("T")

_SWITCH_INTERVAL_SECONDS = 0.001
_CODE_INTERPRETER = "python"


class Engine:
    """Runs the coroutines of all runs in this process, whichever thread submits them."""

    _shared: ClassVar[Engine | None] = None
    _shared_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self) -> None:
        # The loop's thread competes with those of the journal and of the part writers. At the default of 5 ms a request
        # that is ready waits that long for each of them.
        sys.setswitchinterval(_SWITCH_INTERVAL_SECONDS)
        self.loop = asyncio.new_event_loop()
        self._pool = ThreadPoolExecutor(max(2, os.cpu_count() or 2), thread_name_prefix="media")
        self._limiters: dict[str, Limiter] = {}
        self._hang_detectors: dict[str, HangDetector] = {}
        self._local: dict[str, Server] = {}
        self._local_lock = asyncio.Lock()
        self.local_key = secrets.token_urlsafe(32)
        """The API key of the built-in servers: other users of this machine do not have it."""
        self.client = Client()
        self._thread = threading.Thread(target=self._run_loop, name="engine", daemon=True)
        self._thread.start()

    @classmethod
    def shared(cls) -> Engine:
        """The engine of this process, started at first use."""
        with cls._shared_lock:
            if cls._shared is None:
                cls._shared = cls()
                atexit.register(cls.stop_shared)
            return cls._shared

    @classmethod
    def stop_shared(cls) -> None:
        """Close the engine of this process; the next use starts another."""
        with cls._shared_lock:
            engine, cls._shared = cls._shared, None
        if engine is not None:
            engine.close()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the engine's loop, from any thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    async def run_in_thread(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking work on one of as many threads as there are cores; decoding gains nothing from more."""
        return await self.loop.run_in_executor(self._pool, lambda: fn(*args, **kwargs))

    def get_or_create_limiter(self, name: str, create: Callable[[], Limiter]) -> Limiter:
        """The limiter of that name, shared by every run in this process."""
        if name not in self._limiters:
            self._limiters[name] = create()
        return self._limiters[name]

    def get_or_create_hang_detector(self, name: str, create: Callable[[], HangDetector]) -> HangDetector:
        """The detector of hanging requests of that name, shared by every run in this process."""
        if name not in self._hang_detectors:
            self._hang_detectors[name] = create()
        return self._hang_detectors[name]

    async def get_local_origin(self, engine: str) -> str:
        """The loopback address of the built-in server, started when the first call needs it."""
        async with self._local_lock:
            if engine not in self._local:
                from mediamill.tasks.local.spawn import spawn

                # Only a run of the code interpreter, whose user allowed it, starts a server that may run code.
                options = {"allow_local_code": True} if engine == _CODE_INTERPRETER else {}
                self._local[engine] = await self.run_in_thread(partial(spawn, engine, token=self.local_key, **options))
            return self._local[engine].origin

    def close(self) -> None:
        """Close the client and the built-in server, then end the loop."""
        asyncio.run_coroutine_threadsafe(self.client.aclose(), self.loop).result(timeout=10)
        for server in self._local.values():
            server.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=10)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.close()
