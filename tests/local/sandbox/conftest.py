"""Sessions of the code interpreter in this process, and cells that run in them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mediamill.tasks.local.sandbox.sandbox_sessions import SandboxSession, SandboxSessions

RunCode = Callable[[str], Awaitable[list[dict[str, Any]]]]


@pytest.fixture
async def open_sessions(monkeypatch: pytest.MonkeyPatch, sandbox_that_holds: Path) -> AsyncIterator[SandboxSessions]:
    monkeypatch.setenv("SECRET_TOKEN", "do-not-tell")
    sandbox = SandboxSessions(allowed=True, session_seconds=100, cell_seconds=30)
    yield sandbox
    for one in sandbox.list_sessions():
        await sandbox.end(one)


@pytest.fixture
async def session(open_sessions: SandboxSessions) -> SandboxSession:
    return await open_sessions.find_or_start(None, simulated=False)


@pytest.fixture
def run_code(open_sessions: SandboxSessions, session: SandboxSession) -> RunCode:
    """Run a cell in the test's session."""

    async def run(code: str) -> list[dict[str, Any]]:
        return await open_sessions.run(session, code)

    return run
