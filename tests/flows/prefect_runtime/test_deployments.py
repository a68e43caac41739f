"""A nightly job: a folder that grows, and runs that do only what is new."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.flows.prefect_runtime.prefect_server import PrefectServer
from tests.helpers.cli_runs import make_wavs
from tests.helpers.local_server import RunningServer
from tests.helpers.paths import RECORDINGS, ROOT


def deploy_nightly(prefect_server: PrefectServer, server: RunningServer, tmp_path: Path) -> tuple[dict[str, Any], str]:
    """Deploy a nightly job from a file; return the deployment and its pool."""
    job = tmp_path / "nightly.yaml"
    job.write_text(
        "capability: transcribe\nsource: recordings\nout: results\nprovider: together\nbudget: 5\n"
        f"base_url: {server.origin}/together/v1\nschedule: {{cron: '0 2 * * *', timezone: Europe/Zurich}}\n"
    )
    pool = f"nightly-{tmp_path.name}-{os.getpid()}"
    done = prefect_server.cli("deploy", job, "--pool", pool, "--name", pool, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "'0 2 * * *' Europe/Zurich" in done.stdout
    return prefect_server.call_api("GET", f"deployments/name/transcribe/{pool}"), pool


def add_recordings(folder: Path, files: int) -> None:
    """Add recordings to the folder up to a number of files; those in it stay untouched."""
    folder.mkdir(exist_ok=True)
    make_wavs(folder.with_name("made"), files)
    for recording in folder.with_name("made").iterdir():
        if not (folder / recording.name).exists():
            recording.rename(folder / recording.name)


def create_due_run(prefect_server: PrefectServer, deployment: dict[str, Any], ago: timedelta) -> str:
    """Create a run that was due some time ago, as a missed night leaves it; return its id."""
    state = {"type": "SCHEDULED", "state_details": {"scheduled_time": (datetime.now(UTC) - ago).isoformat()}}
    run = prefect_server.call_api("POST", f"deployments/{deployment['id']}/create_flow_run", {"state": state})
    run_id: str = run["id"]
    return run_id


@pytest.mark.long
def test_three_nights_each_do_only_what_is_new(
    prefect_server: PrefectServer, own_local_server: RunningServer, tmp_path: Path
) -> None:
    deployment, pool = deploy_nightly(prefect_server, own_local_server, tmp_path)
    assert deployment["schedules"][0]["schedule"] == {"cron": "0 2 * * *", "timezone": "Europe/Zurich", "day_or": True}
    before = create_due_run(prefect_server, deployment, timedelta(0))
    prefect_server.run_worker_once(pool)
    state = prefect_server.wait_for_end(before)
    assert (state["type"], state["name"]) == ("COMPLETED", "NothingYet")
    assert "recordings: no such file or folder" in state["message"]
    names_and_messages = []
    for files in (3, 3, 5):
        add_recordings(tmp_path / "recordings", files)
        run_id = create_due_run(prefect_server, deployment, timedelta(0))
        worker_output = prefect_server.run_worker_once(pool)
        state = prefect_server.wait_for_end(run_id)
        assert state["type"] == "COMPLETED", worker_output
        names_and_messages.append((prefect_server.call_api("GET", f"flow_runs/{run_id}")["name"], state["message"]))
    assert [name.partition(": ")[2] for name, _ in names_and_messages] == ["3 items", "nothing new", "2 items"]
    assert "free" not in names_and_messages[0][1]
    assert "3 unchanged" in names_and_messages[1][1]
    assert own_local_server.bill()["requests"] == 5
    assert len(pd.read_parquet(tmp_path / "results" / "results")) == 5


@pytest.mark.long
def test_a_deployment_from_before_consent_runs_on_shows_its_quote_and_is_told_once(
    prefect_server: PrefectServer, own_local_server: RunningServer, tmp_path: Path
) -> None:
    deployment, pool = deploy_nightly(prefect_server, own_local_server, tmp_path)
    parameters = {name: value for name, value in deployment["parameters"].items() if name != "budget"}
    prefect_server.call_api("PATCH", f"deployments/{deployment['id']}", {"parameters": parameters})
    told = []
    for files in (1, 2):
        add_recordings(tmp_path / "recordings", files)
        run_id = create_due_run(prefect_server, deployment, timedelta(0))
        worker_output = prefect_server.run_worker_once(pool)
        assert prefect_server.wait_for_end(run_id)["type"] == "COMPLETED", worker_output
        logs = prefect_server.logs(run_id)
        assert any("1 item to do" in line and line.endswith("no budget limits it") for line in logs), logs
        told.append(sum("neither a budget nor confirmed: true" in line for line in logs))
    assert told == [1, 0]


@pytest.mark.long
def test_a_job_that_may_cost_money_is_deployed_with_a_budget_or_a_yes(
    prefect_server: PrefectServer, tmp_path: Path
) -> None:
    job = tmp_path / "job.yaml"
    for fields, options, code in (
        ("provider: together", (), 2),
        ("{}", (), 2),
        ("provider: together", ("--yes",), 0),
        ("provider: together\nconfirmed: true", (), 0),
        ("provider: together\nbudget: 3", (), 0),
        ("provider: local", ("-y",), 0),
    ):
        job.write_text(f"capability: transcribe\nsource: in\n{fields.removeprefix('{}')}\n")
        done = prefect_server.cli("deploy", job, "--pool", "consent", *options)
        assert done.returncode == code, (fields, options, done.stderr)
        assert ("budget: USD, or confirmed: true" in done.stderr) == bool(code)
    right = tmp_path / "right.yaml"
    right.write_text("capability: transcribe\nsource: in\nprovider: local\nnotify: OPS_URLS\n")
    deployed = prefect_server.cli("deploy", right, "--pool", "unserved")
    assert "with OPS_URLS set in its shell" in deployed.stdout
    mistakes: list[tuple[str, tuple[str, ...], str]] = [
        ("schedule: {cron: '0 25 * * *'}", (), "job.yaml line 4: schedule.cron: '0 25 * * *' is no schedule"),
        ("provider: local", ("--cron", "every night"), "schedule.cron: 'every night' is no schedule"),
        ("concurency: 2", (), "job.yaml line 4: unknown option 'concurency'"),
        ("notify: {block: slack-webhook/nobody}", (), "notify: Prefect has no block slack-webhook/nobody"),
    ]
    for fields, given, words in mistakes:
        job.write_text(f"capability: transcribe\nsource: in\nbudget: 1\n{fields}\n")
        done = prefect_server.cli("deploy", job, right, "--pool", "consent", *given)
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr
        assert "transcribe/right" not in done.stdout


@pytest.mark.long
def test_another_jobs_deployment_is_replaced_only_where_that_is_asked_for(
    prefect_server: PrefectServer, tmp_path: Path
) -> None:
    def deploy(folder: str, budget: int, *options: str) -> subprocess.CompletedProcess[str]:
        job = tmp_path / folder / f"{tmp_path.name}.yaml"
        job.parent.mkdir(exist_ok=True)
        job.write_text(
            f"capability: transcribe\nsource: {folder}/in\nout: {folder}/out\nprovider: together\nbudget: {budget}\n"
        )
        return prefect_server.cli("deploy", job, "--pool", "unserved", *options, cwd=tmp_path)

    first = deploy("calls", 5)
    assert first.returncode == 0, first.stderr
    assert "no worker serves the pool 'unserved' yet" in first.stdout
    assert "with TOGETHER_API_KEY set in its shell" in first.stdout
    assert "calls/in is not there yet" in first.stdout
    changed = deploy("calls", 7)
    assert changed.returncode == 0, changed.stderr
    assert "changed: budget: 5.0 -> 7.0" in changed.stdout
    name = f"deployments/name/transcribe/{tmp_path.name}"
    other = deploy("shop", 7)
    assert other.returncode == 2
    assert f"transcribe/{tmp_path.name} is deployed already" in other.stderr
    assert f"source: {tmp_path}/calls/in -> {tmp_path}/shop/in" in other.stderr
    assert prefect_server.call_api("GET", name)["parameters"]["source"] == f"{tmp_path}/calls/in"
    assert deploy("shop", 7, "--replace").returncode == 0
    assert prefect_server.call_api("GET", name)["parameters"]["source"] == f"{tmp_path}/shop/in"
    refused = prefect_server.cli("run", "--deployed", tmp_path.name)
    assert refused.returncode == 2
    assert "no worker serves the pool 'unserved'" in refused.stderr


@pytest.mark.long
def test_items_that_an_outage_failed_are_done_the_next_night(
    prefect_server: PrefectServer, own_local_server: RunningServer, tmp_path: Path
) -> None:
    deployment, pool = deploy_nightly(prefect_server, own_local_server, tmp_path)
    make_wavs(tmp_path / "recordings", 2)
    own_local_server.faults({"match": {}, "fault": {"kind": "status", "status": 400}})
    first = create_due_run(prefect_server, deployment, timedelta(0))
    prefect_server.run_worker_once(pool)
    assert prefect_server.wait_for_end(first)["name"] == "CompletedWithFailures"
    own_local_server.reset()
    second = create_due_run(prefect_server, deployment, timedelta(0))
    prefect_server.run_worker_once(pool)
    assert prefect_server.wait_for_end(second)["type"] == "COMPLETED"


@pytest.mark.long
def test_missed_nights_are_caught_up_by_one_run(
    prefect_server: PrefectServer, own_local_server: RunningServer, tmp_path: Path
) -> None:
    deployment, pool = deploy_nightly(prefect_server, own_local_server, tmp_path)
    make_wavs(tmp_path / "recordings", 2)
    missed = [create_due_run(prefect_server, deployment, timedelta(days=days)) for days in (3, 2, 1)]
    prefect_server.run_worker_once(pool)
    states = [prefect_server.wait_for_end(run_id) for run_id in missed]
    assert sorted(state["name"] for state in states) == ["CaughtUp", "CaughtUp", "Completed"]
    assert own_local_server.bill()["requests"] == 2


@pytest.mark.long
def test_parameters_of_a_run_are_data_and_no_commands(
    prefect_server: PrefectServer, own_local_server: RunningServer, tmp_path: Path
) -> None:
    deployment, pool = deploy_nightly(prefect_server, own_local_server, tmp_path)
    marker = tmp_path / "marker"
    source = f"$(touch {marker}); `touch {marker}`; {{{{ 7 * 7 }}}} {{{{ $HOME }}}} ${{HOME}}"
    parameters = {**deployment["parameters"], "source": source}
    run = prefect_server.call_api("POST", f"deployments/{deployment['id']}/create_flow_run", {"parameters": parameters})
    output = prefect_server.run_worker_once(pool)
    state = prefect_server.wait_for_end(run["id"])
    assert state["name"] == "NothingYet", output
    assert source in state["message"]
    assert not marker.exists()
    assert own_local_server.bill()["requests"] == 0


@pytest.mark.long
def test_deploy_without_jobs_deploys_prefect_yaml(prefect_server: PrefectServer) -> None:
    done = prefect_server.cli("deploy", cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    deployment = prefect_server.call_api("GET", "deployments/name/transcribe/nightly")
    assert deployment["entrypoint"] == "mediamill.flows.transcribe.transcribe"
    assert deployment["parameters"]["source"] == str(RECORDINGS)


@pytest.mark.long
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("schedule: {cron: 'every night'}", "every night"),
        ("schedule: {cron: '0 2 * * *', timezone: Zurich}", "no time zone 'Zurich'"),
        ("schedule: {at: '2'}", "schedule"),
    ],
)
def test_a_wrong_schedule_is_refused_in_one_line(
    prefect_server: PrefectServer, tmp_path: Path, line: str, expected: str
) -> None:
    job = tmp_path / "wrong.yaml"
    job.write_text(f"capability: transcribe\nsource: in\nprovider: local\n{line}\n")
    refused = prefect_server.cli("deploy", job)
    assert refused.returncode == 2
    assert expected in refused.stderr
    assert "Traceback" not in refused.stderr
