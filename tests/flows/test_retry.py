"""Retry with another model: for the items it names alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.faults.driving import make_wavs, mediamill, rows, transcribe
from tests.servers import RunningServer, running_server

OTHER = "nvidia/parakeet-tdt-0.6b-v3"


@pytest.fixture
def server() -> Iterator[RunningServer]:
    with running_server(engine="echo", dialect="together") as running:
        yield running


def test_another_model_does_what_failed_and_out_stays_bound(server: RunningServer, tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 4)
    out, home = tmp_path / "out", tmp_path / "home"
    server.faults({"match": {"nth": 2}, "fault": {"kind": "status", "status": 422}, "times": 1})
    assert transcribe(tmp_path / "in", out, server.origin).returncode == 3
    [failure] = rows(out, "failures")
    again = mediamill("retry", out, "--only", failure["error_kind"], "--model", OTHER, "--yes", home=home)
    assert again.returncode == 0, again.stderr
    results = pd.read_parquet(out / "results").set_index("item_id")
    assert results.model.value_counts().to_dict() == {"openai/whisper-large-v3": 3, OTHER: 1}
    assert results.model[failure["item_id"]] == OTHER
    calls = server.bill()["requests"]
    rerun = transcribe(tmp_path / "in", out, server.origin)
    assert rerun.returncode == 0, rerun.stderr
    assert "4 needed nothing" in rerun.stdout
    assert server.bill()["requests"] == calls == 5


def test_flagged_needs_flags_and_another_model(server: RunningServer, tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 1)
    out, home = tmp_path / "out", tmp_path / "home"
    assert transcribe(tmp_path / "in", out, server.origin).returncode == 0
    none = mediamill("retry", out, "--only", "flagged", "--model", OTHER, home=home)
    assert none.returncode == 2
    assert "no result carries a flag" in none.stderr
