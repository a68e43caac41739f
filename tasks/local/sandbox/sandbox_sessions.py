"""Sessions of the code interpreter: each an interpreter in a sandbox.

A session ends when it is too old, when a cell takes too long, when it holds too much memory, or with the server.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from mediamill.tasks.local.sandbox import sandbox_process
from mediamill.tasks.local.sandbox.sandbox_process import SandboxProcess, SandboxRefused
from mediamill.tasks.local.sandbox.trial import find_working_bubblewrap
from mediamill.tasks.local.server.api_error import ApiError

_MAX_SESSIONS = 32
_WATCH_SECONDS = 0.05
_TEXT_TYPES, _RICH_TYPES = frozenset({"stdout", "stderr", "error"}), frozenset({"display_data", "execute_result"})


@dataclass(slots=True)
class SandboxSession:
    """A running interpreter. Times are seconds since the epoch.

    Attributes:
        sandbox: its process; None where no code runs.
        ended_because: why its process was ended, when it was.
    """

    id: str
    sandbox: SandboxProcess | None
    started_at: float
    expires_at: float
    n_executed: int = 0
    last_used_at: float = field(default_factory=time.time)
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    ended_because: str | None = None


class SandboxSessions:
    """The interpreters of one server.

    Args:
        allowed: whether foreign code may run on this machine.
        session_seconds: how long a session lives.
        cell_seconds: how long a cell may run.
    """

    def __init__(self, *, allowed: bool, session_seconds: float, cell_seconds: float) -> None:
        self.allowed = allowed
        self._session_seconds = session_seconds
        self._cell_seconds = cell_seconds
        self._sessions: dict[str, SandboxSession] = {}
        self._bubblewrap: Path | None = None
        self._trial = asyncio.Lock()
        self._watch: asyncio.Task[None] | None = None
        self._measuring = ThreadPoolExecutor(1, "sandbox-memory")

    async def find_or_start(self, session_id: str | None, *, simulated: bool) -> SandboxSession:
        """Find a session by its id, or start a new one when no id is given.

        Args:
            session_id: the id of a session that was started before; None for a new one.
            simulated: no code will run, so no process is started.

        Raises:
            ApiError: when the session has expired, or code may not run on this machine.
        """
        await self._end_expired()
        if session_id is not None:
            known = self._sessions.get(session_id)
            if known is None:
                raise ApiError("bad_value", f"Session {session_id[:60]} does not exist or has expired")
            return known
        while len(self._sessions) >= _MAX_SESSIONS:
            await self.end(min(self._sessions.values(), key=lambda one: (one.busy.locked(), one.last_used_at)))
        now = time.time()
        sandbox = None if simulated else await self._start_sandbox()
        session = SandboxSession(f"ses_{uuid.uuid4().hex}", sandbox, now, now + self._session_seconds)
        self._sessions[session.id] = session
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._watch_sessions())
        return session

    async def run(self, session: SandboxSession, code: str) -> list[dict[str, Any]]:
        """Run a cell and return its outputs; a cell that runs too long ends its session."""
        session.n_executed += 1
        try:
            reply = await self._ask(session, {"code": code})
            return _check_outputs(reply["outputs"])
        except TimeoutError:
            error = f"TimeoutError: the cell ran longer than {self._cell_seconds:g} s; its session was ended"
        except (ValueError, OSError, KeyError, TypeError):
            error = session.ended_because or (
                "MemoryError: the interpreter ended: out of memory or processor time, or by itself"
            )
        await self.end(session)
        return [{"type": "error", "data": error}]

    async def write_files(self, session: SandboxSession, files: Sequence[Any]) -> None:
        """Write files into the session's folder.

        Raises:
            ApiError: when an entry is not a file, its path is outside the session's folder, or it cannot be written.
        """
        checked = [_check_file(file) for file in files]
        if not checked or session.sandbox is None:
            return
        try:
            refused = (await self._ask(session, {"files": checked}))["refused"]
        except (ValueError, OSError, KeyError, TypeError):
            await self.end(session)
            refused = "the session ended while its files were written"
        if refused:
            raise ApiError("bad_value", str(refused)[:400], param="files")

    async def _ask(self, session: SandboxSession, request: dict[str, Any]) -> Any:
        """Send a request to a session's process, one at a time."""
        async with session.busy:
            session.last_used_at = time.time()
            assert session.sandbox is not None
            return await asyncio.wait_for(session.sandbox.ask(request), self._cell_seconds)

    async def try_sandbox(self) -> Path:
        """Find the bubblewrap that holds foreign code here; it is tried once.

        Raises:
            SandboxRefused: when there is none.
        """
        async with self._trial:
            if self._bubblewrap is None:
                self._bubblewrap = await find_working_bubblewrap()
        return self._bubblewrap

    def list_sessions(self) -> list[SandboxSession]:
        """The running sessions, the oldest first."""
        return sorted(self._sessions.values(), key=lambda one: one.started_at)

    async def end(self, session: SandboxSession) -> None:
        """End a session's processes and forget its files."""
        self._sessions.pop(session.id, None)
        if session.sandbox is not None:
            await session.sandbox.end()

    def close(self) -> None:
        """End all sessions."""
        if self._watch is not None:
            self._watch.cancel()
        self._measuring.shutdown(wait=False)
        for session in self._sessions.values():
            if session.sandbox is not None:
                session.sandbox.kill()
        self._sessions.clear()

    async def _end_expired(self) -> None:
        for session in [one for one in self._sessions.values() if one.expires_at <= time.time()]:
            session.ended_because = (
                f"TimeoutError: the session was older than {self._session_seconds:g} s; it was ended"
            )
            await self.end(session)

    async def _watch_sessions(self) -> None:
        """End sessions that are too old or hold too much memory, as long as there are any."""
        while self._sessions:
            await asyncio.sleep(_WATCH_SECONDS)
            await self._end_expired()
            for session in list(self._sessions.values()):
                if session.sandbox is not None and (excess := await self._find_excess(session.sandbox)):
                    session.ended_because = f"MemoryError: {excess}; it was ended"
                    await self.end(session)

    async def _find_excess(self, sandbox: SandboxProcess) -> str | None:
        """What a sandbox holds too much of, or None. A thread that does nothing else finds out, so it never waits."""
        try:
            held = await asyncio.get_running_loop().run_in_executor(self._measuring, sandbox.measure_memory)
        except OSError as error:
            return f"the session's memory cannot be measured ({error.strerror})"
        limit = sandbox_process.MAX_MEMORY_BYTES
        return f"the session held more than {limit >> 20} MiB" if held > limit else None

    async def _start_sandbox(self) -> SandboxProcess:
        if not self.allowed:
            raise ApiError("unsupported", "code does not run on this machine without the option --allow-local-code")
        try:
            return await SandboxProcess.start(await self.try_sandbox())
        except SandboxRefused as error:
            raise ApiError("unsupported", str(error)) from None


