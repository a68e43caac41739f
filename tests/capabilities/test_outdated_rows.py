"""Rows that an earlier program made with other times are made again from the journal, for nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from mediamill.tasks.sinks.schema import deserialize_schema, serialize_schema
from tests.helpers.cli_runs import mediamill, read_rows, transcribe
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


def make_outdated(out: Path, other_request: str) -> None:
    """Leave OUT as a program did that had no column ``audio_track``, and times without the file's clock."""
    with closing(sqlite3.connect(out / ".journal" / "journal.sqlite")) as journal, journal:
        ((schema,),) = journal.execute("select schema from outs").fetchall()
        fields = [field for field in deserialize_schema(schema) if field.name != "audio_track"]
        journal.execute("update outs set schema = ?", (serialize_schema(pa.schema(fields)),))
        for item_id, result in journal.execute("select item_id, result from items").fetchall():
            row = orjson.loads(result)
            del row["audio_track"]
            row["words"][0]["start"] = 0.5
            if item_id == other_request:
                row["request_key"] = "0" * 64
            journal.execute("update items set result = ? where item_id = ?", (orjson.dumps(row), item_id))


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
