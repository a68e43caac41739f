"""Prefect's API goes away for good: it neither changes how a run ends nor delays its exit."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.flows.prefect_runtime.prefect_server import (
    DoomedPrefectServer,
    PrefectServer,
    find_engine_process,
    start_prefect_server,
    wait_until,
)
from tests.helpers.cli_runs import make_wavs
from tests.helpers.local_server import RunningServer
from tests.helpers.machine_load import measure_slowdown

MAX_EXIT_SECONDS = 10.0
"""Seconds between the end of the work and the end of the process, where nothing else runs."""


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together", "latency": "50ms"}


@pytest.fixture
def unlimited_server(own_local_server: RunningServer) -> RunningServer:
    """A server whose replies state a limit that is never reached, so that requests start at full speed."""
    own_local_server.limits(rpm=1e9)
    return own_local_server


def read_work_end(out: Path) -> float:
    """The time at which the run record was written, which is a run's last work."""
    [record] = (out / "runs").glob("*.json")
    return record.stat().st_mtime


def count_rows(out: Path) -> int:
    return len(pd.read_parquet(out / "results"))


def make_command(tmp_path: Path, server: RunningServer) -> list[str | Path]:
    return [
        *("transcribe", tmp_path / "in", "--out", tmp_path / "out", "--provider", "together", "--yes"),
        *("--base-url", f"{server.origin}/together/v1", "--shard-size", "1", "--concurrency", "16"),
    ]


@pytest.mark.long
@pytest.mark.parametrize(
    ("items", "number"),
    [(1000, signal.SIGKILL), pytest.param(150, signal.SIGSTOP, marks=pytest.mark.proof)],
    ids=["killed", "hung"],
)
def test_a_server_lost_during_a_run_does_not_delay_its_exit(
    doomed_server: DoomedPrefectServer, unlimited_server: RunningServer, tmp_path: Path, items: int, number: int
) -> None:
    make_wavs(tmp_path / "in", items)
    process = doomed_server.server.start(*make_command(tmp_path, unlimited_server))
    wait_until(lambda: unlimited_server.bill()["requests"] > items / 10, "the run to be at work")
    doomed_server.send_signal(number)
    try:
        _, stderr = process.communicate(timeout=180)
        exit_seconds = time.time() - read_work_end(tmp_path / "out")
    finally:
        if number == signal.SIGSTOP:
            doomed_server.send_signal(signal.SIGCONT)
    assert process.returncode == 0, stderr
    assert "the end of this run could not be reported to Prefect" in stderr
    assert "Traceback" not in stderr
    assert count_rows(tmp_path / "out") == items == unlimited_server.bill()["requests"]
    assert exit_seconds < MAX_EXIT_SECONDS * measure_slowdown()


@pytest.mark.long
def test_a_flow_called_from_python_returns_its_result_and_the_interpreter_ends(
    doomed_server: DoomedPrefectServer, unlimited_server: RunningServer, tmp_path: Path
) -> None:
    make_wavs(tmp_path / "in", 100)
    code = (
        "from mediamill.flows.transcribe import transcribe\n"
        f"result = transcribe({str(tmp_path / 'in')!r}, out={str(tmp_path / 'out')!r}, provider='together', budget=5,\n"
        f"    options={{'base_url': '{unlimited_server.origin}/together/v1', 'shard_size': 1, 'concurrency': 4}})\n"
        "print(result['done'], result['state'])"
    )
    environment = doomed_server.server.env()
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True) as process:
        wait_until(lambda: unlimited_server.bill()["requests"] > 10, "the run to be at work")
        doomed_server.send_signal(signal.SIGKILL)
        stdout, _ = process.communicate(timeout=120)
    exit_seconds = time.time() - read_work_end(tmp_path / "out")
    assert process.returncode == 0
    assert stdout.splitlines()[-1] == "100 done"
    assert exit_seconds < MAX_EXIT_SECONDS * measure_slowdown()


@pytest.mark.long
def test_a_run_on_a_worker_exits_in_time_and_the_next_run_reports_its_end(
    doomed_server: DoomedPrefectServer, unlimited_server: RunningServer, tmp_path: Path
) -> None:
    prefect_server, items = doomed_server.server, 100
    make_wavs(tmp_path / "in", items)
    file = tmp_path / "job.yaml"
    file.write_text(
        f"capability: transcribe\nsource: {tmp_path / 'in'}\nout: {tmp_path / 'out'}\nprovider: together\n"
        f"base_url: {unlimited_server.origin}/together/v1\nconcurrency: 4\nbudget: 5\nshard_size: 1\n"
    )
    done = prefect_server.cli("deploy", file, "--pool", "lost", "--name", "lost")
    assert done.returncode == 0, done.stderr
    deployment = prefect_server.call_api("GET", "deployments/name/transcribe/lost")
    run_id: str = prefect_server.call_api("POST", f"deployments/{deployment['id']}/create_flow_run", {})["id"]
    worker = prefect_server.prefect("worker", "start", "--pool", "lost", "--type", "process")
    try:
        wait_until(lambda: unlimited_server.bill()["requests"] > 10, "the run to be at work")
        engine = find_engine_process(run_id)
        doomed_server.send_signal(signal.SIGKILL)
        wait_until(lambda: list((tmp_path / "out" / "runs").glob("*.json")), "the work to end", 120)
        engine.wait(MAX_EXIT_SECONDS * measure_slowdown())
    finally:
        worker.kill()
        worker.communicate(timeout=60)
    assert count_rows(tmp_path / "out") == items == unlimited_server.bill()["requests"]
    start_prefect_server(doomed_server.home, "--port", doomed_server.port)
    assert prefect_server.state(run_id)["type"] == "RUNNING"
    make_wavs(tmp_path / "in", items + 1)
    assert prefect_server.cli(*make_command(tmp_path, unlimited_server)).returncode == 0
    assert prefect_server.wait_for_end(run_id)["type"] == "COMPLETED"  # its end was stored in OUT
    assert {task["state"]["type"] for task in prefect_server.task_runs(run_id).values()} == {"COMPLETED"}


LOSE_TASKS = """
import sys
from mediamill.flows.prefect_runtime import task_runs
from mediamill.flows.transcribe import transcribe

submit, do_shards = task_runs.shard.submit, task_runs.steps.do_shards

def lose_first(ticket, batch):
    if batch.shards[0] == 0:
        raise RuntimeError("Prefect did not take the task")
    return submit(ticket, batch)

def lose_second(ticket, batch):
    if batch.shards[0] == 1:
        raise RuntimeError("the task ended before its work began")
    return do_shards(ticket, batch)

task_runs.shard.submit, task_runs.steps.do_shards = lose_first, lose_second
source, out, base_url = sys.argv[1:]
options = {"base_url": base_url, "shard_size": 10, "concurrency": 4}
print(transcribe(source, out=out, provider="together", budget=5, options=options)["done"])
"""


@pytest.mark.long
def test_the_work_of_a_lost_task_is_done_in_the_same_run(
    prefect_server: PrefectServer, unlimited_server: RunningServer, tmp_path: Path
) -> None:
    make_wavs(tmp_path / "in", 40)
    command = [
        sys.executable,
        "-c",
        LOSE_TASKS,
        str(tmp_path / "in"),
        str(tmp_path / "out"),
        f"{unlimited_server.origin}/together/v1",
    ]
    done = subprocess.run(command, env=prefect_server.env(), capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["40"]
    assert count_rows(tmp_path / "out") == 40 == unlimited_server.bill()["requests"]