def _check_file(file: Any) -> tuple[str, str]:
    """The name of a file below the session's folder, and its content in base64.

    Raises:
        ApiError: when it is not a file, or its path is outside the session's folder.
    """
    name, content = (file.get("name"), file.get("content")) if isinstance(file, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(content, str):
        raise ApiError("bad_value", "a file needs a name, an encoding and a content, all text", param="files")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise ApiError("bad_value", f"the file {name[:60]!r} would lie outside the session", param="files")
    if file.get("encoding") != "base64":
        return name, base64.b64encode(content.encode()).decode()
    with contextlib.suppress(binascii.Error, ValueError):
        base64.b64decode(content)
        return name, content
    raise ApiError("bad_value", f"the file {name[:60]!r} is not base64", param="files")


def _check_outputs(outputs: Any) -> list[dict[str, Any]]:
    """The outputs, as far as foreign code left the interpreter that wrote them alone.

    Raises:
        ValueError: when they are not outputs: foreign code wrote a reply itself.
    """
    if not isinstance(outputs, list) or not all(isinstance(one, dict) and _is_output(one) for one in outputs):
        raise ValueError("not the outputs of a cell")
    return outputs


def _is_output(output: dict[str, Any]) -> bool:
    kind, data = output.get("type"), output.get("data")
    if not isinstance(kind, str):
        return False
    if kind in _TEXT_TYPES:
        return isinstance(data, str)
    return kind in _RICH_TYPES and isinstance(data, dict) and all(isinstance(value, str) for value in data.values())
