"""The steps of a run: each is done once, however often and from whichever thread it is started."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mediamill.tasks.engine import Engine
from mediamill.tasks.job import Job
from mediamill.tasks.job_loading import make_job
from mediamill.tasks.run.run import Run, RunEnded, RunTicket, ShardBatch, do_shards, plan_shards, publish_run
from tests.helpers.cli_runs import make_wavs, read_rows
from tests.helpers.local_server import RunningServer


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together", "latency": "20ms"}


@pytest.fixture
def engine_server(local_server: RunningServer) -> Iterator[RunningServer]:
    """A server of the test's own; the engine that runs share ends with it."""
    yield local_server
    Engine.stop_shared()


@pytest.fixture
def job(engine_server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setenv("TOGETHER_API_KEY", "k")
    make_wavs(tmp_path / "in", 12)
    return make_job(
        capability="transcribe",
        source=str(tmp_path / "in"),
        out=str(tmp_path / "out"),
        provider="together",
        base_url=f"{engine_server.origin}/together/v1",
        shard_size=3,
    )


def test_a_step_started_twice_is_done_once(job: Job, engine_server: RunningServer, tmp_path: Path) -> None:
    with Run(job) as run:
        assert run.start_plan() is run.start_plan()
        batch = ShardBatch.from_work(run.start_plan().result())
        assert batch == ShardBatch((0, 1, 2, 3), 12)
        assert not run.has_begun(batch)
        first, second = run.start_shards(batch), run.start_shards(batch)
        assert run.has_begun(batch)
        assert first.result() is second.result()
        assert run.start_publish().result().done == 12
    assert len(read_rows(tmp_path / "out")) == 12 == engine_server.bill()["requests"]


def test_shards_in_two_batches_at_once_are_done_once(job: Job, engine_server: RunningServer) -> None:
    with Run(job) as run:
        run.start_plan().result()
        results = [run.start_shards(ShardBatch(shards, 0)) for shards in ((0, 1, 2), (1, 2, 3))]
        assert {end.result().done for end in results} == {9}
        run.start_publish().result()
    assert engine_server.bill()["requests"] == 12


def test_tasks_in_other_threads_join_a_run_by_its_ticket(job: Job, tmp_path: Path) -> None:
    with Run(job) as run, ThreadPoolExecutor(4) as threads:
        ticket: RunTicket = pickle.loads(pickle.dumps(run.ticket))
        work = threads.submit(plan_shards, ticket).result()
        ends = [threads.submit(do_shards, ticket, ShardBatch.from_work([one])) for one in work]
        assert [end.result().done for end in ends] == [3, 3, 3, 3]
        assert threads.submit(publish_run, ticket).result().done == 12
    assert len(read_rows(tmp_path / "out")) == 12
    with pytest.raises(RunEnded, match=ticket.run_id):
        plan_shards(ticket)


def test_shards_that_no_task_did_are_found_in_the_journal(job: Job, engine_server: RunningServer) -> None:
    with Run(job) as run:
        work = run.start_plan().result()
        assert run.start_shards(ShardBatch.from_work(work[:1])).result().done == 3
        assert run.start_unfinished().result().done == 9
        assert run.start_unfinished().result().done == 0
        assert run.start_publish().result().done == 12
    assert engine_server.bill()["requests"] == 12


def test_a_run_that_breaks_releases_out(job: Job) -> None:
    def broken() -> None:
        with Run(job) as run:
            run.start_plan().result()
            run.start_shards(ShardBatch((0, 1, 2, 3), 12))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert Run(job).execute().exit_code == 0
