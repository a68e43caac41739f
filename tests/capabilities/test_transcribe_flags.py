"""Flags of transcripts on the command line: in Parquet, in the summary, on the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.audio_files import syllables, to_wav
from tests.helpers.cli_runs import make_wavs, mediamill, read_rows, transcribe
from tests.helpers.local_server import RunningServer
from tests.helpers.paths import SAMPLES

BROKEN = SAMPLES / "broken"


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together"}


def set_answers(server: RunningServer, **by_name: dict[str, Any]) -> None:
    """Set the server's transcript for each file."""
    server.faults(
        *(
            {"match": {"filename": f"{name}.wav"}, "fault": {"kind": "status", "status": 200, "body": body}}
            for name, body in by_name.items()
        )
    )


def test_each_flag_is_in_parquet_the_summary_and_the_page(local_server: RunningServer, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    spoken = ("good", "loop", "mute", "foreign", "hasty", "sparse")
    for n, name in enumerate(spoken):
        (source / f"{name}.wav").write_bytes(to_wav(syllables(12, seed=n)))
    (source / "silence.wav").write_bytes(to_wav(np.zeros(16_000 * 5, np.int16)))
    (source / "cut.flac").write_bytes((BROKEN / "cut-off.flac").read_bytes())
    make_wavs(source, 1)
    set_answers(
        local_server,
        loop={"text": "Thank you. " * 12, "language": "en"},
        mute={"text": "", "language": "en"},
        foreign={"text": "Доброе утро, коллеги, начнём наше собрание", "language": "ru"},
        hasty={"text": " ".join(f"word{n}" for n in range(120)), "language": "en"},
        sparse={"text": "Hm. Hello.", "language": "en"},
    )
    done = transcribe(source, out, local_server.origin, "--language", "en")
    assert done.returncode == 0, done.stderr
    flags_by_name = {Path(row["item_id"]).stem: row["flags"] for row in read_rows(out)}
    assert flags_by_name == {
        "0000": [],
        "good": [],
        "loop": ["repetition"],
        "mute": ["speech_without_text"],
        "foreign": ["language_mismatch"],
        "hasty": ["too_many_words"],
        "sparse": ["too_few_words"],
        "silence": ["text_without_speech"],
        "cut": ["truncated"],
    }
    [line] = [line for line in done.stdout.splitlines() if line.startswith("worth a look: ")]
    assert all(f"1 {flags[0]}" in line for flags in flags_by_name.values() if flags)
    page = (out / "report.html").read_text()
    assert "the same words again and again: a model in a loop" in page
    assert page.count("the file ends early") == 1
    speech_seconds = {row["item_id"]: row["speech_seconds"] for row in read_rows(out)}
    assert speech_seconds["good.wav"] == pytest.approx(12, abs=1)
    assert speech_seconds["silence.wav"] == 0
    assert speech_seconds["0000.wav"] is None


def test_flags_are_counted_in_json_and_are_not_failures(local_server: RunningServer, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for n in range(3):
        (source / f"{n}.wav").write_bytes(to_wav(syllables(4, seed=n)))
    set_answers(local_server, **{"1": {"text": ""}, "2": {"text": ""}})
    done = transcribe(source, out, local_server.origin, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["flags"] == {"speech_without_text": 2}
    record = json.loads(next((out / "runs").glob("*.json")).read_text())
    assert record["summary"]["flags"] == {"speech_without_text": 2}
    rerun = transcribe(source, out, local_server.origin)
    assert "worth a look" not in rerun.stdout


@pytest.mark.long
def test_a_retry_with_a_bigger_model_removes_the_flag(local_server: RunningServer, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("good", "mute"):
        (source / f"{name}.wav").write_bytes(to_wav(syllables(4, seed=len(name) + ord(name[0]))))
    set_answers(local_server, mute={"text": ""})
    assert transcribe(source, out, local_server.origin).returncode == 0
    local_server.faults()
    other_model = "nvidia/parakeet-tdt-0.6b-v3"
    retried = mediamill("retry", out, "--only", "flagged", "--model", other_model, "--yes", home=tmp_path / "home")
    assert retried.returncode == 0, retried.stderr
    assert {row["item_id"]: (row["model"] == other_model, row["flags"]) for row in read_rows(out)} == {
        "good.wav": (False, []),
        "mute.wav": (True, []),
    }


def test_a_translation_is_checked_against_its_target_language(local_server: RunningServer, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "same.wav").write_bytes(to_wav(syllables(4)))
    set_answers(local_server, same={"text": "Guten Morgen, liebe Kollegen", "language": "german"})
    done = mediamill(
        *("translate", source, "--language", "de", "--provider", "together", "--base-url", local_server.origin),
        *("--out", out, "--yes"),
        home=tmp_path / "home",
    )
    assert done.returncode == 0, done.stderr
    [row] = read_rows(out)
    assert (row["language"], row["flags"]) == ("de", ["language_mismatch"])


@pytest.mark.long
def test_a_long_recording_with_a_lost_middle_is_flagged(local_server: RunningServer, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "long.wav").write_bytes(to_wav(syllables(300)))
    empty = {"text": "", "segments": [], "words": [], "duration": 100}
    local_server.faults({"match": {"nth": 2}, "fault": {"kind": "status", "status": 200, "body": empty}})
    done = transcribe(source, out, local_server.origin, "--set", "piece_seconds=100", "--concurrency", "1")
    assert done.returncode == 0, done.stderr
    [row] = read_rows(out)
    assert row["pieces"] >= 3
    assert row["flags"] == ["speech_without_text"]
