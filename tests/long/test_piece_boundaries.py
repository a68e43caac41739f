"""No word is lost, doubled or moved, whatever the pieces. The engine that recognises numbered words checks it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mediamill.tasks.media.encode import RATE
from tests.helpers.cli_runs import read_rows, transcribe
from tests.helpers.local_server import RunningServer
from tests.helpers.tiers import mark_rest_long
from tests.long.numbered_recordings import NumberedWords, write_encoded, write_wav
from tests.long.transcribe_runs import ENGINE, get_word_positions, transcribe_to_row

PRICE = ("openai/whisper-large-v3", "0.0015")


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"engine": ENGINE, "dialect": "together", "price": [PRICE], "workers": 1}


@pytest.mark.parametrize(
    ("piece", "overlap"), mark_rest_long([(5, 0), (7.3, 0), (20, 0), (20, 2.5), (11, 3), (89, 0), (1000, 5)], [(11, 3)])
)
def test_every_word_is_where_it_was_said(
    piece: float, overlap: float, local_server: RunningServer, tmp_path: Path
) -> None:
    numbered = NumberedWords(90)
    path = write_wav(tmp_path / "in" / "talk.wav", numbered)
    options = ("--set", f"piece_seconds={piece}", "--overlap", str(overlap))
    row = transcribe_to_row(path, tmp_path / "out", local_server, *options)
    assert get_word_positions(row) == numbered.words()
    assert row["text"] == " ".join(word for word, _ in numbered.words())
    assert [s["id"] for s in row["segments"]] == list(range(len(row["segments"])))
    assert " ".join(s["text"] for s in row["segments"]) == row["text"]
    assert row["audio_seconds"] == row["duration_s"] == 90
    bill = local_server.bill()
    assert row["pieces"] == bill["requests"]
    assert (row["pieces"] == 1) == (piece > 90)
    assert (row["recipe"] == "as-is") == (piece > 90)
    assert row["cost_usd"] == Decimal(bill["usd"])


@pytest.mark.long
def test_without_pauses_an_overlap_saves_the_words_that_are_cut(local_server: RunningServer, tmp_path: Path) -> None:
    numbered = NumberedWords(60, pauses=(1_000, 1_400), noise=0)
    path = write_wav(tmp_path / "in" / "fast.wav", numbered)
    row = transcribe_to_row(path, tmp_path / "out", local_server, "--set", "piece_seconds=9", "--overlap", "2")
    assert get_word_positions(row) == numbered.words()


FILES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "phone.wav": ("wav", "pcm_mulaw", {"rate": 8_000}),
    "sides.wav": ("wav", "pcm_s16le", {"sides": True, "rate": 44_100}),
    "film.mp4": ("mp4", "aac", {"video": True, "rate": 44_100}),
    "film.webm": ("webm", "libopus", {"rate": 48_000}),
    "vbr.mp3": ("mp3", "mp3", {"rate": 44_100, "options": {"write_xing": "0"}, "codec_options": {"q": "4"}}),
    "noedits.m4a": ("mp4", "aac", {"rate": 48_000, "options": {"use_editlist": "0"}}),
    "raw.aac": ("adts", "aac", {"rate": 44_100}),
}
NAMES = (
    "meeting.flac,Besprechung für Jürgen.flac,réunion à l'été.flac,reunión mañana.flac,riunione città.flac,"
    "reunião manhã.flac,vergadering in de ochtend.flac,spotkanie żółć.flac,встреча.flac,зустріч ї.flac,会議録音.flac,"
    "회의 녹음.flac,会议录音.flac,اجتماع.flac,बैठक.flac,görüşme.flac,möte åäö.flac,συνάντηση.flac,פגישה.flac,"
    "การประชุม.flac,cuộc họp.flac,meeting 🎙.flac"
)


def transcribe_folder(source: Path, out: Path, server: RunningServer, *options: str) -> dict[str, dict[str, Any]]:
    """The rows of a run over a folder that must succeed, by item."""
    done = transcribe(source, out, server.origin, *options)
    assert done.returncode == 0, done.stderr
    return {row["item_id"]: row for row in read_rows(out)}


@pytest.mark.long
def test_in_any_file_no_word_is_lost_doubled_or_moved(local_server: RunningServer, tmp_path: Path) -> None:
    """Positions are compared with those of the uncut recording, because codecs add samples at the beginning."""
    numbered = {name: NumberedWords(30, seed=n) for n, name in enumerate(FILES)}
    for name, (form, codec, more) in FILES.items():
        write_encoded(tmp_path / "in" / name, numbered[name], form, codec, **more)
    uncut = transcribe_folder(tmp_path / "in", tmp_path / "whole", local_server)
    cut = transcribe_folder(tmp_path / "in", tmp_path / "out", local_server, "--set", "piece_seconds=9")
    assert uncut.keys() == cut.keys() == FILES.keys()
    for name in FILES:
        transcribed, expected = get_word_positions(uncut[name]), numbered[name].words()
        assert [word for word, _ in transcribed] == [word for word, _ in expected], name
        assert max(abs(a - b) for (_, a), (_, b) in zip(transcribed, expected, strict=True)) < RATE // 5, name
        assert uncut[name]["pieces"] == 1
        assert cut[name]["pieces"] >= 4
        assert get_word_positions(cut[name]) == transcribed, name


@pytest.mark.long
def test_files_named_in_any_language_are_cut(local_server: RunningServer, tmp_path: Path) -> None:
    names, numbered = NAMES.split(","), NumberedWords(12)
    first = write_encoded(tmp_path / "in" / names[0], numbered, "flac", "flac")
    for name in names[1:]:
        (tmp_path / "in" / name).write_bytes(first.read_bytes())
    rows = transcribe_folder(tmp_path / "in", tmp_path / "out", local_server, "--set", "piece_seconds=5")
    assert sorted(rows) == sorted(names)
    assert all(get_word_positions(row) == numbered.words() for row in rows.values())
    assert local_server.bill()["requests"] == rows[names[0]]["pieces"]


def test_the_readable_part_of_a_truncated_recording_is_transcribed_with_a_warning(
    local_server: RunningServer, tmp_path: Path
) -> None:
    numbered = NumberedWords(60)
    path = write_encoded(tmp_path / "in" / "half.flac", numbered, "flac", "flac")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    row = transcribe_to_row(path, tmp_path / "out", local_server, "--set", "piece_seconds=7")
    transcribed = [word for word in get_word_positions(row) if word[0] != "torn"]
    assert transcribed == numbered.words()[: len(transcribed)]
    assert len(transcribed) > len(numbered.words()) // 3
    assert [w.split(":")[0] for w in row["warnings"]] == ["truncated"]
    assert row["audio_seconds"] < 40


@pytest.mark.parametrize(("seconds", "pieces"), mark_rest_long([(0.2, 1), (30, 5)], [(0.2, 1)]))
def test_silence_is_a_transcript_without_words(
    seconds: float, pieces: int, local_server: RunningServer, tmp_path: Path
) -> None:
    numbered = NumberedWords(seconds, pauses=(10**9, 10**9), noise=0)
    path = write_wav(tmp_path / "in" / "silence.wav", numbered)
    row = transcribe_to_row(path, tmp_path / "out", local_server, "--set", "piece_seconds=8")
    assert (row["text"], row["words"], row["segments"], row["warnings"]) == ("", None, None, [])
    assert row["pieces"] == pieces


@pytest.mark.long
def test_a_piece_that_fails_is_tried_alone_and_a_rerun_buys_it_alone(
    local_server: RunningServer, tmp_path: Path
) -> None:
    numbered = NumberedWords(60)
    path = write_wav(tmp_path / "in" / "talk.wav", numbered)
    out, options = tmp_path / "out", ("--set", "piece_seconds=10", "--retries", "1", "--concurrency", "4")
    local_server.faults({"match": {"nth": 3}, "fault": {"kind": "status", "status": 500}, "times": 1})
    row = transcribe_to_row(path, tmp_path / "first", local_server, *options)
    bill = local_server.bill()
    assert bill["requests"] == row["pieces"] + 1
    assert len({c["file_sha256"] for c in bill["calls"]}) == row["pieces"]

    local_server.reset()
    torn = bill["calls"][2]["file_sha256"]
    local_server.faults({"match": {"file_sha256": torn}, "fault": {"kind": "status", "status": 500}})
    failed = transcribe(path, out, local_server.origin, *options)
    assert failed.returncode == 3
    (failure,) = read_rows(out, "failures")
    assert failure["error_message"].startswith("piece ")
    assert "\n" not in failure["error_message"]
    paid_pieces = {c["file_sha256"] for c in local_server.bill()["calls"] if c["billed"]}
    local_server.faults()
    assert get_word_positions(transcribe_to_row(path, out, local_server, *options)) == numbered.words()
    billed = [c["file_sha256"] for c in local_server.bill()["calls"] if c["billed"]]
    assert len(billed) == len(set(billed)) == row["pieces"]
    assert paid_pieces < set(billed)


@pytest.mark.long
def test_with_diarization_a_recording_that_fits_is_not_cut(local_server: RunningServer, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "in" / "talk.wav", NumberedWords(40))
    row = transcribe_to_row(path, tmp_path / "out", local_server, "--set", "piece_seconds=10", "--diarize")
    assert row["pieces"] == local_server.bill()["requests"] == 1
    assert row["speakers"] == ["SPEAKER_00", "SPEAKER_01"]


def test_a_quote_counts_the_pieces(local_server: RunningServer, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "in" / "talk.wav", NumberedWords(120))
    done = transcribe(path, tmp_path / "out", local_server.origin, "--set", "piece_seconds=20", "--quote", "--json")
    assert done.returncode == 0, done.stderr
    assert '"asks": 8' in done.stdout or '"asks":8' in done.stdout, done.stdout
    assert local_server.bill()["requests"] == 0
