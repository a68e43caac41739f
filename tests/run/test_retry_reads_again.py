"""A retry reads the replies that it has before it buys others: a later program may understand them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from mediamill.tasks.engine import Engine
from mediamill.tasks.errors import BadReply
from mediamill.tasks.job_loading import make_job
from mediamill.tasks.providers.operations.transcription import SpeechToTextOperation
from mediamill.tasks.run.plan import Retry
from mediamill.tasks.run.run import Run, ShardBatch
from mediamill.tasks.summary import Summary
from mediamill.tasks.wire import Problem
from tests.helpers.cli_runs import make_wavs, read_rows
from tests.helpers.local_server import RunningServer


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together"}


@pytest.fixture
def engine_server(local_server: RunningServer) -> Iterator[RunningServer]:
    """A server of the test's own; the engine that runs share ends with it."""
    yield local_server
    Engine.stop_shared()


def _raise_bad_reply(*_: object) -> NoReturn:
    raise BadReply("this program does not understand it")


def _run(job: Any, retry: Retry | None = None) -> Summary:
    with Run(job, retry=retry) as run:
        run.start_shards(ShardBatch.from_work(run.start_plan().result())).result()
        return run.start_publish().result()


def _classify_as_unreadable(*_: object) -> Problem:
    return Problem("unknown", "bad_body", "this program cannot read it", billed=True)


def test_a_success_that_no_one_could_read_is_an_answer_once_a_later_program_reads_it(
    engine_server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", "k")
    make_wavs(tmp_path / "in", 1)
    job = make_job(
        capability="transcribe",
        source=str(tmp_path / "in"),
        out=str(tmp_path / "out"),
        provider="together",
        base_url=f"{engine_server.origin}/together/v1",
        retries=0,
    )
    with monkeypatch.context() as old_program:
        old_program.setattr(SpeechToTextOperation, "classify", _classify_as_unreadable)
        assert _run(job).failed == 1
    done = _run(job)
    assert (done.done, done.failed, engine_server.bill()["requests"]) == (1, 0, 1)
    (row,) = read_rows(tmp_path / "out")
    assert row["text"]
    assert row["cost_basis"] != "unknown"


def test_a_retry_buys_only_what_still_cannot_be_read(
    engine_server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", "k")
    make_wavs(tmp_path / "in", 2)
    origin = f"{engine_server.origin}/together/v1"
    job = make_job(
        capability="transcribe",
        source=str(tmp_path / "in"),
        out=str(tmp_path / "out"),
        provider="together",
        base_url=origin,
    )
    with monkeypatch.context() as old_program:
        old_program.setattr(SpeechToTextOperation, "parse", _raise_bad_reply)
        assert _run(job).failed == 2
        assert _run(job, Retry(frozenset({"bad_reply"}))).failed == 2
        assert engine_server.bill()["requests"] == 4
    done = _run(job, Retry(frozenset({"bad_reply"})))
    assert (done.done, done.failed, engine_server.bill()["requests"]) == (2, 0, 4)
    assert [row["text"] is not None for row in read_rows(tmp_path / "out")] == [True, True]
    assert _run(job).total == 0
