"""What Prefect shows of a run that has ended is corrected by how it ended: by the next run, and by `up`."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
import pytest
from prefect.states import Completed

from mediamill.flows.prefect_runtime.flow_run_ends import EndRecords
from tests.flows.prefect_runtime.prefect_server import DoomedPrefectServer, PrefectServer, wait_until
from tests.helpers.cli_runs import make_wavs, transcribe
from tests.helpers.local_server import RunningServer
from tests.helpers.machine_load import measure_slowdown

MAX_EXIT_SECONDS = 10.0


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together", "latency": "50ms"}


def make_command(tmp_path: Path, server: RunningServer) -> list[str | Path]:
    return [
        *("transcribe", tmp_path / tmp_path.name, "--out", tmp_path / "out", "--provider", "together", "--yes"),
        *("--base-url", f"{server.origin}/together/v1", "--shard-size", "1", "--concurrency", "4"),
    ]


def find_run(prefect_server: PrefectServer) -> str:
    [run] = prefect_server.flow_runs()
    return str(run["id"])


@pytest.mark.parametrize(
    ("fault", "ended"),
    [("", "Completed"), ("publish.record.after:1:kill", "Completed"), ("call.wire.after:1:kill", "")],
)
def test_the_journal_knows_how_a_run_ended(fault: str, ended: str, tmp_path: Path, local_server: RunningServer) -> None:
    make_wavs(tmp_path / "in", 2)
    out, flow_run = tmp_path / "out", uuid4()
    transcribe(tmp_path / "in", out, local_server.origin, env={"MEDIAMILL_FAULTS": fault})
    records = EndRecords.of_out(out)
    [run_id] = {path.stem for path in (out / "runs").glob("*.json")} or {"none"}
    records.write(flow_run, run_id)
    end = records.find(flow_run)
    assert (end.name if end else "") == ended
    assert records.list() == [flow_run]
    records.delete(flow_run)
    assert (records.list(), records.find(flow_run)) == ([], None)


def test_an_end_on_record_needs_no_journal(tmp_path: Path) -> None:
    records, flow_run = EndRecords(tmp_path / "unreported"), uuid4()
    records.write(flow_run, None, Completed(message="2 done"))
    end = records.find(flow_run)
    assert end is not None
    assert (end.type, end.name, end.message) == ("COMPLETED", "Completed", "2 done")
    (tmp_path / "unreported" / f"{flow_run}.json").write_text("torn")
    assert records.find(flow_run) is None


@pytest.mark.long
@pytest.mark.parametrize("is_marked", [False, True], ids=["shown as running", "marked crashed"])
def test_a_run_that_ended_well_and_was_killed_then_becomes_completed(
    is_marked: bool, prefect_server: PrefectServer, own_local_server: RunningServer, tmp_path: Path
) -> None:
    make_wavs(tmp_path / tmp_path.name, 4)
    process = prefect_server.start(
        *make_command(tmp_path, own_local_server), MEDIAMILL_FAULTS="publish.record.after:1:kill"
    )
    assert process.wait(120) == -signal.SIGKILL
    title = f"transcribe {tmp_path.name}"
    [run_id] = [str(path.stem) for path in (tmp_path / "out" / ".journal" / "untold").glob("*.json")]
    assert prefect_server.state(run_id)["type"] == "RUNNING"
    if is_marked:
        body = {"state": {"type": "CRASHED", "name": "Crashed"}, "force": True}
        prefect_server.call_api("POST", f"flow_runs/{run_id}/set_state", body)
    make_wavs(tmp_path / tmp_path.name, 5)
    again = prefect_server.cli(*make_command(tmp_path, own_local_server))
    assert again.returncode == 0, again.stderr
    assert prefect_server.state(run_id)["type"] == "COMPLETED", title
    assert {task["state"]["type"] for task in prefect_server.task_runs(run_id).values()} == {"COMPLETED"}
    assert not list((tmp_path / "out" / ".journal" / "untold").glob("*.json"))


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
def test_up_tells_the_server_how_a_run_ended_while_it_was_away(
    number: int, doomed_server: DoomedPrefectServer, own_local_server: RunningServer, tmp_path: Path
) -> None:
    make_wavs(tmp_path / tmp_path.name, 60)
    server = doomed_server.server
    process = server.start(*make_command(tmp_path, own_local_server), XDG_STATE_HOME=str(doomed_server.state_folder))
    wait_until(lambda: own_local_server.bill()["requests"] > 10, "the run to be at work")
    run_id = find_run(server)
    doomed_server.send_signal(number)
    _, stderr = process.communicate(timeout=120)
    [record] = (tmp_path / "out" / "runs").glob("*.json")
    assert time.time() - record.stat().st_mtime < MAX_EXIT_SECONDS * measure_slowdown()
    assert process.returncode == 0, stderr
    if number == signal.SIGSTOP:
        doomed_server.send_signal(signal.SIGCONT)
    doomed_server.start_again()
    assert server.state(run_id)["type"] == "COMPLETED"
    assert not list((doomed_server.state_folder / "mediamill" / "unreported").glob("*.json"))


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
def test_a_server_that_is_back_before_the_end_is_told_of_it(
    number: int, doomed_server: DoomedPrefectServer, own_local_server: RunningServer, tmp_path: Path
) -> None:
    make_wavs(tmp_path / tmp_path.name, 160)
    server = doomed_server.server
    process = server.start(*make_command(tmp_path, own_local_server))
    wait_until(lambda: own_local_server.bill()["requests"] > 10, "the run to be at work")
    run_id = find_run(server)
    doomed_server.send_signal(number)
    wait_until(lambda: own_local_server.bill()["requests"] > 40, "the run to go on")
    if number == signal.SIGSTOP:
        doomed_server.send_signal(signal.SIGCONT)
    doomed_server.start_again()
    _, stderr = process.communicate(timeout=180)
    [record] = (tmp_path / "out" / "runs").glob("*.json")
    exit_seconds = time.time() - record.stat().st_mtime
    assert process.returncode == 0, stderr
    assert len(pd.read_parquet(tmp_path / "out" / "results")) == 160 == own_local_server.bill()["requests"]
    if exit_seconds > MAX_EXIT_SECONDS * measure_slowdown():
        pytest.fail(f"it ended {exit_seconds:.0f} s after its work")
    if server.state(run_id)["type"] != "COMPLETED":  # it came back after the last try: the next run tells it
        make_wavs(tmp_path / tmp_path.name, 161)
        assert server.cli(*make_command(tmp_path, own_local_server)).returncode == 0
        assert server.state(run_id)["type"] == "COMPLETED"
