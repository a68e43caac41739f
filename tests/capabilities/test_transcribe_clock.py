"""Times of transcripts on the command line: on the file's own clock, for nothing where they were bought before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.audio_files import syllables, to_wav
from tests.helpers.cli_runs import read_rows, transcribe
from tests.helpers.local_server import RunningServer
from tests.helpers.timed_media import Pictures, Sound, write_timed_media

WORDS = [{"word": "Good", "start": 0.5, "end": 0.9}, {"word": "morning.", "start": 1.2, "end": 1.6}]
ANSWER = {
    "text": "Good morning.",
    "language": "en",
    "duration": 2.0,
    "words": WORDS,
    "segments": [{"id": 0, "start": 0.5, "end": 1.6, "text": "Good morning."}],
}


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together"}


def set_answer(server: RunningServer) -> None:
    server.faults({"match": {}, "fault": {"kind": "status", "status": 200, "body": ANSWER}})


def test_words_segments_and_cues_are_on_the_files_clock(local_server: RunningServer, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    write_timed_media(source / "late.mkv", "matroska", [Sound([(5, 7)], "libopus")], Pictures(seconds=8))
    set_answer(local_server)
    done = transcribe(source, out, local_server.origin, "--subtitles", "srt")
    assert done.returncode == 0, done.stderr
    (row,) = read_rows(out)
    assert [word["start"] for word in row["words"]] == pytest.approx([5.5, 6.2], abs=0.05)
    assert row["segments"][0]["end"] == pytest.approx(6.6, abs=0.05)
    assert (row["warnings"], row["audio_track"]) == ([], 1)
    assert "truncated" not in row["flags"]
    assert row["audio_seconds"] == pytest.approx(2, abs=0.05)
    (cues,) = out.glob("media/**/*.srt")
    assert "00:00:05," in cues.read_text()


def test_a_long_recording_that_starts_late_has_its_pieces_on_the_files_clock(
    local_server: RunningServer, tmp_path: Path
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    write_timed_media(source / "x.mkv", "matroska", [Sound([(5, 11), (14, 20)], "libopus")], Pictures(seconds=21))
    set_answer(local_server)
    done = transcribe(source, out, local_server.origin, "--set", "piece_seconds=6")
    assert done.returncode == 0, done.stderr
    (row,) = read_rows(out)
    assert row["pieces"] > 2
    assert row["audio_seconds"] == pytest.approx(15, abs=0.1)
    assert row["words"][0]["start"] == pytest.approx(5.5, abs=0.05)
    assert row["recipe"] == "flac-16000-mono-gaps"


def test_a_track_is_chosen_by_its_language_and_one_that_is_not_there_costs_nothing(
    local_server: RunningServer, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    sounds = [Sound([(0, 2)], "libopus", "deu"), Sound([(0, 3)], "libopus", "eng")]
    write_timed_media(source / "x.mkv", "matroska", sounds)
    set_answer(local_server)
    done = transcribe(source, tmp_path / "out", local_server.origin, "--audio-track", "en")
    assert done.returncode == 0, done.stderr
    (row,) = read_rows(tmp_path / "out")
    assert row["audio_track"] == 2
    assert row["audio_seconds"] == pytest.approx(3, abs=0.05)
    n_calls = len(local_server.bill()["calls"])
    refused = transcribe(source, tmp_path / "other", local_server.origin, "--audio-track", "3")
    assert refused.returncode == 3
    (failure,) = read_rows(tmp_path / "other", "failures")
    assert failure["error_kind"] == "no_such_track"
    assert "1: deu, opus, mono; 2: eng, opus, mono" in failure["error_message"]
    assert len(local_server.bill()["calls"]) == n_calls


def test_opposite_phase_is_heard_and_told(local_server: RunningServer, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    left = syllables(3)
    (source / "x.wav").write_bytes(to_wav(np.stack([left, -left], axis=1).reshape(-1), channels=2))
    set_answer(local_server)
    assert transcribe(source, out, local_server.origin).returncode == 0
    (row,) = read_rows(out)
    assert row["speech_seconds"] > 1
    assert row["recipe"] == "flac-16000-mono-channel"
    assert "only channel 1 was taken" in row["warnings"][0]
