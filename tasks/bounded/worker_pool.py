"""Runs functions in worker processes, which are ended when they exceed their limits; the run goes on.

A worker takes one request at a time and is kept for the next. One that was ended is replaced at the next request.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mediamill
from mediamill.tasks.bounded.limits import (
    CPU_MESSAGE,
    LIMIT_KIND,
    MAX_WALL_SECONDS,
    MEMORY_MESSAGE,
    WALL_MESSAGE,
    WorkFailed,
)
from mediamill.tasks.bounded.worker import HEADER, MEMORY_EXIT_CODE

_ROOT = Path(mediamill.__file__).parent.parent
_MAX_WORKERS = min(4, max(2, os.cpu_count() or 2))
_MAX_REPLY_BYTES = 256 * 2**20
_BLOCK_BYTES = 2**20
_STOP_CHECK_SECONDS = 0.25
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""What a worker gets of the environment: nothing that holds a key."""

_idle: list[_Worker] = []
_all: set[_Worker] = set()
_lock = threading.Lock()
_slots: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = weakref.WeakKeyDictionary()


def run_bounded(function: str, *arguments: Any) -> Any:
    """Call a function of :data:`mediamill.tasks.bounded.worker.FUNCTIONS` in a worker, and wait for it.

    Raises:
        WorkFailed: when it fails or exceeds a limit.
    """
    deadline = time.monotonic() + MAX_WALL_SECONDS
    worker = _take_worker()
    try:
        worker.socket.settimeout(MAX_WALL_SECONDS)
        worker.socket.sendall(_to_request(function, arguments))
        reader = _ReplyReader()
        while not reader.is_complete:
            worker.socket.settimeout(max(0.001, deadline - time.monotonic()))
            reader.add(worker.socket.recv(_BLOCK_BYTES))
    except OSError as error:
        raise worker.end(error) from None
    except BaseException:
        worker.kill()
        raise
    _give_back(worker)
    return _read_reply(reader.message)


async def run_bounded_async(function: str, *arguments: Any, raise_if_stopped: Callable[[], None] = lambda: None) -> Any:
    """:func:`run_bounded` without blocking the event loop. Once the run is to end, the worker is ended.

    Raises:
        WorkFailed: when it fails or exceeds a limit.
        RunStopped: when ``raise_if_stopped`` raises it.
    """
    loop = asyncio.get_running_loop()
    async with _slots.setdefault(loop, asyncio.Semaphore(_MAX_WORKERS)):
        raise_if_stopped()
        worker = _take_worker()
        try:
            exchange = asyncio.ensure_future(_exchange(worker, _to_request(function, arguments)))
            try:
                deadline = time.monotonic() + MAX_WALL_SECONDS
                while not (await asyncio.wait({exchange}, timeout=_STOP_CHECK_SECONDS))[0]:
                    raise_if_stopped()
                    if time.monotonic() > deadline:
                        raise TimeoutError
            finally:
                exchange.cancel()
            message = await exchange
        except OSError as error:
            raise worker.end(error) from None
        except BaseException:
            worker.kill()
            raise
        _give_back(worker)
    return _read_reply(message)


async def _exchange(worker: _Worker, request: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    worker.socket.setblocking(False)
    await loop.sock_sendall(worker.socket, request)
    reader = _ReplyReader()
    while not reader.is_complete:
        reader.add(await loop.sock_recv(worker.socket, _BLOCK_BYTES))
    return reader.message


class _ReplyReader:
    """Puts a reply together from the blocks in which it comes."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._size: int | None = None

    @property
    def is_complete(self) -> bool:
        return self._size is not None and len(self._data) >= self._size

    @property
    def message(self) -> bytes:
        return bytes(self._data)

    def add(self, block: bytes) -> None:
        if not block:
            raise ConnectionResetError
        self._data += block
        if self._size is None and len(self._data) >= HEADER.size:
            (self._size,) = HEADER.unpack(self._data[: HEADER.size])
            del self._data[: HEADER.size]
            if self._size > _MAX_REPLY_BYTES:
                raise ConnectionResetError


class _Worker:
    """A worker process and the connection to it."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair()
        inherited = os.environ.get("PYTHONPATH")
        environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        environment["PYTHONPATH"] = f"{inherited}{os.pathsep}{_ROOT}" if inherited else str(_ROOT)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "mediamill.tasks.bounded.worker"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        _all.add(self)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        _all.discard(self)
        self.socket.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()

    def end(self, error: OSError) -> WorkFailed:
        """End the worker after an error of its connection; the failure that says which limit it exceeded."""
        if not isinstance(error, TimeoutError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
        code = self._process.poll()
        self.kill()
        return WorkFailed(LIMIT_KIND, _describe_end(code))


def _describe_end(code: int | None) -> str:
    """Why a worker ended: it is alive and too slow, or was ended by the signal of its timer, or for its memory."""
    if code is None:
        return WALL_MESSAGE
    if code == -signal.SIGPROF:
        return CPU_MESSAGE
    if code in (MEMORY_EXIT_CODE, -signal.SIGKILL, -signal.SIGSEGV, -signal.SIGABRT, 1):
        return MEMORY_MESSAGE
    return f"its worker process ended with {code}"


def _take_worker() -> _Worker:
    while True:
        with _lock:
            worker = _idle.pop() if _idle else None
        if worker is None:
            return _Worker()
        if worker.is_alive():
            return worker
        worker.kill()


def _give_back(worker: _Worker) -> None:
    with _lock:
        _idle.append(worker)


def _to_request(function: str, arguments: tuple[Any, ...]) -> bytes:
    request = pickle.dumps((function, arguments), protocol=pickle.HIGHEST_PROTOCOL)
    return HEADER.pack(len(request)) + request


def _read_reply(message: bytes) -> Any:
    reply = json.loads(message)
    if "failure" in reply:
        raise WorkFailed(*map(str, reply["failure"]))
    return reply["value"]


def _kill_workers() -> None:
    """End all workers, also those that are busy: a command that a signal ends does not wait for what they do."""
    _idle.clear()
    while _all:
        _all.pop().kill()


def _forget_workers() -> None:
    """After a fork the workers are the parent's: two processes on one connection would get each other's replies."""
    global _lock  # noqa: PLW0603 - it may have been held when the process forked
    _lock = threading.Lock()
    for worker in _idle:
        worker.socket.close()
    _idle.clear()
    _all.clear()


atexit.register(_kill_workers)
os.register_at_fork(after_in_child=_forget_workers)
