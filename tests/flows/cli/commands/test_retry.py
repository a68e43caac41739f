"""``mediamill retry`` with another model, which holds for the retried items alone."""

from __future__ import annotations

import json
import sqlite3
import wave
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import mediamill as package
from mediamill.tasks.errors import RunWarning
from tests.helpers.cli_runs import make_wavs, mediamill, read_rows, transcribe
from tests.helpers.local_server import RunningServer
from tests.helpers.tiers import mark_rest_long

OTHER_MODEL = "nvidia/parakeet-tdt-0.6b-v3"


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together"}


@pytest.mark.long
def test_a_retry_with_another_model_does_the_failed_items_and_keeps_the_binding(
    local_server: RunningServer, tmp_path: Path
) -> None:
    make_wavs(tmp_path / "in", 4)
    out, home = tmp_path / "out", tmp_path / "home"
    local_server.faults({"match": {"nth": 2}, "fault": {"kind": "status", "status": 422}, "times": 1})
    assert transcribe(tmp_path / "in", out, local_server.origin).returncode == 3
    [failure] = read_rows(out, "failures")
    again = mediamill("retry", out, "--only", failure["error_kind"], "--model", OTHER_MODEL, "--yes", home=home)
    assert again.returncode == 0, again.stderr
    results = pd.read_parquet(out / "results").set_index("item_id")
    assert results.model.value_counts().to_dict() == {"openai/whisper-large-v3": 3, OTHER_MODEL: 1}
    assert results.model[failure["item_id"]] == OTHER_MODEL
    calls = local_server.bill()["requests"]
    rerun = transcribe(tmp_path / "in", out, local_server.origin)
    assert rerun.returncode == 0, rerun.stderr
    assert "4 unchanged" in rerun.stdout
    assert local_server.bill()["requests"] == calls == 5


@pytest.mark.parametrize("kind", mark_rest_long(["flagged", "timeout"], ["flagged"]))
def test_a_retry_of_a_kind_that_no_item_has_says_so(kind: str, local_server: RunningServer, tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 1)
    out, home = tmp_path / "out", tmp_path / "home"
    assert transcribe(tmp_path / "in", out, local_server.origin).returncode == 0
    none = mediamill("retry", out, "--only", kind, "--model", OTHER_MODEL, home=home)
    assert none.returncode == 0
    assert f"nothing to retry: no item of {out} is {kind}; none has failed" in none.stdout
    mistyped = mediamill("retry", out, "--only", "flaged", home=home)
    assert (mistyped.returncode, mistyped.stdout.endswith("did you mean 'flagged'?\n")) == (0, True)
    with pytest.warns(RunWarning, match="did you mean 'outdated'"):
        package.retry(out, only="outdatet")
    assert local_server.bill()["requests"] == 1


def write_silence(path: Path, seconds: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(bytes(32000 * seconds))


@pytest.mark.long
def test_flagged_results_stay_until_another_model_succeeds(local_server: RunningServer, tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 2)  # too short to be judged
    write_silence(tmp_path / "in" / "quiet.wav", 4)  # the echo engine returns words for it all the same
    out, home = tmp_path / "out", tmp_path / "home"
    assert transcribe(tmp_path / "in", out, local_server.origin).returncode == 0
    flagged = [row["item_id"] for row in read_rows(out) if row["flags"]]
    assert flagged == ["quiet.wav"]
    same = mediamill("retry", out, "--only", "flagged", home=home)
    assert same.returncode == 2
    assert "--model" in same.stderr
    local_server.faults({"match": {"nth": 1}, "fault": {"kind": "status", "status": 422}, "times": 1})
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
    assert "3 unchanged" in transcribe(tmp_path / "in", out, local_server.origin).stdout
    assert local_server.bill()["requests"] == 5


@pytest.mark.long
def test_failures_of_an_older_program_go_by_the_name_their_kind_has_now(tmp_path: Path) -> None:
    manifest = tmp_path / "in.csv"
    manifest.write_text("text,seed\nhello,one\nworld,2\n")
    out, home = tmp_path / "out", tmp_path / "home"
    command = ("complete", manifest, "--provider", "local", "--out", out)
    assert mediamill(*command, home=home).returncode == 3
    with sqlite3.connect(out / ".journal" / "journal.sqlite") as journal:
        (row,) = journal.execute("SELECT failure FROM items WHERE state = 'failed'").fetchone()
        old = row.replace(b'"error_kind":"wrong_row"', b'"error_kind":"bad_row"')
        assert old != row
        journal.execute("UPDATE items SET error_kind = 'bad_row', failure = ? WHERE state = 'failed'", (old,))
    assert json.loads(mediamill("status", out, "--json", home=home).stdout)["by_kind"] == {"wrong_row": 1}
    for kind in ("bad_row", "wrong_row"):
        again = mediamill("retry", out, "--only", kind, home=home)
        assert again.returncode == 3, again.stderr
        assert "1 wrong_row, row-1" in again.stdout
    assert [row["error_kind"] for row in read_rows(out, "failures")] == ["wrong_row"]
