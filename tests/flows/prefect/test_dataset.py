"""A chain as a flow: its steps are flow runs inside it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.faults.driving import make_wavs
from tests.flows.prefect.driving import Deck
from tests.servers import RunningServer


@pytest.mark.long
def test_a_deployed_chain_runs_its_steps_as_flows(deck: Deck, server: RunningServer, tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 4)
    where = {"provider": "together", "base_url": f"{server.origin}/together/v1"}
    steps = [
        {"name": "heard", "task": {"capability": "transcribe", **where}, "keep": "item_id != '0000.wav'"},
        {"name": "english", "task": {"capability": "translate", **where}},
    ]
    path = tmp_path / "chain.yaml"
    path.write_text(yaml.safe_dump({"source": str(tmp_path / "in"), "out": str(tmp_path / "out"), "steps": steps}))
    made = deck.cli("deploy", path, "--pool", "chains")
    assert made.returncode == 0, made.stderr
    assert "dataset/chain" in made.stdout
    deployment = deck.ask("GET", "deployments/name/dataset/chain")
    run = deck.ask("POST", f"deployments/{deployment['id']}/create_flow_run", {})
    worked = deck.work_once("chains")
    state = deck.ended(run["id"])
    assert state["type"] == "COMPLETED", worked
    assert "3 rows" in state["message"]
    names = {run["name"] for run in deck.runs()}
    assert {"transcribe in: 4 items", "translate manifest.parquet: 3 items"} <= names
    assert len(pd.read_parquet(tmp_path / "out" / "results")) == 3
