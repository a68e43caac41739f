"""Sessions share variables and files, end in time, and leave nothing."""

from __future__ import annotations

from typing import Any

import psutil
import pytest

from mediamill.tasks.local.sandbox import sandbox_sessions as sessions
from mediamill.tasks.local.sandbox.sandbox_sessions import SandboxSession, SandboxSessions
from mediamill.tasks.local.server.api_error import ApiError
from tests.helpers.sandbox import needs_sandbox

pytestmark = needs_sandbox


async def run_code(sandbox: SandboxSessions, code: str, session: SandboxSession | None = None) -> list[dict[str, Any]]:
    return await sandbox.run(session or await sandbox.find_or_start(None, simulated=False), code)


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


async def test_lines_with_an_exclamation_mark_are_commands(open_sessions: SandboxSessions) -> None:
    session = await open_sessions.find_or_start(None, simulated=False)
    script = {"name": "myscript.py", "encoding": "string", "content": "import sys\nprint('hi', sys.argv[1:])"}
    await open_sessions.write_files(session, [script])
    (printed,) = await run_code(open_sessions, "!python myscript.py a", session)
    assert printed == {"type": "stdout", "data": "hi ['a']\n"}
    noted, result = await run_code(open_sessions, "!pip install numpy\nif True:\n    !echo x\n1 + 1", session)
    assert "the interpreter has no network" in noted["data"]
    assert noted["data"].endswith("x\n")
    assert result["data"] == {"text/plain": "2"}
    (text,) = await run_code(open_sessions, '"""\n!pip\n"""', session)
    assert "!pip" in text["data"]["text/plain"]


async def test_text_that_no_encoding_knows_is_replaced(open_sessions: SandboxSessions) -> None:
    session = await open_sessions.find_or_start(None, simulated=False)
    shown, failed = [
        await run_code(open_sessions, code, session)
        for code in (
            "class A:\n    def __repr__(self): return 'a\\ud800\u00e9'\nA()",
            "raise ValueError('b\\udc80')",
        )
    ]
    assert shown[0]["data"] == {"text/plain": "a?\u00e9"}
    assert failed[0]["data"].endswith("ValueError: b?")


@pytest.mark.parametrize("reply", ["b'[' * 200_000", r"""b'{"outputs": [{"type": "stdout", "data": "\\ud800"}]}'"""])
async def test_code_that_writes_a_reply_ends_its_session_alone(reply: str, open_sessions: SandboxSessions) -> None:
    code = f"""
import os
for name in range(3, 20):
    try:
        os.write(name, {reply} + b'\\n')
    except OSError:
        pass
"""
    (failed,) = await run_code(open_sessions, code)
    assert (failed["type"], "the interpreter ended" in failed["data"]) == ("error", True)
    assert (await run_code(open_sessions, "1 + 1"))[0]["data"] == {"text/plain": "2"}


async def test_a_forked_child_does_not_write_a_reply(open_sessions: SandboxSessions) -> None:
    session = await open_sessions.find_or_start(None, simulated=False)
    await run_code(open_sessions, "import os\nif os.fork() == 0: raise ValueError", session)
    for n in range(3):
        assert (await run_code(open_sessions, str(n), session))[0]["data"] == {"text/plain": str(n)}


async def test_a_sessions_processes_end_with_it(open_sessions: SandboxSessions) -> None:
    session = await open_sessions.find_or_start(None, simulated=False)
    code = "import subprocess\nfor _ in range(3): subprocess.Popen(['setsid', 'sleep', '600'], stdout=-3)"
    await run_code(open_sessions, code, session)
    assert session.sandbox is not None
    first = psutil.Process(session.sandbox.init_pid)
    processes = [first, *first.children(recursive=True)]
    assert len(processes) >= 5
    await open_sessions.end(session)
    assert not [one for one in processes if one.is_running()]


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


async def test_files_are_written_only_into_the_sessions_folder(open_sessions: SandboxSessions) -> None:
    session = await open_sessions.find_or_start(None, simulated=False)
    await open_sessions.write_files(
        session, [{"name": "a/b.txt", "content": "hello"}, {"name": "c", "encoding": "base64", "content": "QUI="}]
    )
    (result,) = await run_code(open_sessions, "open('a/b.txt').read() + open('c').read()", session)
    assert result["data"]["text/plain"] == "'helloAB'"
    await run_code(open_sessions, "import os; os.symlink('/mediamill', 'link'); os.symlink('/x', 'file')", session)
    await open_sessions.write_files(session, [{"name": "file", "content": "a file, where a link was"}])
    assert "where a link was" in str(await run_code(open_sessions, "open('file').read()", session))
    for name in ("link/x", "../x", "/x", "", "a/../../x", "c/d", "a", "n\0ul"):
        with pytest.raises(ApiError):
            await open_sessions.write_files(session, [{"name": name, "content": "x"}])
    with pytest.raises(ApiError, match="not base64"):
        await open_sessions.write_files(session, [{"name": "d", "encoding": "base64", "content": "A"}])


async def test_no_session_starts_where_local_code_is_not_allowed() -> None:
    with pytest.raises(ApiError, match="--allow-local-code"):
        await SandboxSessions(allowed=False, session_seconds=1, cell_seconds=1).find_or_start(None, simulated=False)
