"""A provider that turns bad in a way that is no outage stops the run, and no item is failed for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mediamill.tasks.domain import Failure, Item, Result
from mediamill.tasks.engine import Engine
from mediamill.tasks.errors import RunStopped, TooManyFailures
from mediamill.tasks.job_loading import make_job
from mediamill.tasks.run.failures_in_a_row import FailuresInARow
from mediamill.tasks.run.run import Run, ShardBatch
from mediamill.tasks.summary import Summary
from tests.helpers.cli_runs import read_rows
from tests.helpers.local_server import RunningServer

ITEMS, GOOD = 80, 25


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together"}


@pytest.fixture
def engine_server(local_server: RunningServer) -> Iterator[RunningServer]:
    """A server of the test's own; the engine that runs share ends with it."""
    yield local_server
    Engine.stop_shared()


def _run(job: Any) -> Summary:
    with Run(job) as run:
        run.start_shards(ShardBatch.from_work(run.start_plan().result())).result()
        return run.start_publish().result()


def _make_job(server: RunningServer, folder: Path, **options: Any) -> Any:
    prompts = folder / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"id": f"i{n}", "text": f"prompt {n}"}) + "\n" for n in range(ITEMS)))
    return make_job(
        capability="complete",
        source=str(prompts),
        out=str(folder / "out"),
        provider="together",
        base_url=f"{server.origin}/together/v1",
        shard_size=10,
        concurrency=2,
        confirmed=True,
        **options,
    )


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"kind": "redirect", "location": "/login"}, id="redirect", marks=pytest.mark.long),
        pytest.param(
            {"kind": "status", "status": 404, "body": {"error": {"message": "no route matched"}}},
            id="404",
            marks=pytest.mark.long,
        ),
        pytest.param({"kind": "status", "status": 400}, id="400"),
        pytest.param(
            {"kind": "status", "status": 200, "body": {"id": "x", "object": "chat.completion", "choices": []}},
            id="no choices",
            marks=pytest.mark.long,
        ),
        pytest.param({"kind": "say", "body": {"content": ""}}, id="empty answer", marks=pytest.mark.long),
    ],
)
def test_a_provider_that_turns_bad_stops_the_run_and_the_next_one_does_what_is_left(
    fault: dict[str, Any], engine_server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", "k")
    job = _make_job(engine_server, tmp_path)
    engine_server.faults({"match": {"after": GOOD}, "fault": fault})

    stopped = _run(job)

    assert (stopped.exit_code, stopped.state, stopped.stopped_by) == (4, "stopped", "failures_in_a_row")
    assert "20 requests in a row failed" in str(stopped.message)
    assert (stopped.done, stopped.failed) == (GOOD, 0)
    assert read_rows(tmp_path / "out", "failures") == []
    sent = len(read_rows(tmp_path / "out", "calls"))
    assert GOOD + 20 <= sent < ITEMS  # with what was on its way

    engine_server.faults()
    done = _run(job)
    assert (done.exit_code, done.done, done.failed) == (0, ITEMS - GOOD, 0)
    rows = read_rows(tmp_path / "out")
    assert len(rows) == ITEMS
    assert all(row["text"] for row in rows)
    assert len(read_rows(tmp_path / "out", "calls")) == sent + ITEMS - GOOD


def test_with_zero_the_run_goes_on_whatever_fails(
    engine_server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", "k")
    engine_server.faults({"match": {"after": GOOD}, "fault": {"kind": "status", "status": 400}})
    ended = _run(_make_job(engine_server, tmp_path, max_failures_in_a_row=0))
    assert (ended.exit_code, ended.done, ended.failed) == (3, GOOD, ITEMS - GOOD)


class _Row:
    """Items that end one after the other, each by a request of its own."""

    def __init__(self, limit: int | None = None) -> None:
        self.stops = list[RunStopped]()
        self.row = FailuresInARow(limit, self.stops.append)
        self.ended = 0

    def end(self, kind: str | None = None, *, times: int = 1, request: str | None = "") -> None:
        """Items end: done, or failed with ``kind``."""
        for _ in range(times):
            self.ended += 1
            name = f"i{self.ended}"
            item = Item(name, self.ended, name)
            outcome = Result(name, {}) if kind is None else Failure(name, kind, f"{name} failed")
            self.row.add(item, 0, outcome, name if request == "" else request)


def test_a_success_ends_the_row_and_other_kinds_say_nothing() -> None:
    row = _Row()
    row.end(times=100)
    row.end("bad_request", times=19)
    row.end(times=100)
    row.end("empty_answer", times=10)
    row.end("undecodable", times=50)
    row.end("refused", times=100)
    row.end("redirect", times=10)
    row.end("content_type", times=50)
    row.end("bad_reply", times=9)
    assert row.stops == []
    row.end("bad_reply")
    assert [type(stop) for stop in row.stops] == [TooManyFailures]
    assert len(row.row.items[0]) == 20


def test_failures_of_one_request_or_of_none_are_no_row() -> None:
    row = _Row()
    row.end("bad_reply", times=100, request=None)
    row.end("bad_reply", times=100, request="one for all of them")
    assert row.stops == []


def test_where_many_fail_by_themselves_it_takes_a_longer_row() -> None:
    row = _Row()
    for _ in range(60):
        row.end("bad_request", times=3)
        row.end()
    row.end("bad_request", times=40)
    assert row.stops == []
    row.end("bad_request", times=20)
    assert len(row.stops) == 1


@pytest.mark.parametrize(("limit", "stops"), [(3, 1), (0, 0)])
def test_the_limit_is_the_users(limit: int, stops: int) -> None:
    row = _Row(limit)
    row.end("bad_request", times=100)
    assert len(row.stops) == stops
