"""The nightly job: a folder that grows, and runs that touch only what is new."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.flows.prefect_runtime.prefect_server import PrefectServer
from tests.helpers.cli_runs import make_wavs
from tests.helpers.local_server import RunningServer
from tests.helpers.paths import RECORDINGS, ROOT


def deployed(prefect_server: PrefectServer, server: RunningServer, tmp_path: Path) -> tuple[dict[str, Any], str]:
    """A nightly job on the schedule, from its file; the deployment and its pool."""
    job = tmp_path / "nightly.yaml"
    job.write_text(
        "capability: transcribe\nsource: recordings\nout: results\nprovider: together\nbudget: 5\n"
        f"base_url: {server.origin}/together/v1\nschedule: {{cron: '0 2 * * *', timezone: Europe/Zurich}}\n"
    )
    pool = f"nightly-{tmp_path.name}-{os.getpid()}"
    made = prefect_server.cli("deploy", job, "--pool", pool, "--name", pool, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "'0 2 * * *' Europe/Zurich" in made.stdout
    return prefect_server.ask("GET", f"deployments/name/transcribe/{pool}"), pool


def grow(folder: Path, files: int) -> None:
    """So many recordings in the folder, those that were there untouched."""
    folder.mkdir(exist_ok=True)
    make_wavs(folder.with_name("made"), files)
    for made in folder.with_name("made").iterdir():
        if not (folder / made.name).exists():
            made.rename(folder / made.name)


def due(prefect_server: PrefectServer, deployment: dict[str, Any], ago: timedelta) -> str:
    """A run the scheduler made, due some time ago: what a missed night leaves."""
    state = {"type": "SCHEDULED", "state_details": {"scheduled_time": (datetime.now(UTC) - ago).isoformat()}}
    run = prefect_server.ask("POST", f"deployments/{deployment['id']}/create_flow_run", {"state": state})
    run_id: str = run["id"]
    return run_id


@pytest.mark.long
def test_three_nights_each_do_only_what_is_new(
    prefect_server: PrefectServer, own_local_server: RunningServer, tmp_path: Path
) -> None:
    deployment, pool = deployed(prefect_server, own_local_server, tmp_path)
    assert deployment["schedules"][0]["schedule"] == {"cron": "0 2 * * *", "timezone": "Europe/Zurich", "day_or": True}
    told = []
    for files in (3, 3, 5):
        grow(tmp_path / "recordings", files)
        run_id = due(prefect_server, deployment, timedelta(0))
        worked = prefect_server.work_once(pool)
        state = prefect_server.wait_for_end(run_id)
        assert state["type"] == "COMPLETED", worked
        told.append((prefect_server.ask("GET", f"flow_runs/{run_id}")["name"], state["message"]))
    assert [name.partition(": ")[2] for name, _ in told] == ["3 items", "nothing new", "2 items"]
    assert "free" not in told[0][1]
    assert "3 needed nothing" in told[1][1]
    assert own_local_server.bill()["requests"] == 5
    assert len(pd.read_parquet(tmp_path / "results" / "results")) == 5


@pytest.mark.long
def test_what_an_outage_failed_is_done_the_next_night(
    prefect_server: PrefectServer, own_local_server: RunningServer, tmp_path: Path
) -> None:
    deployment, pool = deployed(prefect_server, own_local_server, tmp_path)
    make_wavs(tmp_path / "recordings", 2)
    own_local_server.faults({"match": {}, "fault": {"kind": "status", "status": 400}})
    first = due(prefect_server, deployment, timedelta(0))
    prefect_server.work_once(pool)
    assert prefect_server.wait_for_end(first)["name"] == "CompletedWithFailures"
    own_local_server.reset()
    second = due(prefect_server, deployment, timedelta(0))
    prefect_server.work_once(pool)
    assert prefect_server.wait_for_end(second)["type"] == "COMPLETED"


@pytest.mark.long
def test_missed_nights_are_caught_up_once(
    prefect_server: PrefectServer, own_local_server: RunningServer, tmp_path: Path
) -> None:
    deployment, pool = deployed(prefect_server, own_local_server, tmp_path)
    make_wavs(tmp_path / "recordings", 2)
    missed = [due(prefect_server, deployment, timedelta(days=days)) for days in (3, 2, 1)]
    prefect_server.work_once(pool)
    states = [prefect_server.wait_for_end(run_id) for run_id in missed]
    assert sorted(state["name"] for state in states) == ["CaughtUp", "CaughtUp", "Completed"]
    assert own_local_server.bill()["requests"] == 2


@pytest.mark.long
def test_prefect_yaml_deploys(prefect_server: PrefectServer) -> None:
    made = prefect_server.cli("deploy", cwd=ROOT)
    assert made.returncode == 0, made.stdout + made.stderr
    deployment = prefect_server.ask("GET", "deployments/name/transcribe/nightly")
    assert deployment["entrypoint"] == "mediamill.flows.transcribe.transcribe"
    assert deployment["parameters"]["source"] == str(RECORDINGS)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("schedule: {cron: 'every night'}", "every night"),
        ("schedule: {cron: '0 2 * * *', timezone: Zurich}", "no time zone 'Zurich'"),
        ("schedule: {at: '2'}", "schedule"),
    ],
)
def test_a_wrong_schedule_is_one_line(prefect_server: PrefectServer, tmp_path: Path, line: str, told: str) -> None:
    job = tmp_path / "wrong.yaml"
    job.write_text(f"capability: transcribe\nsource: in\n{line}\n")
    refused = prefect_server.cli("deploy", job)
    assert refused.returncode == 2
    assert told in refused.stderr
    assert "Traceback" not in refused.stderr
