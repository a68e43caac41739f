"""``mediamill retry`` with another model, which holds for the retried items alone."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.helpers.cli_runs import make_wavs, mediamill, read_rows, transcribe
from tests.helpers.local_server import RunningServer

OTHER_MODEL = "nvidia/parakeet-tdt-0.6b-v3"


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together"}


@pytest.mark.long
def test_a_retry_with_another_model_does_the_failed_items_and_keeps_the_binding(
    own_local_server: RunningServer, tmp_path: Path
) -> None:
    make_wavs(tmp_path / "in", 4)
    out, home = tmp_path / "out", tmp_path / "home"
    own_local_server.faults({"match": {"nth": 2}, "fault": {"kind": "status", "status": 422}, "times": 1})
    assert transcribe(tmp_path / "in", out, own_local_server.origin).returncode == 3
    [failure] = read_rows(out, "failures")
    again = mediamill("retry", out, "--only", failure["error_kind"], "--model", OTHER_MODEL, "--yes", home=home)
    assert again.returncode == 0, again.stderr
    results = pd.read_parquet(out / "results").set_index("item_id")
    assert results.model.value_counts().to_dict() == {"openai/whisper-large-v3": 3, OTHER_MODEL: 1}
    assert results.model[failure["item_id"]] == OTHER_MODEL
    calls = own_local_server.bill()["requests"]
    rerun = transcribe(tmp_path / "in", out, own_local_server.origin)
    assert rerun.returncode == 0, rerun.stderr
    assert "4 needed nothing" in rerun.stdout
    assert own_local_server.bill()["requests"] == calls == 5


def test_retrying_flagged_results_needs_flags(own_local_server: RunningServer, tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 1)
    out, home = tmp_path / "out", tmp_path / "home"
    assert transcribe(tmp_path / "in", out, own_local_server.origin).returncode == 0
    none = mediamill("retry", out, "--only", "flagged", "--model", OTHER_MODEL, home=home)
    assert none.returncode == 2
    assert "no result carries a flag" in none.stderr


def write_silence(path: Path, seconds: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(bytes(32000 * seconds))


@pytest.mark.long
def test_flagged_results_stay_until_another_model_succeeds(own_local_server: RunningServer, tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 2)  # too short to be judged
    write_silence(tmp_path / "in" / "quiet.wav", 4)  # the echo engine returns words for it all the same
    out, home = tmp_path / "out", tmp_path / "home"
    assert transcribe(tmp_path / "in", out, own_local_server.origin).returncode == 0
    flagged = [row["item_id"] for row in read_rows(out) if row["flags"]]
    assert flagged == ["quiet.wav"]
    same = mediamill("retry", out, "--only", "flagged", home=home)
    assert same.returncode == 2
    assert "--model" in same.stderr
    own_local_server.faults({"match": {"nth": 1}, "fault": {"kind": "status", "status": 422}, "times": 1})
    failed = mediamill("retry", out, "--only", "flagged", "--model", OTHER_MODEL, "--yes", home=home)
    assert "Traceback" not in failed.stderr
    assert {row["model"] for row in read_rows(out)} == {"openai/whisper-large-v3"}
    assert not read_rows(out, "failures")
    better = mediamill("retry", out, "--only", "flagged", "--model", OTHER_MODEL, "--yes", home=home)
    assert better.returncode == 0, better.stderr
    models = {row["item_id"]: row["model"] for row in read_rows(out)}
    assert models == {
        "0000.wav": "openai/whisper-large-v3",
        "0001.wav": "openai/whisper-large-v3",
        "quiet.wav": OTHER_MODEL,
    }
    assert "3 needed nothing" in transcribe(tmp_path / "in", out, own_local_server.origin).stdout
    assert own_local_server.bill()["requests"] == 5
