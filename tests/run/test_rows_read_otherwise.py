"""Rows that an earlier program made of replies which are read otherwise now are made again, with no request."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from mediamill.tasks.engine import Engine
from mediamill.tasks.job_loading import make_job
from mediamill.tasks.run.plan import Retry
from mediamill.tasks.run.run import Run, ShardBatch
from mediamill.tasks.sinks.schema import deserialize_schema, serialize_schema
from mediamill.tasks.summary import Summary
from tests.helpers.cli_runs import make_wavs, read_rows
from tests.helpers.local_server import RunningServer

CYRILLIC = "Привет всем"
TIMED = {"text": "Hello there.", "segments": [{"text": "Hello there.", "startTime": "0.5s", "endTime": "1s"}]}
REPLIES: dict[str, tuple[bytes, str, str]] = {
    "0000.wav": (
        json.dumps({"text": CYRILLIC}, ensure_ascii=False).encode("cp1251"),
        "application/json; charset=windows-1251",
        CYRILLIC.encode("cp1251").decode("cp1252"),
    ),
    "0001.wav": (b"429 Too Many Requests", "text/plain", "429 Too Many Requests"),
    "0002.wav": (json.dumps(TIMED).encode(), "application/json", "Hello there."),
    "0003.wav": (b'{"unlike": "any transcript"}', "application/json", "It was readable once."),
    "0004.wav": (json.dumps({"text": "503 Service Unavailable"}).encode(), "", "503 Service Unavailable"),
}
"""By item: the reply in the journal, its type, and the text that the earlier program made of it."""


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together"}


@pytest.fixture
def engine_server(local_server: RunningServer) -> Iterator[RunningServer]:
    """A server of the test's own; the engine that runs share ends with it."""
    yield local_server
    Engine.stop_shared()


def _run(job: Any, retry: Retry | None = None) -> Summary:
    with Run(job, retry=retry) as run:
        run.start_shards(ShardBatch.from_work(run.start_plan().result())).result()
        return run.start_publish().result()


def _make_older(out: Path) -> None:
    """Leave OUT as an earlier program did that got those replies, and was killed before it knew ways of reading."""
    with closing(sqlite3.connect(out / ".journal" / "journal.sqlite")) as journal, journal:
        ((schema,),) = journal.execute("select schema from outs").fetchall()
        journal.execute("update outs set schema = ?", (serialize_schema(deserialize_schema(schema)),))
        for item_id, (body, content_type, text) in REPLIES.items():
            ((result,),) = journal.execute("select result from items where item_id = ?", (item_id,)).fetchall()
            row = orjson.loads(result) | {"text": text, "segments": None, "words": None}
            journal.execute("update items set result = ? where item_id = ?", (orjson.dumps(row), item_id))
            journal.execute(
                "update attempts set reply_body = ?, reply_headers = ? where item_ids = ?",
                (body, json.dumps({"content-type": content_type}), json.dumps([item_id])),
            )


def test_rows_are_made_again_from_the_journal_and_servers_words_become_failures(
    engine_server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", "k")
    make_wavs(tmp_path / "in", 6)
    out = tmp_path / "out"
    job = make_job(
        capability="transcribe",
        source=str(tmp_path / "in"),
        out=str(out),
        provider="together",
        base_url=f"{engine_server.origin}/together/v1",
    )
    assert _run(job).done == 6
    untouched = next(row for row in read_rows(out) if row["item_id"] == "0005.wav")
    n_requests = engine_server.bill()["requests"]
    _make_older(out)

    first = _run(job)
    assert (first.done, first.failed) == (2, 2)
    rows = {row["item_id"]: row for row in read_rows(out)}
    assert {name: row["text"] for name, row in rows.items()} == {
        "0000.wav": CYRILLIC,
        "0002.wav": "Hello there.",
        "0003.wav": "It was readable once.",
        "0005.wav": untouched["text"],
    }
    assert [(s["start"], s["end"]) for s in rows["0002.wav"]["segments"]] == [(0.5, 1.0)]
    failures = read_rows(out, "failures")
    assert {row["item_id"]: row["error_kind"] for row in failures} == dict.fromkeys(
        ("0001.wav", "0004.wav"), "bad_reply"
    )
    assert all("retry" in row["hint"] for row in failures)

    assert _run(job).failed == 2
    assert engine_server.bill()["requests"] == n_requests
    bought = _run(job, Retry(frozenset({"bad_reply"})))
    assert (bought.done, bought.failed, engine_server.bill()["requests"]) == (2, 0, n_requests + 2)
    assert len(read_rows(out)) == 6
