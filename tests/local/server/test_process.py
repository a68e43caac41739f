"""The server process: it starts, or reports why it cannot, and never outlives its parent."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from mediamill.tasks.errors import UsageError
from mediamill.tasks.local.server.options import command
from mediamill.tasks.local.server.settings import make_settings
from mediamill.tasks.local.spawn import spawn
from tests.helpers.transcription_requests import post_transcription

PARENT = """
import os, sys, httpx
from mediamill.tasks.local.spawn import spawn
server = spawn("local", workers=1)
reply = httpx.post(server.origin + "/v1/audio/transcriptions", data={"model": "x"},
                   files={"file": ("a.wav", open(sys.argv[1], "rb").read())}, timeout=60)
if "fork" in sys.argv and os.fork() == 0:
    sys.stdin.read()
    os._exit(0)
print(reply.status_code, server.process.pid, flush=True)
sys.stdin.read()
"""


def ended(pids: list[int], seconds: float = 20) -> bool:
    """Wait up to ``seconds`` for each process; True when all have ended."""
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            if not select.select([handle], [], [], seconds)[0]:
                return False
        finally:
            os.close(handle)
    return True


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")
@pytest.mark.parametrize("extra", [[], ["fork"]], ids=["alone", "with a forked child that keeps the pipe"])
def test_server_and_workers_end_when_the_parent_is_killed(tmp_path: Path, extra: list[str]) -> None:
    from tests.helpers.transcription_requests import tone_wav

    recording = tmp_path / "a.wav"
    recording.write_bytes(tone_wav(0.3))
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(recording), *extra], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    with parent.stdout, parent.stdin:
        status, pid = map(int, parent.stdout.readline().split())
        assert status == 200
        family = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
        assert len(family) >= 2
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert ended(family)


@pytest.mark.long
def test_closing_ends_the_server_and_its_workers(tmp_path: Path) -> None:
    server = spawn("local", workers=1)
    assert post_transcription(server.origin).status_code == 200
    workers = [child.pid for child in psutil.Process(server.process.pid).children(recursive=True)]
    server.close()
    assert server.process.returncode == 0
    assert ended(workers)
    server.close()


@pytest.mark.long
def test_a_server_that_cannot_start_reports_why() -> None:
    with pytest.raises(UsageError, match="did you mean 'echo'"):
        spawn("ecco")
    with pytest.raises(UsageError, match=r"No such option.*--lattency.*--latency"):
        spawn("echo", lattency="1s")
    with pytest.raises(UsageError, match="1 parsec"):
        spawn("echo", latency="1 parsec")
    with spawn("echo") as first, pytest.raises(UsageError, match="in use"):
        spawn("echo", port=first.origin.rpartition(":")[2])


def test_a_server_in_a_terminal_prints_one_line_and_ends_on_ctrl_c() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "mediamill.tasks.local", "--port", "0", "--engine", "echo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("listening on http://127.0.0.1:")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, "", "")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300ms", (0.3, 0.3)), ("1.5s", (1.5, 1.5)), ("2", (2, 2)), ("100ms..400ms", (0.1, 0.4)), ("1m", (60, 60))],
)
def test_latency_options_are_parsed(text: str, seconds: tuple[float, float]) -> None:
    with command.make_context("serve", ["--latency", text]) as context:
        assert make_settings(context.params).latency == seconds


@pytest.mark.parametrize(
    "wrong",
    [
        ["--fail", "2"],
        ["--rpm", "0"],
        ["--rpm", "nan"],
        ["--price", "0.5"],
        ["--price", "a=-1"],
        ["--price", "a=NaN"],
        ["--dialect", "x"],
    ],
)
def test_invalid_options_exit_with_2(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended_with:
        command(wrong)
    assert ended_with.value.code == 2
    assert wrong[0] in capsys.readouterr().err
