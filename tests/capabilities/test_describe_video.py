"""Descriptions of videos on the command line: sent whole or as frames, with audio, in windows."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.frames import extract_frames, find_scene_times, read_video_info, spread_times
from tests.helpers.cli_runs import mediamill, read_rows
from tests.helpers.local_server import RunningServer, running_server
from tests.helpers.paths import SAMPLES
from tests.helpers.run_checks import assert_ledger_equals_bill
from tests.helpers.timed_media import Pictures, Sound, write_timed_media

MODEL, TRANSCRIPTION_MODEL = "Qwen/Qwen3.5-9B", "openai/whisper-large-v3"
DAY = SAMPLES / "videos" / "day.mp4"


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together", "price": [f"{MODEL}=0.17/0.25", f"{TRANSCRIPTION_MODEL}=0.0015"]}


def describe(source: Path, out: Path, server: RunningServer, *options: str) -> Any:
    where = ("--provider", "together", "--base-url", server.origin, "--out", out, "--yes")
    return mediamill("describe-video", source, *where, *options, home=out.parent / "home")


def test_frames_are_sent_with_their_times_and_the_transcript(local_server: RunningServer, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    shutil.copy2(DAY, source)
    silent = write_timed_media(source / "silent.mp4", "mp4", [], Pictures(seconds=2))
    os.utime(silent, (0, 0))  # no file that is still being written
    done = describe(source, out, local_server, "--frames", "3", "--with-audio")
    assert done.returncode == 0, done.stderr
    row, silent_row = sorted(read_rows(out), key=lambda row: str(row["item_id"]))
    assert silent_row["transcript"] is None
    assert silent_row["warnings"] == ["audio: the video has no sound track, so there is no transcript"]
    assert (row["width"], row["height"], row["whole"], row["format"]) == (320, 240, False, "mov")
    assert row["shown_at"] == pytest.approx([1, 3, 5], abs=0.05)
    assert row["text"].count("image") == 3
    assert row["transcript"]
    assert {call["path"].rpartition("/")[2] for call in local_server.bill()["calls"]} == {
        "completions",
        "transcriptions",
    }
    assert_ledger_equals_bill(out, local_server)


@pytest.mark.long
def test_the_sound_track_that_was_chosen_is_transcribed(local_server: RunningServer, tmp_path: Path) -> None:
    tracks = [Sound([(0, 2)], language="eng"), Sound([(0, 1)], language="deu")]
    path = write_timed_media(tmp_path / "two.mp4", "mp4", tracks, Pictures(seconds=2))
    refused = describe(path, tmp_path / "none", local_server, "--with-audio", "--audio-track", "3")
    assert refused.returncode == 3, refused.stderr
    assert "no sound track '3'" in refused.stdout + refused.stderr
    done = describe(path, tmp_path / "out", local_server, "--frames", "1", "--with-audio", "--audio-track", "de")
    assert done.returncode == 0, done.stderr
    (row,) = read_rows(tmp_path / "out")
    assert row["warnings"] == ["tracks: number 2 of 2 audio tracks was taken (de)"]
    alone = describe(path, tmp_path / "alone", local_server, "--audio-track", "de")
    assert alone.returncode == 2
    assert "give both" in alone.stderr


def test_a_template_that_cannot_be_filled_costs_nothing(local_server: RunningServer, tmp_path: Path) -> None:
    done = describe(DAY.parent, tmp_path / "out", local_server, "--with-audio", "--prompt", "{{ nowhere }}")
    assert done.returncode == 2, done.stderr
    assert "prompt: unknown column 'nowhere'" in done.stderr
    assert local_server.bill()["calls"] == []
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_long_videos_are_described_in_windows_and_summarised(local_server: RunningServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    quoted = describe(DAY, out, local_server, "--window", "5", "--frames", "2", "--quote", "--json")
    assert quoted.returncode == 0
    assert describe(DAY, out, local_server, "--window", "5", "--frames", "2").returncode == 0
    (row,) = read_rows(out)
    (first, second) = row["windows"]
    assert (first["start"], first["end"], second["end"]) == (0, second["start"], pytest.approx(6))
    bill = local_server.bill()
    assert bill["billed"] == 3
    assert Decimal(str(bill["usd"])) <= Decimal(json.loads(quoted.stdout)["high_usd"])


@pytest.mark.long
def test_an_endpoint_that_takes_videos_gets_them_whole(local_server: RunningServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with running_server(engine="echo", dialect="compatible") as own:
        where = ("--provider", "compatible", "--base-url", own.origin, "--model", "any", "--out", out)
        done = mediamill("describe-video", DAY, *where, "--yes", home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    (row,) = read_rows(out)
    assert (row["whole"], "echo of video" in row["text"]) == (True, True)
    refused = describe(DAY, tmp_path / "other", local_server, "--whole")
    assert refused.returncode == 3
    assert "it takes no videos" in refused.stdout


def test_a_file_that_is_no_video_costs_nothing(local_server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "cut.mp4").write_bytes(DAY.read_bytes()[:400])
    shutil.copy(SAMPLES / "recordings" / "keys.m4a", tmp_path / "in" / "sound.mp4")
    (tmp_path / "in" / "text.mp4").write_text("no video")
    done = describe(tmp_path / "in", tmp_path / "out", local_server)
    assert done.returncode == 3
    error_kinds = {row["item_id"]: row["error_kind"] for row in read_rows(tmp_path / "out", "failures")}
    assert error_kinds == {"cut.mp4": "undecodable", "sound.mp4": "no_video", "text.mp4": "not_a_video"}
    assert local_server.bill()["requests"] == 0


def test_the_greatest_scene_changes_are_found() -> None:
    seconds = read_video_info(DAY).seconds
    assert any(3.9 < at < 4.7 for at in find_scene_times(DAY, 0, seconds, 2))
    assert spread_times(0, 10, frames=2) == [2.5, 7.5]
    assert spread_times(0, 10, frames=2, every=4) == [0, 4, 8]
    late = extract_frames(DAY, [100.0], 64)[0]
    assert (late.width, late.height) == (64, 48)


@pytest.mark.parametrize("end", [0, 1, 100, 2000, 20_000])
def test_a_video_truncated_anywhere_gives_frames_or_a_clear_error(end: int, tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(DAY.read_bytes()[:end])
    with contextlib.suppress(BadInput):
        assert extract_frames(path, [0.5], 64)
