"""``mediamill down``: what it started ends, also what does not want to, and a stopped worker reaches its runs."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mediamill.flows.prefect_runtime import shutdown
from mediamill.flows.prefect_runtime.up_state import UpState, get_runs_folder, get_state_path, load_up_state

OBEDIENT = "echo ready; read line"
STUBBORN = "trap '' TERM; tail -f /dev/null & echo ready; while true; do wait; done"


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(processes: ExitStack, script: str) -> subprocess.Popen[bytes]:
    """Start a process that leads a group and is called prefect, and wait until it has begun."""
    process = processes.enter_context(
        subprocess.Popen(
            ["/bin/sh", "-c", script, "prefect"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
    )
    processes.callback(process.kill)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_a_run_that_ignores_signals_is_killed_in_time_with_what_it_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, processes: ExitStack
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(shutdown, "RUNS_SECONDS", 1.0)
    monkeypatch.setattr(shutdown, "_SIGNAL_SECONDS", 0.5)
    server, worker = start(processes, OBEDIENT), start(processes, OBEDIENT)
    runs = [start(processes, OBEDIENT), start(processes, STUBBORN)]
    get_runs_folder().mkdir(parents=True)
    for run in runs:
        (get_runs_folder() / str(run.pid)).touch()
    (get_runs_folder() / "999999999").touch()
    UpState(server.pid, "http://127.0.0.1:1/api", "3", worker=worker.pid, guarded=True).save()
    told: list[str] = []
    began = time.monotonic()
    stopped = shutdown.stop_all(told.append)
    assert time.monotonic() - began < 10
    assert stopped is not None
    assert (stopped.drained, stopped.killed) == (1, 1)
    assert len(told) == 1
    assert "2 runs" in told[0]
    assert all(process.wait(10) is not None for process in (server, worker, *runs))
    assert runs[1].stdout is not None
    assert runs[1].stdout.read() == b"", "its child holds the pipe's other end"
    assert load_up_state() is None
    assert not get_state_path().exists()
    assert list(get_runs_folder().iterdir()) == []
    assert shutdown.stop_all(told.append) is None


def test_each_run_of_a_chain_hears_that_the_worker_is_gone() -> None:
    script = """
        import os, threading
        from mediamill.flows.prefect_runtime import worker_entrypoint

        read_end, write_end = os.pipe()
        os.environ[worker_entrypoint.LIFELINE] = str(read_end)
        second = threading.Event()
        worker_entrypoint.on_worker_exit(lambda: print("first"))
        worker_entrypoint.on_worker_exit(second.set)
        os.close(write_end)
        assert second.wait(60)
        worker_entrypoint.on_worker_exit(lambda: print("third"))
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "third\n"
