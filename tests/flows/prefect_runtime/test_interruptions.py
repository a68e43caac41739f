"""Interruptions: what was paid is kept, the next run continues, and every state in Prefect ends up correct."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.flows.prefect_runtime.prefect_server import (
    PrefectServer,
    find_engine_process,
    reserved_port,
    run_up_or_down,
    start_prefect_server,
    wait_until,
)
from tests.helpers.cli_runs import make_wavs
from tests.helpers.local_server import RunningServer, running_server

ITEMS = 40
IN_FLIGHT = 4


def get_source(tmp_path: Path) -> Path:
    """A folder whose name, and so the flow run's, belongs to this test alone."""
    return tmp_path / tmp_path.name


def make_command(tmp_path: Path, server: RunningServer) -> list[str | Path]:
    return [
        *("transcribe", get_source(tmp_path), "--out", tmp_path / "out", "--provider", "together"),
        *("--base-url", f"{server.origin}/together/v1", "--yes", "--concurrency", str(IN_FLIGHT), "--retries", "0"),
    ]


def start_run(
    prefect_server: PrefectServer, server: RunningServer, tmp_path: Path
) -> tuple[subprocess.Popen[str], str]:
    """Start a run and wait until it is at work; return its process and its flow run's id."""
    make_wavs(get_source(tmp_path), ITEMS)
    server.limits(rpm=1e9)
    process = prefect_server.start(*make_command(tmp_path, server))
    wait_until(lambda: server.bill()["requests"] >= IN_FLIGHT + 1, "the first requests")
    run = wait_until(
        lambda: prefect_server.newest_run(f"transcribe {get_source(tmp_path).name}: {ITEMS} items"),
        "the run to be named",
    )
    return process, run["id"]


def assert_rerun_completes(
    prefect_server: PrefectServer, server: RunningServer, tmp_path: Path, *, max_repeated: int
) -> None:
    """Assert that the same command completes the run, and that only requests in flight are paid for again."""
    again = prefect_server.cli(*make_command(tmp_path, server), "--retries", "5")
    assert again.returncode == 0, again.stderr
    assert len(pd.read_parquet(tmp_path / "out" / "results")) == ITEMS
    assert server.bill()["requests"] <= ITEMS + max_repeated


def get_task_states(prefect_server: PrefectServer, run_id: str) -> set[str]:
    """The states of a flow run's task runs."""
    return {task["state"]["type"] for task in prefect_server.task_runs(run_id).values()}


@contextmanager
def paused_provider(server: RunningServer) -> Iterator[None]:
    """Stop the provider's process while the block runs."""
    server.server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.server.process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together", "latency": "600ms"}


@pytest.fixture
def port() -> Iterator[str]:
    with reserved_port() as port:
        yield port


@pytest.mark.long
def test_cancel_in_the_ui_drains_and_leaves_the_rest_to_the_next_run(
    prefect_server: PrefectServer, own_local_server: RunningServer, tmp_path: Path
) -> None:
    process, run_id = start_run(prefect_server, own_local_server, tmp_path)
    prefect_server.call_api(
        "POST", f"flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    )
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 4, stderr
    state = prefect_server.wait_for_end(run_id)
    assert state["type"] == "CANCELLED"
    assert "left" in state["message"]
    n_results = len(pd.read_parquet(tmp_path / "out" / "results"))
    assert 0 < n_results == own_local_server.bill()["requests"] < ITEMS
    assert_rerun_completes(prefect_server, own_local_server, tmp_path, max_repeated=0)


@pytest.mark.long
@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.long), signal.SIGTERM])
def test_a_signal_drains_the_run_and_its_state_is_cancelled(
    prefect_server: PrefectServer, own_local_server: RunningServer, tmp_path: Path, number: int
) -> None:
    process, run_id = start_run(prefect_server, own_local_server, tmp_path)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + number, stderr
    assert prefect_server.wait_for_end(run_id)["type"] == "CANCELLED"
    assert len(pd.read_parquet(tmp_path / "out" / "results")) == own_local_server.bill()["requests"] < ITEMS


