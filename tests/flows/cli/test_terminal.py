"""A run on a terminal: it asks before it pays, shows its progress, and stops at a signal."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.flows.cli.terminal import Terminal
from tests.flows.prefect_runtime.prefect_server import wait_until
from tests.helpers.cli_runs import make_wavs, mediamill, read_rows
from tests.helpers.local_server import RunningServer, running_server

SHOW_CURSOR, HIDE_CURSOR = "\x1b[?25h", "\x1b[?25l"


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together", "latency": "200ms"}


@pytest.fixture
def slow_local_server() -> Iterator[RunningServer]:
    with running_server(engine="echo", dialect="together", latency="30s") as running:
        yield running


def start_transcribe(
    tmp_path: Path, server: RunningServer, *options: str, count: int = 6, prefix: Sequence[str] = ()
) -> Terminal:
    make_wavs(tmp_path / "in", count)
    arguments = ("transcribe", tmp_path / "in", "--provider", "together", "--base-url", server.origin)
    options = ("--concurrency", "2", "--out", str(tmp_path / "out"), *options)
    return Terminal(*arguments, *options, home=tmp_path / "home", prefix=prefix)


def read_status(tmp_path: Path) -> dict[str, int | str | None]:
    status: dict[str, int | str | None] = json.loads(
        mediamill("status", tmp_path / "out", "--json", home=tmp_path / "home").stdout
    )
    return status


@pytest.mark.parametrize(
    "options", [(), *(pytest.param((way,), marks=pytest.mark.long) for way in ("--quiet", "--json"))]
)
def test_a_paid_run_asks_and_a_no_starts_nothing(
    options: tuple[str, ...], tmp_path: Path, local_server: RunningServer
) -> None:
    terminal = start_transcribe(tmp_path, local_server, *options)
    terminal.wait_for_text("[y/N]")
    terminal.type_keys("n\n")
    screen = terminal.wait_for_end()
    assert screen.code == 2
    assert "6 items to do" in screen.text
    assert "$" in screen.text
    assert "not started" in screen.text
    assert local_server.bill()["requests"] == 0


@pytest.mark.long
def test_a_yes_starts_the_run_and_shows_its_progress(tmp_path: Path, local_server: RunningServer) -> None:
    terminal = start_transcribe(tmp_path, local_server)
    terminal.wait_for_text("[y/N]")
    terminal.type_keys("y\n")
    terminal.wait_for_text("in flight")
    screen = terminal.wait_for_end()
    assert screen.code == 0
    assert "of 6 items" in screen.text
    assert re.search(r"this run +6 +6 +0 +0 ", screen.text)
    assert screen.text.count(HIDE_CURSOR) == screen.text.count(SHOW_CURSOR) > 0
    assert local_server.bill()["requests"] == 6


@pytest.mark.long
@pytest.mark.parametrize("answer", [("--yes",), ("--budget", "1")])
def test_yes_or_a_budget_answers_beforehand(
    answer: tuple[str, ...], tmp_path: Path, local_server: RunningServer
) -> None:
    screen = start_transcribe(tmp_path, local_server, *answer).wait_for_end()
    assert screen.code == 0
    assert "[y/N]" not in screen.text


@pytest.mark.long
def test_a_paid_retry_asks(tmp_path: Path, local_server: RunningServer) -> None:
    local_server.faults({"match": {"nth": 1}, "fault": {"kind": "status", "status": 400}, "times": 1})
    assert start_transcribe(tmp_path, local_server, "--yes").wait_for_end().code == 3
    paid = local_server.bill()["requests"]
    terminal = Terminal("retry", tmp_path / "out", home=tmp_path / "home")
    terminal.wait_for_text("[y/N]")
    terminal.type_keys("n\n")
    screen = terminal.wait_for_end()
    assert screen.code == 2
    assert "1 item to do" in screen.text
    assert local_server.bill()["requests"] == paid


@pytest.mark.long
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_one_signal_lets_requests_in_flight_end(
    number: int, code: int, tmp_path: Path, local_server: RunningServer
) -> None:
    terminal = start_transcribe(tmp_path, local_server, "--yes", count=24)
    terminal.wait_for_text("2 in flight")
    screen = terminal.wait_for_end([number])
    assert screen.code == code
    assert "mediamill: stopping" in screen.text
    assert "cancelled:" in screen.text
    assert screen.text.count(HIDE_CURSOR) == screen.text.count(SHOW_CURSOR) > 0
    status = read_status(tmp_path)
    assert status["last_state"] == "cancelled"
    assert status["unknown_max_usd"] == "0"
    assert len(read_rows(tmp_path / "out")) == status["done"] == local_server.bill()["requests"] < 24
    assert start_transcribe(tmp_path, local_server, "--yes", count=24).wait_for_end().code == 0
    assert local_server.bill()["requests"] == 24


@pytest.mark.long
def test_further_hangups_of_a_closing_terminal_end_nothing(tmp_path: Path, local_server: RunningServer) -> None:
    terminal = start_transcribe(tmp_path, local_server, "--yes", count=24)
    terminal.wait_for_text("2 in flight")
    terminal.process.send_signal(signal.SIGHUP)
    terminal.wait_for_text("stopping")
    assert terminal.wait_for_end([signal.SIGHUP, signal.SIGHUP]).code == 129
    status = read_status(tmp_path)
    assert (status["last_state"], status["unknown_max_usd"]) == ("cancelled", "0")


@pytest.mark.long
def test_a_run_drains_when_its_terminal_is_gone(tmp_path: Path, local_server: RunningServer) -> None:
    terminal = start_transcribe(tmp_path, local_server, "--yes", count=24)
    terminal.wait_for_text("2 in flight")
    terminal.close()
    assert terminal.process.wait(60) == 129
    status = read_status(tmp_path)
    assert (status["last_state"], status["unknown_max_usd"]) == ("cancelled", "0")
    assert len(read_rows(tmp_path / "out")) == local_server.bill()["requests"] < 24


@pytest.mark.long
def test_a_run_under_nohup_outlives_its_terminal(tmp_path: Path, local_server: RunningServer) -> None:
    terminal = start_transcribe(tmp_path, local_server, "--yes", count=12, prefix=["nohup"])
    wait_until(lambda: local_server.bill()["requests"] > 1, "the run to be at work")
    terminal.close()
    assert terminal.process.wait(60) == 0
    assert len(read_rows(tmp_path / "out")) == local_server.bill()["requests"] == 12


@pytest.mark.long
def test_a_second_signal_ends_the_run_at_once_and_shows_the_cursor(
    tmp_path: Path, slow_local_server: RunningServer
) -> None:
    terminal = start_transcribe(tmp_path, slow_local_server, "--yes")
    terminal.wait_for_text("2 in flight")
    terminal.process.send_signal(signal.SIGINT)
    terminal.wait_for_text("stopping")
    screen = terminal.wait_for_end([signal.SIGINT])
    assert screen.code == -signal.SIGINT
    assert screen.text.rindex(SHOW_CURSOR) > screen.text.rindex(HIDE_CURSOR)
    assert "ended at once; 2 requests in flight cut off, which may be billed; what is done is kept in" in screen.text
    assert read_status(tmp_path)["last_state"] == "crashed"


@pytest.mark.long
def test_a_signal_during_the_question_ends_the_command(tmp_path: Path, local_server: RunningServer) -> None:
    terminal = start_transcribe(tmp_path, local_server)
    terminal.wait_for_text("[y/N]")
    screen = terminal.press_ctrl_c()
    assert screen.code == 130
    assert "Traceback" not in screen.text
    assert local_server.bill()["requests"] == 0


@pytest.mark.long
def test_an_outage_is_readable_on_a_narrow_terminal(tmp_path: Path, local_server: RunningServer) -> None:
    body = json.dumps({"error": {"message": "busy " * 30}})
    local_server.faults({"fault": {"kind": "status", "status": 503, "body": body}})
    terminal = start_transcribe(tmp_path, local_server, "--yes", "--concurrency", "16", count=60)
    terminal.wait_for_text("together does not answer since")
    terminal.wait_for_text("gives up at")
    screen = terminal.wait_for_end([signal.SIGINT])
    assert screen.code == 130
    assert "next try in" in screen.text
    assert "0 of 60 items" in screen.text
