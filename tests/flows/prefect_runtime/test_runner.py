"""Runs as flow runs: what Prefect shows of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from tests.flows.prefect_runtime.prefect_server import PrefectServer
from tests.helpers.cli_runs import SENTINEL, bare_environment, make_wavs
from tests.helpers.local_server import RunningServer
from tests.helpers.paths import SAMPLES

PROBE = """
import urllib.error, urllib.request
from prefect import flow
from prefect.server.api.server import SubprocessASGIServer
url = SubprocessASGIServer().api_url
host = "evil.example:" + url.split(":")[2].split("/")[0]
pages = {"page": {"Origin": "http://evil.example"}, "rebound": {"Origin": "http://" + host, "Host": host}, "user": {}}
for sender, headers in pages.items():
    headers["Content-Type"] = "application/json"
    for path, body in (("/csrf-token?client=x", None), ("/flows/", b'{"name": "x"}')):
        try:
            urllib.request.urlopen(urllib.request.Request(url + path, body, headers))
        except urllib.error.HTTPError as error:
            print(sender, error.code, error.headers["Access-Control-Allow-Origin"])
print("own flow", flow(lambda: 5, name="own")())
"""
"""Asks the server that Prefect started for this process to create a flow, as a web page, a page under a name that leads
to this machine, and another user would; then calls a flow that is not mediamill's."""
BROKEN_SAMPLES = SAMPLES / "broken"


@pytest.mark.long
def test_a_run_is_a_flow_run_with_tasks_costs_and_no_key(
    prefect_server: PrefectServer, own_local_server: RunningServer, tmp_path: Path
) -> None:
    make_wavs(tmp_path / "in", 30)
    shutil.copy(next(BROKEN_SAMPLES.glob("*.wav")), tmp_path / "in" / "*_broken_*.wav")
    out = tmp_path / "lecture"
    done = prefect_server.cli(
        *("transcribe", tmp_path / "in", "--out", out, "--budget", "5", "--shard-size", "10"),
        *("--provider", "together", "--base-url", f"{own_local_server.origin}/together/v1"),
    )
    assert done.returncode == 3, done.stderr
    assert f"flow run at {prefect_server.api.removesuffix('/api')}" in done.stderr.splitlines()[0]
    run_id = done.stderr.strip().splitlines()[-1].rpartition("/")[2]
    run = prefect_server.call_api("GET", f"flow_runs/{run_id}")
    assert run["name"] == "transcribe in: 31 items"
    assert {"mediamill", "transcribe", "provider:together"} <= set(run["tags"])
    assert run["state"]["type"] == "COMPLETED"
    assert run["state"]["name"] == "CompletedWithFailures"
    assert "30 done, 1 failed" in run["state"]["message"]
    tasks = prefect_server.task_runs(run_id)
    assert set(tasks) == {"plan", *(f"shard {n}: {10 if n < 3 else 1} to do" for n in range(4)), "publish"}
    assert all(task["state"]["type"] == "COMPLETED" for task in tasks.values())
    messages = [task["state"]["message"] for name, task in tasks.items() if name.startswith("shard")]
    assert sorted(messages) == ["1 done, 0 failed", "10 done, 0 failed", "10 done, 0 failed", "9 done, 1 failed"]

    artifacts = prefect_server.artifacts(run_id)
    assert set(artifacts) == {"progress", "table", "markdown"}
    assert artifacts["progress"]["data"] == 100
    assert re.fullmatch(r"lecture-[0-9a-f]{8}-progress", artifacts["progress"]["key"])
    costs = json.loads(artifacts["table"]["data"])
    assert sum(Decimal(row["cost_usd"]) for row in costs) == pd.read_parquet(out / "calls").cost_usd.sum() > 0
    summary = artifacts["markdown"]["data"]
    assert "\\*\\_broken\\_\\*" in summary  # a file's name is not markup
    assert (out / "report.html").as_uri() in summary

    logs = prefect_server.logs(run_id)
    assert logs
    assert len(logs) < 20  # not one line per item
    parameters = run["parameters"]
    assert parameters["budget"] == 5
    everything = json.dumps([run, tasks, artifacts, logs])
    assert SENTINEL not in everything


@pytest.mark.long
def test_a_rerun_with_nothing_to_do_is_named_so_and_sends_nothing(
    prefect_server: PrefectServer, own_local_server: RunningServer, tmp_path: Path
) -> None:
    make_wavs(tmp_path / "in", 3)
    command: list[str | Path] = ["transcribe", tmp_path / "in", "--out", tmp_path / "out", "--provider", "together"]
    command += ["--base-url", f"{own_local_server.origin}/together/v1", "--yes"]
    assert prefect_server.cli(*command).returncode == 0
    again = prefect_server.cli(*command)
    assert again.returncode == 0
    run_id = again.stderr.strip().splitlines()[-1].rpartition("/")[2]
    assert prefect_server.call_api("GET", f"flow_runs/{run_id}")["name"] == "transcribe in: nothing new"
    assert own_local_server.bill()["requests"] == 3


