"""A chain as a flow: its steps are subflow runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tests.flows.prefect_runtime.prefect_server import PrefectServer
from tests.helpers.cli_runs import make_wavs
from tests.helpers.local_server import RunningServer


@pytest.mark.long
def test_a_deployed_chain_runs_its_steps_as_subflows(
    prefect_server: PrefectServer, own_local_server: RunningServer, tmp_path: Path
) -> None:
    make_wavs(tmp_path / "in", 4)
    where = {"provider": "together", "base_url": f"{own_local_server.origin}/together/v1"}
    steps = [
        {"name": "heard", "task": {"capability": "transcribe", **where}, "keep": "item_id != '0000.wav'"},
        {"name": "english", "task": {"capability": "translate", **where}},
    ]
    path = tmp_path / "chain.yaml"
    chain = {"source": str(tmp_path / "in"), "out": str(tmp_path / "out"), "steps": steps}
    path.write_text(yaml.safe_dump(chain))
    refused = prefect_server.cli("deploy", path, "--pool", "chains")
    assert refused.returncode == 2
    assert "budget: USD, or confirmed: true" in refused.stderr
    path.write_text(yaml.safe_dump({**chain, "budget": 5}))
    deployed = prefect_server.cli("deploy", path, "--pool", "chains")
    assert deployed.returncode == 0, deployed.stderr
    assert "dataset/chain" in deployed.stdout
    deployment = prefect_server.call_api("GET", "deployments/name/dataset/chain")
    run = prefect_server.call_api("POST", f"deployments/{deployment['id']}/create_flow_run", {})
    worker_output = prefect_server.run_worker_once("chains")
    state = prefect_server.wait_for_end(run["id"])
    assert state["type"] == "COMPLETED", worker_output
    assert "3 rows" in state["message"]
    assert "chain: at least $" in worker_output
    names = {run["name"] for run in prefect_server.flow_runs()}
    assert {"transcribe in: 4 items", "translate manifest.parquet: 3 items"} <= names
    assert len(pd.read_parquet(tmp_path / "out" / "results")) == 3


CALL_DATASET = """
import json, sys
from prefect.exceptions import FailedRun
from mediamill.flows.dataset import dataset
from mediamill.tasks.errors import UsageError

for chain in map(json.loads, sys.argv[1:]):
    try:
        told = dataset(chain)
    except UsageError as error:
        told = {"refused": str(error)}
    except FailedRun as error:
        told = {"stopped": str(error)}
    print(json.dumps(told))
print(json.dumps(dataset(chain, return_state=True).name))
"""


@pytest.mark.long
def test_a_chain_called_from_python_returns_its_result_or_raises_the_refusal(
    prefect_server: PrefectServer, own_local_server: RunningServer, tmp_path: Path
) -> None:
    make_wavs(tmp_path / "in", 2)
    task = {"capability": "transcribe", "provider": "together", "base_url": f"{own_local_server.origin}/together/v1"}

    def chain(out: str, **more: Any) -> str:
        steps = [{"name": "heard", "task": task}]
        return json.dumps({"source": str(tmp_path / "in"), "out": str(tmp_path / out), "steps": steps, **more})

    chains = (chain("out"), chain("dear", budget="0.000001"), chain("bad", stepps=[]))
    command = [sys.executable, "-c", CALL_DATASET, *chains]
    done = subprocess.run(command, env=prefect_server.env(), capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    complete, over_budget, refused, state = map(json.loads, done.stdout.splitlines())
    assert (complete["exit_code"], complete["rows"], complete["out"]) == (0, 2, str(tmp_path / "out"))
    assert complete["steps"][0]["runs"]["heard"]["done"] == 2
    assert "budget" in over_budget["stopped"]
    assert "stepps" in refused["refused"]
    assert state == "Refused"
