"""Rows that an earlier program made otherwise are made again from the journal, for nothing; or it is told."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from PIL import Image

from mediamill.tasks.sinks.schema import deserialize_schema, serialize_schema
from tests.helpers.cli_runs import make_wavs, mediamill, read_rows, transcribe
from tests.helpers.local_server import RunningServer
from tests.helpers.timed_media import Pictures, Sound, write_timed_media

ANSWER = {
    "text": "Good morning.",
    "language": "en",
    "duration": 2.0,
    "words": [{"word": "Good", "start": 0.5, "end": 0.9}],
}


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together"}


def make_older(out: Path, column: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Leave OUT as a program did that had no such column, with each row changed."""
    with closing(sqlite3.connect(out / ".journal" / "journal.sqlite")) as journal, journal:
        ((schema,),) = journal.execute("select schema from outs").fetchall()
        fields = [field for field in deserialize_schema(schema) if field.name != column]
        journal.execute("update outs set schema = ?", (serialize_schema(pa.schema(fields)),))
        for item_id, result in journal.execute("select item_id, result from items").fetchall():
            row = orjson.loads(result)
            del row[column]
            change(row)
            journal.execute("update items set result = ? where item_id = ?", (orjson.dumps(row), item_id))


def make_outdated(out: Path, other_request: str) -> None:
    """Leave OUT as a program did whose times were not on the file's clock."""

    def change(row: dict[str, Any]) -> None:
        row["words"][0]["start"] = 0.5
        if row["item_id"] == other_request:
            row["request_key"] = "0" * 64

    make_older(out, "audio_track", change)


@pytest.mark.long
def test_times_are_corrected_once_and_what_would_be_sent_otherwise_stays(
    local_server: RunningServer, tmp_path: Path
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("a.mkv", "b.mkv"):
        sound = Sound([(5, 7)], "libopus", hertz=440 if name == "a.mkv" else 880)
        write_timed_media(source / name, "matroska", [sound], Pictures(seconds=8))
    local_server.faults({"match": {}, "fault": {"kind": "status", "status": 200, "body": ANSWER}})
    assert transcribe(source, out, local_server.origin).returncode == 0
    make_outdated(out, "b.mkv")
    n_calls = len(local_server.bill()["calls"])
    done = transcribe(source, out, local_server.origin)
    assert done.returncode == 3, done.stderr
    assert "retry" in done.stdout + done.stderr
    assert "--only outdated" in done.stdout + done.stderr
    starts = {row["item_id"]: row["words"][0]["start"] for row in read_rows(out)}
    assert starts == {"a.mkv": pytest.approx(5.5, abs=0.05), "b.mkv": 0.5}
    assert transcribe(source, out, local_server.origin).returncode == 0
    again = mediamill(
        "retry", out, "--only", "outdated", "--yes", home=tmp_path / "home", env={"TOGETHER_API_KEY": "k"}
    )
    assert again.returncode == 0, again.stderr
    assert [row["words"][0]["start"] for row in read_rows(out)] == pytest.approx([5.5, 5.5], abs=0.05)
    assert len(local_server.bill()["calls"]) == n_calls


@pytest.mark.long
def test_words_that_a_stored_reply_has_are_read_from_it(local_server: RunningServer, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    make_wavs(source, 2)
    local_server.faults({"match": {}, "fault": {"kind": "status", "status": 200, "body": ANSWER}})
    assert transcribe(source, out, local_server.origin).returncode == 0
    make_older(out, "audio_track", lambda row: row.update(words=None) if row["item_id"] == "0000.wav" else None)
    n_calls = len(local_server.bill()["calls"])
    done = transcribe(source, out, local_server.origin)
    assert done.returncode == 0, done.stderr
    assert [(row["words"][0]["word"], row["recipe"]) for row in read_rows(out)] == [("Good", "as-is")] * 2
    assert len(local_server.bill()["calls"]) == n_calls


@pytest.mark.long
def test_a_caption_of_a_tiff_that_was_turned_twice_is_told_and_bought_by_retry(
    local_server: RunningServer, tmp_path: Path
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name, orientation in (("flat.tif", 1), ("turned.tif", 6), ("other.png", 1)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.effect_noise((60, 40), 50).convert("RGB").save(source / name, exif=exif)

    def run(*words: str | Path) -> Any:
        where = ("--provider", "together", "--base-url", local_server.origin) if words[0] == "caption" else ()
        return mediamill(*words, *where, "--yes", home=tmp_path / "home", env={"TOGETHER_API_KEY": "k"})

    def change(row: dict[str, Any]) -> None:
        if row["item_id"] == "turned.tif":
            row["request_key"] = "0" * 64

    assert run("caption", source, "--out", out).returncode == 0
    make_older(out, "flags", change)
    n_calls = len(local_server.bill()["calls"])
    done = run("caption", source, "--out", out)
    assert done.returncode == 3, done.stderr
    assert "turned.tif" in done.stdout + done.stderr
    assert "retry" in done.stdout + done.stderr
    assert "--only outdated" in done.stdout + done.stderr
    assert {row["item_id"] for row in read_rows(out)} == {"flat.tif", "turned.tif", "other.png"}
    assert len(local_server.bill()["calls"]) == n_calls
    again = run("retry", out, "--only", "outdated")
    assert again.returncode == 0, again.stderr
    rows = {row["item_id"]: row for row in read_rows(out)}
    assert rows["turned.tif"]["request_key"] != "0" * 64
    assert rows["turned.tif"]["pictures"][0]["recipe"].endswith("-upright")