@pytest.mark.long
def test_a_run_that_cannot_start_is_a_failed_flow_run_with_the_error(
    prefect_server: PrefectServer, tmp_path: Path
) -> None:
    make_wavs(tmp_path / "in", 1)
    (tmp_path / "empty").mkdir()
    done = prefect_server.cli(
        "transcribe", tmp_path / "empty", "--out", tmp_path / "out", "--provider", "local", "--prefect"
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr + done.stdout
    run = prefect_server.newest_run("transcribe empty")
    assert run is not None
    assert run["state"]["type"] == "FAILED"
    assert str(tmp_path / "empty") in run["state"]["message"]
    assert run["state"]["message"].splitlines()[0].partition(" (")[0] in done.stderr


@pytest.mark.long
def test_a_flow_called_from_python_returns_its_summary_without_a_server(tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 2)
    code = (
        "from mediamill.flows.transcribe import transcribe\n"
        f"told = transcribe({str(tmp_path / 'in')!r}, out={str(tmp_path / 'out')!r}, provider='local', "
        "model='pocketsphinx', params={'language': 'en'}, options={'concurrency': 2})\n"
        "print(told['done'], told['state'])\n"
    ) + PROBE
    own_server = {"ANALYTICS_ENABLED": "false", "EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120"}
    env = bare_environment(tmp_path / "home", **{f"PREFECT_SERVER_{name}": value for name, value in own_server.items()})
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=150, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    refused = [f"{sender} {status} None" for sender in ("page", "rebound", "user") for status in (401, 403)]
    assert done.stdout.splitlines() == ["2 done", *refused, "own flow 5"]
    assert len(pd.read_parquet(tmp_path / "out" / "results")) == 2


@pytest.mark.long
def test_a_key_is_taken_from_a_secret_block(
    prefect_server: PrefectServer, own_local_server: RunningServer, tmp_path: Path
) -> None:
    make_wavs(tmp_path / "in", 2)
    base_url = f"{own_local_server.origin}/together/v1"
    code = (
        "import sys; from prefect.blocks.system import Secret; from mediamill.flows.transcribe import transcribe\n"
        "name = 'together-' + sys.argv[1]\n"
        "Secret(value=sys.stdin.read()).save(name)\n"
        "for block in ('no-such-block', name):\n"
        f"    state = transcribe({str(tmp_path / 'in')!r}, out={str(tmp_path / 'out')!r}, provider='together', "
        f"budget=1, options={{'base_url': {base_url!r}, 'api_key_block': block}}, return_state=True)\n"
        "    print(state.name, state.message)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(os.getpid())],
        env=prefect_server.env(TOGETHER_API_KEY=""),
        input=SENTINEL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    refused, state = done.stdout.splitlines()
    assert refused.startswith("Refused Prefect has no Secret block 'no-such-block'"), done.stderr
    assert state.startswith("Completed done: 2 done"), done.stderr
    assert SENTINEL not in done.stdout + done.stderr
    run = prefect_server.newest_run("transcribe in: 2 items")
    assert run is not None
    assert SENTINEL not in json.dumps([run, prefect_server.logs(run["id"]), prefect_server.artifacts(run["id"])])


@pytest.mark.long
def test_prefect_and_no_prefect_choose_whether_a_run_needs_the_api(
    prefect_server: PrefectServer, tmp_path: Path
) -> None:
    make_wavs(tmp_path / "in", 1)
    command = ("transcribe", tmp_path / "in", "--out", tmp_path / "out", "--provider", "local")
    unreachable = "http://127.0.0.1:9/api"
    inline = prefect_server.cli(*command, PREFECT_API_URL=unreachable)
    assert inline.returncode == 0
    assert f"inline run, because Prefect at {unreachable} does not answer" in inline.stderr.splitlines()[0]
    refused = prefect_server.cli(*command, "--prefect", PREFECT_API_URL=unreachable)
    assert refused.returncode == 4
    assert "does not answer" in refused.stderr
    unknown = prefect_server.cli(*command, "--prefect", PREFECT_API_URL="")
    assert unknown.returncode == 2
    assert "mediamill up" in unknown.stderr
    without = prefect_server.cli(*command, "--no-prefect")
    assert "inline run;" in without.stderr.splitlines()[0]
