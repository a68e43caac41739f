"""Sessions of the code interpreter: each a locked-down process with a folder.

A session ends when it is too old, when a cell takes too long, or with the server.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import mediamill
from mediamill.tasks.local.server.api_error import ApiError

_ROOT = Path(mediamill.__file__).parent.parent
_LIMITS = {"memory": 4 * 2**30, "cpu_seconds": 600, "file_bytes": 256 * 2**20, "processes": 64, "output": 2**20}
_MAX_LINE_BYTES = 64 * 2**20
_READY_SECONDS = 30.0
_MAX_SESSIONS = 32


@dataclass(slots=True)
class SandboxSession:
    """A running interpreter. Times are seconds since the epoch."""

    id: str
    folder: Path
    process: asyncio.subprocess.Process | None
    started_at: float
    expires_at: float
    n_executed: int = 0
    last_used_at: float = field(default_factory=time.time)
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)


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
        folder = Path(tempfile.mkdtemp(prefix="mediamill-code-"))
        session = SandboxSession(f"ses_{uuid.uuid4().hex}", folder, None, now, now + self._session_seconds)
        if not simulated:
            session.process = await self._start_process(folder)
        self._sessions[session.id] = session
        return session

    async def run(self, session: SandboxSession, code: str) -> list[dict[str, Any]]:
        """Run a cell and return its outputs; a cell that runs too long ends its session."""
        async with session.busy:
            session.n_executed += 1
            session.last_used_at = time.time()
            process = session.process
            assert process is not None
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(json.dumps({"code": code}).encode() + b"\n")
                await process.stdin.drain()
                line = await asyncio.wait_for(process.stdout.readline(), self._cell_seconds)
                reply: list[dict[str, Any]] = json.loads(line)["outputs"]
            except TimeoutError:
                error = f"TimeoutError: the cell ran longer than {self._cell_seconds:g} s; its session was ended"
            except (ValueError, OSError, KeyError, TypeError):
                error = "MemoryError: the interpreter ended: out of memory or processor time, or by itself"
            else:
                return reply
            await self.end(session)
            return [{"type": "error", "data": error}]

    def write_files(self, session: SandboxSession, files: Sequence[Any]) -> None:
        """Write files into the session's folder.

        Raises:
            ApiError: when an entry is not a file, or its path is outside the session's folder.
        """
        for file in files:
            name, content = (file.get("name"), file.get("content")) if isinstance(file, dict) else (None, None)
            if not isinstance(name, str) or not isinstance(content, str):
                raise ApiError("bad_value", "a file needs a name, an encoding and a content, all text", param="files")
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or not path.parts:
                raise ApiError("bad_value", f"the file {name[:60]!r} would lie outside the session", param="files")
            try:
                data = base64.b64decode(content) if file.get("encoding") == "base64" else content.encode()
            except (binascii.Error, ValueError):
                raise ApiError("bad_value", f"the file {name[:60]!r} is not base64", param="files") from None
            try:
                _write_session_file(session.folder, path, data)
            except OSError as error:
                raise ApiError("bad_value", f"the file {name[:60]!r}: {error.strerror}", param="files") from None

    def list_sessions(self) -> list[SandboxSession]:
        """The running sessions, the oldest first."""
        return sorted(self._sessions.values(), key=lambda one: one.started_at)

    async def end(self, session: SandboxSession) -> None:
        """Kill a session's processes and remove its folder."""
        self._sessions.pop(session.id, None)
        _kill(session)
        if session.process is not None:
            await session.process.wait()
        await asyncio.to_thread(shutil.rmtree, session.folder, ignore_errors=True)

    def close(self) -> None:
        """End all sessions."""
        for session in list(self._sessions.values()):
            _kill(session)
            shutil.rmtree(session.folder, ignore_errors=True)
        self._sessions.clear()

    async def _end_expired(self) -> None:
        for session in [one for one in self._sessions.values() if one.expires_at <= time.time()]:
            await self.end(session)

    async def _start_process(self, folder: Path) -> asyncio.subprocess.Process:
        if not self.allowed:
            raise ApiError("unsupported", "code does not run on this machine without the option --allow-local-code")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "mediamill.tasks.local.sandbox.child", json.dumps(_LIMITS)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=folder,
            env=_make_environment(folder),
            start_new_session=True,
            limit=_MAX_LINE_BYTES,
        )
        assert process.stdout is not None
        try:
            reply = json.loads(await asyncio.wait_for(process.stdout.readline(), _READY_SECONDS))
        except (TimeoutError, ValueError):
            reply = {"refused": "the interpreter does not start"}
        if "refused" in reply:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            shutil.rmtree(folder, ignore_errors=True)
            raise ApiError("unsupported", f"code cannot run on this machine: {reply['refused']}")
        return process


def _write_session_file(folder: Path, path: PurePosixPath, data: bytes) -> None:
    """Write a file below the folder without following links, which the foreign code may have made there."""
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in path.parts[:-1]:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, dir_fd=folder_fd)
            subfolder_fd = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder_fd)
            os.close(folder_fd)
            folder_fd = subfolder_fd
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(path.name, flags, 0o600, dir_fd=folder_fd), "wb") as file:
            file.write(data)
    finally:
        os.close(folder_fd)


def _make_environment(folder: Path) -> dict[str, str]:
    """Nothing of the user's: no keys, no proxies."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "PYTHONPATH": str(_ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": str(folder),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "LANG": "C.UTF-8",
    }


def _kill(session: SandboxSession) -> None:
    if session.process is not None and session.process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(session.process.pid, signal.SIGKILL)
