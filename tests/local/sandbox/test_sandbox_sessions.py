"""Foreign code cannot reach this machine, and gets limited time, memory and disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mediamill.tasks.local.sandbox import sandbox_sessions as sessions
from mediamill.tasks.local.sandbox.sandbox_sessions import SandboxSession, SandboxSessions
from mediamill.tasks.local.server.api_error import ApiError
from tests.local.sandbox.landlock import needs_landlock

pytestmark = needs_landlock


@pytest.fixture
async def open_sessions(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SandboxSessions]:
    monkeypatch.setenv("SECRET_TOKEN", "do-not-tell")
    sandbox = SandboxSessions(allowed=True, session_seconds=100, cell_seconds=5)
    yield sandbox
    for one in sandbox.list_sessions():
        await sandbox.end(one)


async def run_code(sandbox: SandboxSessions, code: str, session: SandboxSession | None = None) -> list[dict[str, Any]]:
    return await sandbox.run(session or await sandbox.find_or_start(None, simulated=False), code)


CHILD = """import subprocess, sys
subprocess.run([sys.executable, '-c', 'import socket; socket.socket()'], capture_output=True, check=True)"""
FORBIDDEN = [
    ("import socket; socket.socket()", "Operation not permitted"),
    ("import socket; socket.create_connection(('127.0.0.1', 9))", "Operation not permitted"),
    ("import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')", "Operation not permitted"),
    (CHILD, "CalledProcessError"),
    ("open('{file}').read()", "Permission denied"),
    ("open('{file}', 'w')", "Permission denied"),
    ("import os; os.listdir('{folder}')", "Permission denied"),
    ("import os; os.truncate('{file}', 0)", "Operation not permitted"),
    ("import os; os.remove('{file}')", "Permission denied"),
    ("import os; os.rename('{file}', 'mine')", ""),
    ("import os; os.link('{file}', 'mine')", ""),
    ("import os; os.symlink('{file}', 'mine'); open('mine').read()", "Permission denied"),
    ("open('/etc/passwd').read()", "Permission denied"),
    ("open('/proc/1/environ').read()", "Permission denied"),
    ("import os; open(f'/proc/{{os.getppid()}}/environ').read()", "Permission denied"),
    ("import os; open(f'/proc/{{os.getppid()}}/mem', 'rb')", "Permission denied"),
    ("import os; os.kill(os.getppid(), 0)", "Operation not permitted"),
    ("import os; os.setsid()", "Operation not permitted"),
    ("import os; os.setpgid(0, 0)", "Operation not permitted"),
    ("import os; os.setuid(12345)", "Operation not permitted"),
    ("import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))", "not allowed to raise maximum limit"),
    ("bytearray(8 << 30)", "MemoryError"),
    ("open('large', 'wb').truncate(1 << 40)", "File too large"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "message"), FORBIDDEN)
async def test_forbidden_operations_fail(
    code: str, message: str, open_sessions: SandboxSessions, tmp_path: Path
) -> None:
    file = tmp_path / "own.txt"
    file.write_text("private")
    outputs = await run_code(open_sessions, code.format(file=file, folder=tmp_path))
    assert outputs[-1]["type"] == "error", outputs
    assert message in outputs[-1]["data"]
    assert "private" not in str(outputs)
    assert file.read_text() == "private"


async def test_attributes_of_files_elsewhere_do_not_change(open_sessions: SandboxSessions, tmp_path: Path) -> None:
    file = tmp_path / "own.txt"
    file.write_text("private")
    file.chmod(0o640)
    before = file.stat()
    code = f"import os\nos.chmod('{file}', 0o777)\nos.utime('{file}', (1, 1))\nos.chown('{file}', 1, 1)"
    await run_code(open_sessions, code)
    after = file.stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_uid) == (before.st_mode, before.st_mtime_ns, before.st_uid)
    assert await run_code(open_sessions, "import shutil; open('a', 'w').write('x'); shutil.copy('a', 'b')") == [
        {"type": "execute_result", "data": {"text/plain": "'b'"}}
    ]


async def test_the_servers_environment_is_not_visible(open_sessions: SandboxSessions) -> None:
    session = await open_sessions.find_or_start(None, simulated=False)
    assert "do-not-tell" not in str(await run_code(open_sessions, "import os; dict(os.environ)", session))
    assert "do-not-tell" not in str(await run_code(open_sessions, "open('/proc/self/environ').read()", session))
    outputs = await run_code(
        open_sessions, "import os; [os.readlink(f'/proc/self/fd/{n}') for n in (0, 1, 2)]", session
    )
    assert outputs[0]["type"] == "execute_result"


async def test_outputs_have_types_and_are_bounded(open_sessions: SandboxSessions) -> None:
    session = await open_sessions.find_or_start(None, simulated=False)
    outputs = await run_code(
        open_sessions, "import sys\nprint('a')\nprint('b', file=sys.stderr)\ndisplay(1)\n2", session
    )
    assert [one["type"] for one in outputs] == ["stdout", "stderr", "display_data", "execute_result"]
    (printed,) = await run_code(open_sessions, "print('y' * 3_000_000)", session)
    assert len(printed["data"]) < 1_100_000
    assert printed["data"].endswith("cut off")
    (result,) = await run_code(open_sessions, "'x' * 3_000_000", session)
    assert len(result["data"]["text/plain"]) == 100_000
    (failed,) = await run_code(open_sessions, "def f(:", session)
    assert "SyntaxError" in failed["data"]
    assert await run_code(open_sessions, "raise SystemExit", session) == []
    code = "class A:\n    def __repr__(self): raise ValueError('no')\nA()"
    assert "without a repr" in str(await run_code(open_sessions, code, session))


async def test_a_forked_child_does_not_write_a_reply(open_sessions: SandboxSessions) -> None:
    session = await open_sessions.find_or_start(None, simulated=False)
    await run_code(open_sessions, "import os\nif os.fork() == 0: raise ValueError", session)
    for n in range(3):
        assert (await run_code(open_sessions, str(n), session))[0]["data"] == {"text/plain": str(n)}


async def test_a_sessions_processes_end_with_it(open_sessions: SandboxSessions) -> None:
    session = await open_sessions.find_or_start(None, simulated=False)
    code = "import subprocess\nprint(subprocess.Popen(['sleep', '600'], stdout=subprocess.DEVNULL).pid)"
    (printed,) = await run_code(open_sessions, code, session)
    stat_file = Path(f"/proc/{int(printed['data'])}/stat")
    assert stat_file.exists()
    await open_sessions.end(session)
    assert not session.folder.exists()
    for _ in range(200):
        if not stat_file.exists() or stat_file.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it still runs")


async def test_a_cell_that_takes_too_long_or_ends_its_process_ends_the_session() -> None:
    sandbox = SandboxSessions(allowed=True, session_seconds=100, cell_seconds=0.5)
    for code, message in (
        ("while True: pass", "longer than 0.5 s"),
        ("import os; os._exit(3)", "the interpreter ended"),
    ):
        session = await sandbox.find_or_start(None, simulated=False)
        (failed,) = await sandbox.run(session, code)
        assert message in failed["data"]
        with pytest.raises(ApiError, match="does not exist or has expired"):
            await sandbox.find_or_start(session.id, simulated=False)
    assert not sandbox.list_sessions()


async def test_sessions_expire_and_idle_ones_are_ended_for_new_ones(
    open_sessions: SandboxSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_MAX_SESSIONS", 2)
    first, second = [await open_sessions.find_or_start(None, simulated=True) for _ in range(2)]
    async with first.busy:  # older, but busy
        await open_sessions.find_or_start(None, simulated=True)
    assert first in open_sessions.list_sessions()
    assert second not in open_sessions.list_sessions()
    monkeypatch.setattr("time.time", lambda: first.expires_at + 1)
    with pytest.raises(ApiError, match="expired"):
        await open_sessions.find_or_start(first.id, simulated=True)
    assert not open_sessions.list_sessions()


async def test_files_are_written_only_into_the_sessions_folder(open_sessions: SandboxSessions, tmp_path: Path) -> None:
    session = await open_sessions.find_or_start(None, simulated=False)
    open_sessions.write_files(
        session, [{"name": "a/b.txt", "content": "hello"}, {"name": "c", "encoding": "base64", "content": "QUI="}]
    )
    (result,) = await run_code(open_sessions, "open('a/b.txt').read() + open('c').read()", session)
    assert result["data"]["text/plain"] == "'helloAB'"
    await run_code(
        open_sessions, f"import os; os.symlink('{tmp_path}', 'link'); os.symlink('{tmp_path}/x', 'file')", session
    )
    for name in ("link/x", "file", "../x", "/x", "", "a/../../x"):
        with pytest.raises(ApiError):
            open_sessions.write_files(session, [{"name": name, "content": "x"}])
    assert not list(tmp_path.iterdir())
    with pytest.raises(ApiError, match="not base64"):
        open_sessions.write_files(session, [{"name": "d", "encoding": "base64", "content": "A"}])


async def test_no_session_starts_where_local_code_is_not_allowed() -> None:
    with pytest.raises(ApiError, match="--allow-local-code"):
        await SandboxSessions(allowed=False, session_seconds=1, cell_seconds=1).find_or_start(None, simulated=False)
