"""The engine: one for each process, with one thread and one event loop.

It owns the client, the limiters and the built-in provider's servers.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import secrets
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, TypeVar
from urllib.parse import urlsplit

from mediamill.tasks.calls.client import Client
from mediamill.tasks.calls.hang_detector import HangDetector
from mediamill.tasks.calls.pace_exchange import PaceExchange
from mediamill.tasks.calls.rate_limiter import Limiter
from mediamill.tasks.calls.server_deaths import ServerDeaths
from mediamill.tasks.calls.server_watch import LOOK_SECONDS, ServerWatch
from mediamill.tasks.errors import MediamillError
from mediamill.tasks.run_log import RUN_LOGGER, write_record
from mediamill.tasks.system.open_files import raise_open_file_limit

if TYPE_CHECKING:
    from mediamill.tasks.local.spawn import Server

P = ParamSpec("P")
T = TypeVar("T")

_SWITCH_INTERVAL_SECONDS = 0.001
_CODE_INTERPRETER = "python"
_MAX_LOCAL_STARTS = 3
"""Built-in servers that may be killed before they are ready, one after another."""
_EXIT_POLLS, _EXIT_POLL_SECONDS = 20, 0.025


class Engine:
    """Runs the coroutines of all runs in this process, whichever thread submits them."""

    _shared: ClassVar[Engine | None] = None
    _shared_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self) -> None:
        # The loop's thread competes with those of the journal and of the part writers. At the default of 5 ms a request
        # that is ready waits that long for each of them.
        sys.setswitchinterval(_SWITCH_INTERVAL_SECONDS)
        raise_open_file_limit()
        self.loop = asyncio.new_event_loop()
        self._pool = ThreadPoolExecutor(max(2, os.cpu_count() or 2), thread_name_prefix="media")
        self._limiters: dict[str, Limiter] = {}
        self._pace_exchanges: dict[str, PaceExchange] = {}
        self._hang_detectors: dict[str, HangDetector] = {}
        self._local: dict[str, Server] = {}
        self._local_exits: dict[str, str] = {}
        self._local_error: MediamillError | None = None  # of the latest start that failed
        self._local_lock = asyncio.Lock()
        self.server_deaths = ServerDeaths(self._find_local_exit, ServerWatch(self._look_at_local, self._find_local))
        """What the death of a built-in server means for its requests."""
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

    def get_or_create_pace_exchange(self, name: str, create: Callable[[], PaceExchange]) -> PaceExchange:
        """What shares the limit of the limiter of that name with runs in other processes."""
        if name not in self._pace_exchanges:
            self._pace_exchanges[name] = create()
        return self._pace_exchanges[name]

    def get_or_create_hang_detector(self, name: str, create: Callable[[], HangDetector]) -> HangDetector:
        """The detector of hanging requests of that name, shared by every run in this process."""
        if name not in self._hang_detectors:
            self._hang_detectors[name] = create()
        return self._hang_detectors[name]

    async def get_local_origin(self, engine: str) -> str:
        """The loopback address of the built-in server, started when the first call needs it, and again when it died.

        Raises:
            UsageError, StorageError, ProviderDown: when it does not start.
        """
        known_error = self._local_error
        async with self._local_lock:
            if self._local_error is not known_error and self._local_error is not None:
                raise self._local_error  # it did not start while this call waited for it
            server = self._local.get(engine)
            if server is not None and (how := server.describe_exit()) is not None:
                self._bury_local(engine, server, how)
                server = None
            if server is None:
                given_up = threading.Event()
                try:
                    server = self._local[engine] = await self.run_in_thread(self._start_local, engine, given_up)
                except MediamillError as error:
                    self._local_error = error
                    raise
                finally:
                    given_up.set()  # where the call was cancelled: this process's end waits for its threads
            return server.origin

    def _start_local(self, engine: str, given_up: threading.Event) -> Server:
        from mediamill.tasks.local.spawn import KilledAtStart, spawn

        # Only a run of the code interpreter, whose user allowed it, starts a server that may run code.
        options = {"allow_local_code": True} if engine == _CODE_INTERPRETER else {}
        number = 1
        while True:
            try:
                return spawn(engine, token=self.local_key, is_given_up=given_up.is_set, **options)
            except KilledAtStart as error:
                if number == _MAX_LOCAL_STARTS:
                    raise
                message = f"{error.message}; it is started again"
                write_record(RUN_LOGGER, logging.WARNING, "server_restarted", message, notice=number == 1 or None)
                number += 1

    def has_local(self, url: str) -> bool:
        """Whether the built-in server that ``url`` points to runs in this process."""
        server = self._find_local(_get_origin(url))
        return server is not None and server.describe_exit() is None

    def watch_local(self, url: str) -> AbstractContextManager[None]:
        """Have the built-in server that ``url`` points to watched while something waits for it; else do nothing."""
        return self.server_deaths.wait_for(_get_origin(url)) if self.has_local(url) else nullcontext()

    async def _look_at_local(self, origin: str) -> bool:
        """Whether the built-in server at ``origin`` answers anything."""
        return await self.client.has_life(origin, "/health", seconds=LOOK_SECONDS)

    def _find_local(self, origin: str) -> Server | None:
        """The built-in server at ``origin``; None where it was buried."""
        return next((server for server in self._local.values() if server.origin == origin), None)

    async def _find_local_exit(self, origin: str) -> str | None:
        """How the built-in server at ``origin`` ended; None while it runs."""
        server = self._find_local(origin)
        if server is None:
            return self._local_exits.get(origin)
        for _ in range(_EXIT_POLLS):  # its connections break a moment before it has ended
            if (how := server.describe_exit()) is not None:
                return how
            await asyncio.sleep(_EXIT_POLL_SECONDS)
        return None

    def _bury_local(self, engine: str, server: Server, how: str) -> None:
        """Give up what a dead server held, and say that it died: the first time for everybody, then for the log."""
        write_record(
            RUN_LOGGER,
            logging.WARNING,
            "server_restarted",
            f"the built-in server ended: {how}; it is started again, and what it worked on is done again",
            notice=not self._local_exits or None,
        )
        self._local_exits[server.origin] = how
        del self._local[engine]
        server.close()

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


def _get_origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
