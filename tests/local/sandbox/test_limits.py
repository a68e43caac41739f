"""A session's memory, processes and files stay within limits, as an administrator too, and are gone after it."""

from __future__ import annotations

import re
from pathlib import Path

import psutil
import pytest

from mediamill.tasks.local.sandbox import sandbox_process
from mediamill.tasks.local.sandbox.sandbox_sessions import SandboxSession, SandboxSessions
from tests.helpers.sandbox import needs_sandbox
from tests.local.sandbox.conftest import RunCode

pytestmark = [needs_sandbox, pytest.mark.long]

HOLD = """
import os, time
for _ in range({n}):
    if os.fork() == 0:
        held = bytearray(os.urandom(1)) * ({mib} << 20)
        time.sleep(60)
        os._exit(0)
time.sleep(20)
"""
FORK = """
import os, signal, time
children = []
try:
    for _ in range(500):
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        children.append(child)
except OSError as error:
    print(len(children), error)
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


def set_memory_limit(monkeypatch: pytest.MonkeyPatch, mib: int) -> None:
    monkeypatch.setattr(sandbox_process, "MAX_MEMORY_BYTES", mib << 20)


async def test_processes_are_counted(run_code: RunCode) -> None:
    (printed,) = await run_code(FORK)
    assert re.fullmatch(r"6\d \[Errno 11\] .*\n", printed["data"]), printed
    assert (await run_code("1 + 1"))[0]["data"] == {"text/plain": "2"}


async def test_one_process_gets_no_more_memory_than_the_session(run_code: RunCode) -> None:
    assert "MemoryError" in (await run_code("bytearray(5 << 30)"))[-1]["data"]
    assert (await run_code("1 + 1"))[0]["data"] == {"text/plain": "2"}


async def test_several_processes_get_no_more_memory_than_the_session(
    run_code: RunCode, session: SandboxSession, open_sessions: SandboxSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_memory_limit(monkeypatch, 300)
    assert session.sandbox is not None
    first = psutil.Process(session.sandbox.init_pid)
    (failed,) = await run_code(HOLD.format(n=6, mib=100))
    assert failed == {"type": "error", "data": "MemoryError: the session held more than 300 MiB; it was ended"}
    assert not first.is_running()
    assert not open_sessions.list_sessions()


async def test_memory_that_forked_processes_share_counts_once(
    run_code: RunCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_memory_limit(monkeypatch, 400)
    code = "import os, time\nheld = bytearray(os.urandom(1)) * (200 << 20)\nchildren = []\nfor _ in range(6):\n"
    code += "    child = os.fork()\n    if child == 0:\n        time.sleep(1)\n        os._exit(0)\n"
    code += "    children.append(child)\nfor child in children: os.waitpid(child, 0)\nprint('held')"
    assert await run_code(code) == [{"type": "stdout", "data": "held\n"}]


@pytest.mark.parametrize("folder", ["/session", "/tmp", "/dev/shm"])
async def test_folders_are_full_at_their_size(folder: str, run_code: RunCode) -> None:
    code = f"""
import itertools, os
total = 0
try:
    for n in itertools.count():
        with open(f'{folder}/{{n}}', 'wb', 0) as file:
            for _ in range(100):
                total += file.write(bytes(1 << 20))
except OSError as error:
    raise SystemExit(f'{{total >> 20}} {{error.strerror}}')
"""
    (failed,) = await run_code(code)
    size = 512 if folder == "/session" else 256
    assert failed["data"] == f"SystemExit: {size} No space left on device"
    after = await run_code("print('x')\n1 + 1")
    assert {"type": "execute_result", "data": {"text/plain": "2"}} in after or "No space left" in str(after)
    await run_code(f"import os\nfor name in os.listdir('{folder}'): os.remove(f'{folder}/{{name}}')")
    assert await run_code("print('x')") == [{"type": "stdout", "data": "x\n"}]


async def test_files_without_content_count_too(run_code: RunCode, monkeypatch: pytest.MonkeyPatch) -> None:
    set_memory_limit(monkeypatch, 100)
    (failed,) = await run_code("import itertools\nfor n in itertools.count(): open(str(n), 'w').close()")
    assert "held more than 100 MiB" in failed["data"]


async def test_what_is_written_leaves_no_trace(
    run_code: RunCode, open_sessions: SandboxSessions, session: SandboxSession, tmp_path: Path
) -> None:
    (printed,) = await run_code("import os\nfor _ in range(3000): os.mkdir('d'); os.chdir('d')\nprint('deep')")
    assert printed["data"] == "deep\n"
    assert session.sandbox is not None
    mounts = Path(f"/proc/{session.sandbox.init_pid}/mounts")
    assert "/session" in mounts.read_text()
    await open_sessions.end(session)
    assert not mounts.exists()


@pytest.mark.parametrize(
    "reply",
    [
        '{"outputs": [{"type": "stdout", "data": 123}]}',
        '{"outputs": [{"type": ["a"], "data": {"a": 1}}]}',
        '{"outputs": {"type": "stdout"}}',
        "[]",
        "no JSON",
        "",
    ],
)
async def test_a_reply_that_code_wrote_itself_ends_its_session(
    reply: str, run_code: RunCode, open_sessions: SandboxSessions
) -> None:
    code = f"import os\nfor n in range(3, 9):\n    try: os.write(n, {reply.encode()!r} + b'\\n')\n    except OSError: 0"
    (failed,) = await run_code(code)
    assert failed["type"] == "error"
    assert not open_sessions.list_sessions()
