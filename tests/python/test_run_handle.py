"""Runs from Python: tables, rows as they end, Ctrl-C, failures, and the same awaited; the server's bill judges."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import mediamill
from mediamill.tasks.engine import Engine
from tests.helpers.cli_runs import make_wavs
from tests.helpers.local_server import RunningServer

ITEMS = 12


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together", "latency": "20ms"}


@pytest.fixture
def server(local_server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningServer]:
    """A server whose bill begins at zero; the engine that runs share ends with it."""
    local_server.reset()
    monkeypatch.setenv("TOGETHER_API_KEY", "k")
    yield local_server
    Engine.stop_shared()


@pytest.fixture
def options(server: RunningServer, tmp_path: Path) -> dict[str, Any]:
    make_wavs(tmp_path / "in", ITEMS)
    address = f"{server.origin}/together/v1"
    return {"source": tmp_path / "in", "out": tmp_path / "out", "provider": "together", "base_url": address}


def fail_once(server: RunningServer) -> None:
    server.faults({"fault": {"kind": "status", "status": 400}, "times": 1})


def test_the_tables_and_the_cost_are_those_of_out(
    options: dict[str, Any], server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = mediamill.transcribe(**options)
    assert run.results["item_id"].tolist() == [f"{n:04d}.wav" for n in range(ITEMS)]
    assert run.table.num_rows == len(list(run)) == run.summary.done == ITEMS
    assert run.cost == run.max_cost == Decimal(server.bill()["usd"]) > 0
    assert (run.state, run.exit_code, len(run.failures)) == ("done", 0, 0)
    assert {"error_kind", "error_message", "hint"} <= set(run.failures.columns)
    opened = mediamill.open(options["out"])
    pd.testing.assert_frame_equal(opened.results, run.results)
    assert (opened.cost, mediamill.status(options["out"]).done) == (run.cost, ITEMS)
    again = mediamill.transcribe(**options)
    assert (again.state, again.cost, server.bill()["requests"]) == ("nothing", run.cost, ITEMS)
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(mediamill.UsageError, match=r"polars is not installed \(pip install polars\)"):
        run.to_polars()


def test_rows_come_once_while_it_runs_and_again_where_it_went_on(
    options: dict[str, Any], server: RunningServer, recwarn: pytest.WarningsRecorder
) -> None:
    run = mediamill.transcribe(**options, concurrency=1, wait=False)
    rows = iter(run)
    first = next(rows)
    run.stop()
    before = [first, *rows]
    assert 1 <= len(before) < ITEMS
    assert (run.state, run.exit_code) == ("cancelled", 4)
    assert "the run was stopped: stopped by the program" in str(recwarn.pop(mediamill.RunWarning).message)
    again = mediamill.transcribe(**options, wait=False)
    ids = [row["item_id"] for row in again]
    assert ids[: len(before)] == sorted(row["item_id"] for row in before)
    assert sorted(ids) == [f"{n:04d}.wav" for n in range(ITEMS)]
    assert server.bill()["requests"] == ITEMS
    table_row = next(iter(mediamill.open(options["out"])))
    assert {name: type(value) for name, value in first.items()} == {n: type(v) for n, v in table_row.items()}


@pytest.mark.long
def test_ctrl_c_drains_and_the_same_call_goes_on(options: dict[str, Any], server: RunningServer) -> None:
    main = threading.main_thread().ident
    assert main is not None
    sent = threading.Event()

    def interrupt(progress: mediamill.Progress) -> None:
        if progress.done and not sent.is_set():
            sent.set()
            signal.pthread_kill(main, signal.SIGINT)

    with (
        pytest.warns(mediamill.RunWarning, match="stopping; requests in flight may end"),
        pytest.raises(KeyboardInterrupt),
    ):
        mediamill.transcribe(**options, concurrency=1, rpm=120, on_progress=interrupt)
    begun = mediamill.status(options["out"])
    assert begun.last_state == "cancelled"
    assert begun.done == server.bill()["requests"] < ITEMS
    assert mediamill.transcribe(**options).summary.done == ITEMS - begun.done
    assert server.bill()["requests"] == ITEMS


def test_failures_warn_or_raise_as_asked(options: dict[str, Any], server: RunningServer) -> None:
    fail_once(server)
    with pytest.warns(mediamill.RunWarning, match="1 item failed") as warned:
        run = mediamill.transcribe(**options)
    assert [warning.filename for warning in warned] == [__file__]
    assert (run.state, run.exit_code, len(run.failures), len(run.results)) == ("failures", 3, 1, ITEMS - 1)
    with pytest.raises(mediamill.RunFailed, match="1 item failed") as caught:
        mediamill.transcribe(**options, raise_on_failure=True)
    assert (caught.value.exit_code, len(caught.value.run.failures)) == (3, 1)
    kind = run.failures["error_kind"][0]
    assert mediamill.retry(options["out"], only=kind, raise_on_failure=True).summary.done == 1
    assert len(mediamill.open(options["out"]).failures) == 0


def test_what_cannot_start_raises_at_once(options: dict[str, Any], server: RunningServer) -> None:
    with pytest.raises(mediamill.UsageError, match="did you mean 'language'"):
        mediamill.run("transcribe", options["source"], languag="de")
    with pytest.raises(mediamill.UsageError, match="did you mean 'budget'"):
        mediamill.run("transcribe", options["source"], budgt=3)
    with pytest.raises(mediamill.UsageError, match="source is a DataFrame"):
        mediamill.run("transcribe", pd.DataFrame())  # type: ignore[arg-type]
    with pytest.raises(mediamill.UsageError, match="no run has written here"):
        mediamill.open(options["out"])
    with pytest.raises(mediamill.UsageError, match="no-such-folder"):
        mediamill.transcribe(**{**options, "source": "no-such-folder"})
    assert not server.bill()["requests"]


@pytest.mark.long
async def test_a_run_is_awaited_while_the_loop_goes_on(options: dict[str, Any], server: RunningServer) -> None:
    assert (await mediamill.aio.quote("transcribe", **options)).items == ITEMS
    plain = mediamill.transcribe(**options, limit=2)  # as in a notebook's cell, whose loop runs
    assert plain.summary.done == 2
    run = await mediamill.aio.transcribe(**options, wait=False)
    rows = [row["item_id"] async for row in run]
    assert sorted(rows) == [f"{n:04d}.wav" for n in range(ITEMS)]
    finished = await mediamill.aio.transcribe(**options)
    assert (finished.state, server.bill()["requests"]) == ("nothing", ITEMS)


@pytest.mark.long
async def test_a_cancelled_task_drains_its_run(options: dict[str, Any], server: RunningServer) -> None:
    begun, loop = asyncio.Event(), asyncio.get_running_loop()

    def tell(progress: mediamill.Progress) -> None:
        if progress.done:
            loop.call_soon_threadsafe(begun.set)

    start = partial(mediamill.aio.transcribe, **options, concurrency=1, rpm=120)
    task = asyncio.create_task(start(on_progress=tell))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    status = mediamill.status(options["out"])
    assert (status.last_state, status.done) == ("cancelled", server.bill()["requests"])


def test_a_notebook_shows_rows_without_running_what_they_hold(tmp_path: Path, server: RunningServer) -> None:
    make_wavs(tmp_path / "in", 1)
    (tmp_path / "in" / "0000.wav").rename(tmp_path / "in" / "<img src=x>.wav")
    address = f"{server.origin}/together/v1"
    run = mediamill.transcribe(tmp_path / "in", out=tmp_path / "out", provider="together", base_url=address)
    page = run._repr_html_()
    assert "&lt;img src=x&gt;.wav" in page
    assert "<img" not in page
    assert "<b>done</b>" in page
    assert "1 rows" not in page


@pytest.mark.long
def test_a_chain_to_a_dataset_has_its_steps(options: dict[str, Any], server: RunningServer) -> None:
    task = {"capability": "transcribe", "provider": "together", "base_url": options["base_url"]}
    steps = [{"name": "heard", "task": task, "keep": "item_id != '0001.wav'"}]
    run = mediamill.run({"steps": steps}, options["source"], out=options["out"], limit=3)
    assert run.results["item_id"].tolist() == ["0000.wav", "0002.wav"]
    assert "heard_text" in run.results.columns
    assert (run.exit_code, run.summary.rows, len(run.failures)) == (0, 2, 0)
    assert list(run.steps) == ["01-heard"]
    assert len(run.steps["01-heard"].results) == 3
    assert run.cost == Decimal(server.bill()["usd"])
    assert mediamill.open(options["out"]).results.equals(run.results)
    fail_once(server)
    with pytest.warns(mediamill.RunWarning, match="1 item failed"):
        failed = mediamill.run({"steps": steps}, options["source"], out=options["out"], limit=4)
    assert failed.failures["step"].tolist() == ["01-heard"]
    with pytest.raises(mediamill.UsageError, match="language"):
        mediamill.run({"steps": steps}, options["source"], language="de")