@pytest.mark.long
def test_after_a_sigkill_the_next_run_completes_the_work_and_marks_the_killed_run_crashed(
    prefect_server: PrefectServer, own_local_server: RunningServer, tmp_path: Path
) -> None:
    process, run_id = start_run(prefect_server, own_local_server, tmp_path)
    process.kill()
    process.communicate()
    assert prefect_server.state(run_id)["type"] == "RUNNING"  # Prefect cannot know
    assert "RUNNING" in get_task_states(prefect_server, run_id)
    assert_rerun_completes(prefect_server, own_local_server, tmp_path, max_repeated=IN_FLIGHT)
    state = prefect_server.wait_for_end(run_id)
    assert state["type"] == "CRASHED"
    assert "continues it" in state["message"]
    assert get_task_states(prefect_server, run_id) == {"COMPLETED", "CRASHED"}  # it had planned


@pytest.mark.long
def test_a_run_that_never_held_its_out_is_not_marked_crashed(prefect_server: PrefectServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    tag = f"out:{sha256(str(out).encode()).hexdigest()[:12]}"
    flow = prefect_server.call_api("POST", "flows/", {"name": "transcribe"})["id"]

    def create_running_run(*tags: str) -> str:
        body = {"flow_id": flow, "state": {"type": "RUNNING"}, "tags": [tag, *tags]}
        return str(prefect_server.call_api("POST", "flow_runs/", body)["id"])

    without_out, with_out = create_running_run(), create_running_run(f"{tag}:held")
    make_wavs(get_source(tmp_path), 2)
    with running_server(engine="echo", dialect="together") as server:
        assert prefect_server.cli(*make_command(tmp_path, server)).returncode == 0
    assert [prefect_server.state(run)["type"] for run in (without_out, with_out)] == ["RUNNING", "CRASHED"]


@pytest.mark.long
def test_servers_started_at_the_same_time_get_different_ports(tmp_path: Path) -> None:
    homes = [tmp_path / "one", tmp_path / "two"]
    try:
        with ThreadPoolExecutor() as threads:
            servers = [
                PrefectServer(address, tmp_path / "home") for address in threads.map(start_prefect_server, homes)
            ]
        assert len({server.api for server in servers}) == len(homes)
        assert run_up_or_down(homes[0], "down").returncode == 0
        assert servers[1].flow_runs() == []
    finally:
        for home in homes:
            run_up_or_down(home, "down")


@pytest.mark.long
def test_a_run_completes_when_the_server_stops_and_returns_meanwhile(
    own_local_server: RunningServer, port: str, tmp_path: Path
) -> None:
    home = tmp_path / "prefect"
    prefect_server = PrefectServer(start_prefect_server(home, "--port", port), tmp_path / "home")
    try:
        process, run_id = start_run(prefect_server, own_local_server, tmp_path)
        assert run_up_or_down(home, "down").returncode == 0
        before = own_local_server.bill()["requests"]
        wait_until(
            lambda: own_local_server.bill()["requests"] > before + IN_FLIGHT, "the work to go on without Prefect"
        )
        with paused_provider(own_local_server):  # so that it returns during the run, however long it takes to start
            assert start_prefect_server(home, "--port", port) == prefect_server.address
        _, stderr = process.communicate(timeout=90)
        assert process.returncode == 0, stderr
        assert prefect_server.wait_for_end(run_id)["type"] == "COMPLETED"
        assert len(pd.read_parquet(tmp_path / "out" / "results")) == ITEMS == own_local_server.bill()["requests"]
    finally:
        run_up_or_down(home, "down")


@pytest.mark.long
def test_an_end_that_could_not_be_reported_is_reported_by_the_next_run(
    own_local_server: RunningServer, port: str, tmp_path: Path
) -> None:
    home = tmp_path / "prefect"
    prefect_server = PrefectServer(start_prefect_server(home, "--port", port), tmp_path / "home")
    try:
        process, run_id = start_run(prefect_server, own_local_server, tmp_path)
        assert run_up_or_down(home, "down").returncode == 0
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
        assert "the end of this run could not be reported to Prefect" in stderr
        assert "Traceback" not in stderr
        assert len(pd.read_parquet(tmp_path / "out" / "results")) == ITEMS == own_local_server.bill()["requests"]
        start_prefect_server(home, "--port", port)
        assert prefect_server.state(run_id)["type"] == "RUNNING"
        make_wavs(get_source(tmp_path), ITEMS + 8)
        assert prefect_server.cli(*make_command(tmp_path, own_local_server)).returncode == 0
        assert prefect_server.wait_for_end(run_id)["type"] == "COMPLETED"
        assert get_task_states(prefect_server, run_id) == {"COMPLETED"}
        assert list((tmp_path / "out" / ".journal" / "untold").iterdir()) == []
    finally:
        run_up_or_down(home, "down")


def start_worker_run(
    prefect_server: PrefectServer, server: RunningServer, tmp_path: Path, name: str
) -> tuple[subprocess.Popen[str], str]:
    """Start a worker and wait until its run is at work; return the worker's process and the flow run's id."""
    make_wavs(get_source(tmp_path), ITEMS)
    job = tmp_path / "recordings.yaml"
    job.write_text(
        f"capability: transcribe\nsource: {get_source(tmp_path)}\nout: {tmp_path / 'out'}\nprovider: together\n"
        f"base_url: {server.origin}/together/v1\nconcurrency: {IN_FLIGHT}\nbudget: 5\n"
    )
    pool = f"{name}-{os.getpid()}"
    done = prefect_server.cli("deploy", job, "--pool", pool, "--name", pool)
    assert done.returncode == 0, done.stderr
    deployment = prefect_server.call_api("GET", f"deployments/name/transcribe/{pool}")
    run_id: str = prefect_server.call_api("POST", f"deployments/{deployment['id']}/create_flow_run", {})["id"]
    worker = prefect_server.prefect("worker", "start", "--pool", pool, "--type", "process")
    wait_until(lambda: server.bill()["requests"] > IN_FLIGHT, "the run to be at work")
    return worker, run_id


@pytest.mark.long
def test_a_stopped_worker_drains_its_run(
    prefect_server: PrefectServer, own_local_server: RunningServer, tmp_path: Path
) -> None:
    worker, run_id = start_worker_run(prefect_server, own_local_server, tmp_path, "stopped")
    worker.terminate()
    output, _ = worker.communicate(timeout=60)
    state = prefect_server.wait_for_end(run_id)
    assert state["type"] == "CANCELLED", output
    n_results = len(pd.read_parquet(tmp_path / "out" / "results"))
    assert n_results == own_local_server.bill()["requests"] < ITEMS
    assert_rerun_completes(prefect_server, own_local_server, tmp_path, max_repeated=0)


@pytest.mark.long
def test_cancel_in_the_ui_stops_a_run_on_a_worker(
    prefect_server: PrefectServer, own_local_server: RunningServer, tmp_path: Path
) -> None:
    worker, run_id = start_worker_run(prefect_server, own_local_server, tmp_path, "cancelled")
    try:
        prefect_server.call_api(
            "POST", f"flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}}
        )
        assert prefect_server.wait_for_end(run_id)["type"] == "CANCELLED"
        n_results = len(pd.read_parquet(tmp_path / "out" / "results"))
        assert n_results == own_local_server.bill()["requests"] < ITEMS
    finally:
        worker.terminate()
        worker.communicate(timeout=60)


@pytest.mark.long
def test_after_a_worker_and_its_run_are_killed_the_next_run_completes_the_work(
    prefect_server: PrefectServer, own_local_server: RunningServer, tmp_path: Path
) -> None:
    worker, run_id = start_worker_run(prefect_server, own_local_server, tmp_path, "killed")
    wait_until(lambda: prefect_server.state(run_id)["type"] == "RUNNING", "the run to be known as running")
    engine = find_engine_process(run_id)
    worker.kill()
    engine.kill()
    worker.communicate(timeout=60)
    assert_rerun_completes(prefect_server, own_local_server, tmp_path, max_repeated=IN_FLIGHT)
    assert prefect_server.wait_for_end(run_id)["type"] == "CRASHED"
