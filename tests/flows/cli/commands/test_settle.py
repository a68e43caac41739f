"""What requests with lost answers hold of a budget is told everywhere, and `settle` frees it by what was billed."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mediamill.tasks.formatting import format_dollars
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.output_lock import OutputLock
from tests.flows.cli.terminal import Terminal
from tests.helpers.cli_runs import make_wavs, mediamill, read_rows, transcribe
from tests.helpers.local_server import RunningServer

ITEMS = 6
KILLED = {"MEDIAMILL_FAULTS": "call.wire.after:1:kill"}
BUDGET = ("--budget", "0.0002")
"""Eight requests of 0.1 s at their maximum, which is that of a second, to the nanodollar."""


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together", "price": ["openai/whisper-large-v3=0.0015"], "model": ["new/whisper"]}


@pytest.fixture
def killed_out(tmp_path: Path, local_server: RunningServer) -> Path:
    """An OUT whose run was killed with all its requests in flight."""
    make_wavs(tmp_path / "in", ITEMS)
    out = tmp_path / "out"
    assert transcribe(tmp_path / "in", out, local_server.origin, *BUDGET, env=KILLED).returncode == -9
    return out


def run_json(*arguments: str | Path, out: Path, code: int = 0) -> dict[str, Any]:
    done = mediamill(arguments[0], out, *arguments[1:], "--json", home=out.parent / "home")
    assert done.returncode == code, done.stderr
    values: dict[str, Any] = json.loads(done.stdout)
    return values


def run_settle(out: Path, *options: str) -> tuple[int, str]:
    done = mediamill("settle", out, *options, "-y", home=out.parent / "home")
    return done.returncode, done.stdout + done.stderr


def sum_column(rows: Sequence[dict[str, Any]], name: str) -> Decimal:
    return sum((Decimal(row[name]) for row in rows if row[name] not in (None, "")), Decimal(0))


def test_what_a_killed_run_holds_of_the_budget_is_told_with_the_ways_out(
    killed_out: Path, tmp_path: Path, local_server: RunningServer
) -> None:
    status = run_json("status", out=killed_out)
    n_lost, held = status["lost_requests"], Decimal(status["lost_max_usd"])
    assert n_lost >= 1
    assert held == Decimal(status["unknown_max_usd"]) > 0
    assert status["budget"] == "0.0002"
    text = mediamill("status", killed_out, home=tmp_path / "home").stdout
    assert f"held: up to {format_dollars(held)} of the budget of $0.0002 for {status['lost']}" in text
    assert "mediamill settle" in text
    tight = f"{held:f}"
    refused = transcribe(tmp_path / "in", killed_out, local_server.origin, "--budget", tight)
    assert refused.returncode == 4
    assert f"{format_dollars(held)} is held by {n_lost} request" in refused.stdout
    assert "whose answer was lost in the run of 20" in refused.stdout
    assert "mediamill settle" in refused.stdout
    assert "--only unknown" in refused.stdout
    again = transcribe(tmp_path / "in", killed_out, local_server.origin, "--budget", "1")
    assert again.returncode == 0
    assert f"held: up to {format_dollars(held)} of the budget of $1.00 for {n_lost} request" in again.stdout


def test_a_provider_that_bills_nothing_holds_nothing(tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 1)
    out, home = tmp_path / "out", tmp_path / "home"
    arguments = ("transcribe", tmp_path / "in", "--out", out, "--provider", "local")
    assert mediamill(*arguments, home=home, env=KILLED).returncode == -9
    assert run_json("status", out=out)["lost_requests"] == 0
    (recording,) = (tmp_path / "in").iterdir()
    explained = mediamill("explain", out, recording.name, home=home).stdout
    assert "the process was killed" in explained
    again = mediamill(*arguments, home=home)
    assert again.returncode == 0, again.stderr
    for text in (again.stdout, mediamill("status", out, home=home).stdout, explained):
        assert "billed" not in text
        assert "held" not in text
    assert "no request whose answer was lost" in mediamill("settle", out, home=home).stdout


def test_settle_books_what_was_billed_and_a_later_run_goes_on(
    killed_out: Path, tmp_path: Path, local_server: RunningServer
) -> None:
    held = Decimal(run_json("status", out=killed_out)["lost_max_usd"])
    tight = ("--budget", f"{held:f}")
    assert transcribe(tmp_path / "in", killed_out, local_server.origin, *tight).returncode == 4
    stated = Decimal("0.0000025")
    code, text = run_settle(killed_out, "--billed", f"{stated:f}")
    assert code == 0, text
    assert f"booked ${stated:f}, freed ${held - stated:f}" in text
    status = run_json("status", out=killed_out)
    assert Decimal(status["spent_usd"]) == stated
    assert (status["lost_requests"], status["unknown_max_usd"]) == (0, "0")
    calls = [row for row in read_rows(killed_out, "calls") if row["cost_basis"] == "stated"]
    assert sum_column(calls, "cost_usd") == stated
    assert all("stated by a person on 20" in row["price_source"] for row in calls)
    with (killed_out / "costs.csv").open(encoding="utf-8") as file:
        costs = list(csv.DictReader(file))
    assert sum_column([row for row in costs if row["cost_basis"] == "stated"], "cost_usd") == stated
    assert sum_column(costs, "unknown_max_usd") == 0
    assert "stated" in (killed_out / "report.html").read_text()
    assert run_json("report", "--verify", out=killed_out)["findings"] == [], "what settle writes is OUT's"
    again = transcribe(tmp_path / "in", killed_out, local_server.origin, "--budget", f"{held + stated:f}")
    assert again.returncode in (0, 4)
    assert len(read_rows(killed_out)) >= 1, "the freed money buys results"
    assert (
        "stated by a person" in mediamill("explain", killed_out, calls[0]["item_ids"][0], home=tmp_path / "home").stdout
    )


@pytest.mark.long
def test_settling_twice_books_once_and_later_losses_are_settled_apart(
    killed_out: Path, tmp_path: Path, local_server: RunningServer
) -> None:
    for options in ((), ("--json",)):
        unasked = mediamill("settle", killed_out, "--unbilled", *options, home=killed_out.parent / "home")
        assert (unasked.returncode, "nobody is there to be asked" in unasked.stdout + unasked.stderr) == (2, True)
    assert run_settle(killed_out, "--unbilled")[0] == 0
    code, text = run_settle(killed_out, "--billed", "0.00001")
    assert (code, "nothing to settle" in text) == (0, True)
    assert Decimal(run_json("status", out=killed_out)["spent_usd"]) == 0
    killed = transcribe(tmp_path / "in", killed_out, local_server.origin, "--budget", "1", env=KILLED)
    assert killed.returncode == -9
    found = run_json("settle", out=killed_out)
    assert found["requests"] >= 1
    assert found["billed_usd"] is None
    [run] = found["runs"]
    assert run_json("settle", "--billed", "0.000001", "--run", run, "-y", out=killed_out)["billed_usd"] == "0.000001"
    assert Decimal(run_json("status", out=killed_out)["spent_usd"]) == Decimal("0.000001")


def test_more_than_the_maximum_needs_a_clear_word(killed_out: Path) -> None:
    code, text = run_settle(killed_out, "--billed", "1")
    assert code == 2
    assert "$1 is more than $" in text
    assert "--above-maximum" in text
    assert Decimal(run_json("status", out=killed_out)["spent_usd"]) == 0
    code, text = run_settle(killed_out, "--billed", "1", "--above-maximum")
    assert (code, "more than they held" in text, "freed" in text) == (0, True, False)
    assert Decimal(run_json("status", out=killed_out)["spent_usd"]) == 1


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--billed", "-1"), "zero or more"),
        (("--billed", "NaN"), "zero or more"),
        (("--billed", "1e999999999"), "zero or more"),
        (("--billed", "a cent"), "write it like 0.0123"),
        (("--billed", "1", "--unbilled"), "two things"),
        (("--unbilled", "--run", "nothing"), "no run 'nothing'"),
    ],
)
def test_what_is_no_amount_is_refused_and_books_nothing(options: tuple[str, ...], words: str, killed_out: Path) -> None:
    code, text = run_settle(killed_out, *options)
    assert code == 2, text
    assert words in text
    assert run_json("status", out=killed_out)["lost_requests"] > 0


def test_settle_waits_for_no_run_and_refuses_while_one_holds_out(killed_out: Path) -> None:
    journal = Journal.open(killed_out)
    lock = OutputLock.acquire(killed_out, journal, "a-run")
    try:
        code, text = run_settle(killed_out, "--unbilled")
    finally:
        lock.release()
        journal.close()
    assert code == 5
    assert "in use: run a-run" in text
    assert run_settle(killed_out, "--unbilled")[0] == 0


@pytest.mark.long
def test_settle_asks_at_a_terminal(killed_out: Path, tmp_path: Path) -> None:
    terminal = Terminal("settle", killed_out, "--unbilled", home=tmp_path / "home")
    terminal.wait_for_text("[y/N]")
    terminal.type_keys("n\n")
    assert terminal.wait_for_end().code == 2
    assert run_json("status", out=killed_out)["lost_requests"] > 0
    assert Terminal("settle", killed_out, "--unbilled", "--yes", home=tmp_path / "home").wait_for_end().code == 0


@pytest.mark.long
def test_a_request_that_was_sent_again_still_tells_what_the_lost_one_holds(
    tmp_path: Path, local_server: RunningServer
) -> None:
    make_wavs(tmp_path / "in", 3)
    local_server.faults({"match": {"nth": 1}, "fault": {"kind": "reset"}, "times": 1})
    done = transcribe(tmp_path / "in", tmp_path / "out", local_server.origin, "--budget", "1")
    assert done.returncode == 0, done.stderr
    assert "3 done, 0 failed" in done.stdout
    assert "of the budget of $1.00 for 1 request whose answer was lost" in done.stdout
    assert run_settle(tmp_path / "out", "--unbilled")[0] == 0
    assert run_json("status", out=tmp_path / "out")["unknown_max_usd"] == "0"


@pytest.mark.long
def test_a_settlement_that_is_killed_before_its_files_are_written_is_published_by_the_next_run(
    killed_out: Path, tmp_path: Path, local_server: RunningServer
) -> None:
    done = mediamill(
        *("settle", killed_out, "--billed", "0.000001", "-y"),
        home=tmp_path / "home",
        env={"MEDIAMILL_FAULTS": "part.write.before:1:kill"},
    )
    assert done.returncode == -9
    assert transcribe(tmp_path / "in", killed_out, local_server.origin, "--budget", "1").returncode == 0
    calls = read_rows(killed_out, "calls")
    stated = [row for row in calls if row["cost_basis"] == "stated"]
    assert sum_column(stated, "cost_usd") == Decimal("0.000001")
    assert len({row["call_id"] for row in calls}) == len(calls)


def test_what_has_no_known_price_is_told_as_unknown_and_never_as_zero(
    tmp_path: Path, local_server: RunningServer
) -> None:
    make_wavs(tmp_path / "in", 2)
    out = tmp_path / "out"
    killed = transcribe(tmp_path / "in", out, local_server.origin, "--model", "new/whisper", env=KILLED)
    assert killed.returncode == -9
    found = run_json("status", out=out)
    assert 0 < found["lost_requests"] == found["lost_unpriced"]
    text = mediamill("status", out, home=tmp_path / "home").stdout + run_settle(out)[1]
    assert text.count("an unknown amount") == 2
    assert "$0 " not in text
    code, settled = run_settle(out, "--billed", "0.5")
    assert (code, "booked $0.5" in settled, "freed" in settled, "more than" in settled) == (0, True, False, False)
