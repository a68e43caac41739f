"""Two runs with one journal, of which one stands still: its claims are taken over, and it waits for their answers."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mediamill.tasks.calls.attempt_record import AttemptRecord
from mediamill.tasks.job_loading import make_job
from mediamill.tasks.journal.claim_owners import ClaimOwners
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.output_binding import Binding
from mediamill.tasks.run.run import Run
from tests.helpers.cli_runs import bare_environment, make_wavs, read_rows, transcribe
from tests.helpers.local_server import RunningServer, running_server
from tests.journal.stores import claim, start_run


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together", "price": ["openai/whisper-large-v3=0.0015"]}


@pytest.mark.long
def test_a_claim_that_is_lost_before_sending_is_claimed_again(
    local_server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other run has it for a while, and gives it back without an answer."""
    make_wavs(tmp_path / "in", 3)
    other = Journal.open(tmp_path / "other", str(tmp_path / "J"))
    other.asks.owners = ClaimOwners(look_at_lock=lambda *_: "free")
    mark_sending, taken, turns = AttemptRecord.mark_sending, list[str](), iter([True])

    async def lose_claim_first(record: AttemptRecord, number: int, wait_seconds: float) -> None:
        key = record.keys[0]
        if next(turns, False):
            await start_run(other, tmp_path / "other", Binding.from_values("x", "transcribe", "p", "m", {}))
            taken.append((await claim(other, key)).state)
            try:
                await mark_sending(record, number, wait_seconds)
            finally:
                await other.asks.release([key])
        else:
            await mark_sending(record, number, wait_seconds)

    monkeypatch.setattr(AttemptRecord, "mark_sending", lose_claim_first)
    monkeypatch.setenv("TOGETHER_API_KEY", "sentinel")
    fields = {"provider": "together", "base_url": local_server.origin, "budget": "0.01"}
    summary = Run(
        make_job(
            capability="transcribe",
            source=str(tmp_path / "in"),
            out=str(tmp_path / "out"),
            journal=str(tmp_path / "J"),
            **fields,
        )
    ).execute()
    other.close()
    assert taken == ["mine"]
    assert (summary.done, summary.failed, summary.calls) == (3, 0, 3)
    assert local_server.bill()["requests"] == 3
    assert summary.cost_usd == Decimal(local_server.bill()["usd"])
    assert summary.unknown_max_usd == 0


@pytest.mark.long
def test_a_dead_run_whose_clock_was_ahead_holds_nobody(local_server: RunningServer, tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 20)
    words, fault = ("--journal", str(tmp_path / "J")), {"MEDIAMILL_FAULTS": "call.sending.after:8:kill"}
    killed = transcribe(tmp_path / "in", tmp_path / "dead", local_server.origin, *words, env=fault)
    assert killed.returncode == -signal.SIGKILL
    with closing(sqlite3.connect(tmp_path / "J" / "journal.sqlite")) as database, database:
        held = database.execute("UPDATE asks SET lease = lease + 7200000000 WHERE lease > 0").rowcount
    assert held
    done = transcribe(tmp_path / "in", tmp_path / "other", local_server.origin, *words, timeout=50)
    assert done.returncode == 0, done.stderr
    assert len(read_rows(tmp_path / "other")) == 20


@pytest.mark.proof
def test_a_run_that_stood_still_for_75_seconds_gets_the_other_runs_answers(tmp_path: Path) -> None:
    """Nothing is paid twice, and both ledgers together are the bill; what it had in flight is left to it."""
    source, journal = tmp_path / "in", tmp_path / "J"
    make_wavs(source, 200)
    with running_server(dialect="together", price=["openai/whisper-large-v3=0.0015"], latency="1s") as server:

        def start(out: str) -> subprocess.Popen[str]:
            words = ("transcribe", source, "--provider", "together", "--base-url", server.origin, "--no-prefect")
            options = ("--out", tmp_path / out, "--concurrency", "16", "--yes", "--journal", journal, "--debug")
            command = [sys.executable, "-m", "mediamill.flows.cli", *map(str, (*words, *options))]
            return subprocess.Popen(command, env=bare_environment(tmp_path / "home"), stderr=subprocess.PIPE, text=True)

        journal.mkdir()
        with start("stopped") as stopped, closing(sqlite3.connect(journal / "journal.sqlite", timeout=60)) as database:
            try:
                _wait_for_attempts(database, 20)
                database.isolation_level = None
                database.execute("BEGIN IMMEDIATE")  # the process is stopped while it is not within a transaction
                stopped.send_signal(signal.SIGSTOP)
                _wait_until_stopped(stopped.pid)
                database.execute("ROLLBACK")
                began_at = time.monotonic()
                with start("other") as other:
                    time.sleep(75 - (time.monotonic() - began_at))
                    stopped.send_signal(signal.SIGCONT)
                    errors = [process.communicate(timeout=120)[1] for process in (stopped, other)]
            finally:
                stopped.kill()
        assert (stopped.returncode, other.returncode) == (0, 0), errors
        assert "another run took this request over" in errors[0]
        bill = server.bill()
    calls = [*read_rows(tmp_path / "stopped", "calls"), *read_rows(tmp_path / "other", "calls")]
    assert sum(call["outcome"] == "replied" for call in calls) == bill["billed"] == 200
    costs = [call["cost_usd"] for call in calls]  # null: sent on a connection that had been closed meanwhile
    assert sum(cost for cost in costs if cost is not None) == Decimal(bill["usd"])
    for out in ("stopped", "other"):
        assert len(read_rows(tmp_path / out)) == 200
        assert read_rows(tmp_path / out, "failures") == []


def _wait_for_attempts(database: sqlite3.Connection, number: int) -> None:
    """Wait until a run has recorded more attempts than that."""
    while True:
        with suppress(sqlite3.OperationalError):  # the run has not made its tables yet
            if database.execute("SELECT count(*) FROM attempts").fetchone()[0] > number:
                return
        time.sleep(0.1)


def _wait_until_stopped(pid: int) -> None:
    """Wait until no thread of a process runs any more."""
    threads = Path(f"/proc/{pid}/task")
    while any((thread / "stat").read_text().rpartition(")")[2].split()[0] != "T" for thread in threads.iterdir()):
        time.sleep(0.01)
