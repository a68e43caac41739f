"""A run's log in Prefect is bounded, and says how much it leaves out."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mediamill.flows.prefect_runtime.log_forwarding import CollapsingHandler, forward_log
from mediamill.tasks.run_log import CALLS_LOGGER, write_record
from tests.flows.prefect_runtime.prefect_server import PrefectServer
from tests.helpers.cli_runs import make_wavs, read_rows
from tests.helpers.local_server import RunningServer


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    """A server that refuses some requests for their rate."""
    return {"rpm": 600, "latency": "50ms"}


class _Lines(logging.Handler):
    """Keeps what a logger is given."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def target() -> Iterator[tuple[logging.Logger, list[str]]]:
    logger, handler = logging.getLogger("a flow run"), _Lines()
    logger.propagate = False
    logger.addHandler(handler)
    yield logger, handler.lines
    logger.removeHandler(handler)


def write_retries(count: int, run_id: str = "r1", kind: str = "rate_limit") -> None:
    for number in range(count):
        write_record(CALLS_LOGGER, logging.WARNING, "retry", f"retry {number}", run_id=run_id, kind=kind)


def test_many_records_of_a_kind_are_counted_and_other_runs_are_left_out(
    target: tuple[logging.Logger, list[str]],
) -> None:
    logger, lines = target
    with forward_log(logger, "r1"):
        write_retries(10_000)
        write_retries(5, run_id="r2")
        write_retries(4, kind="timeout")
        write_record(CALLS_LOGGER, logging.DEBUG, "sending", "sending", run_id="r1")
        write_record(CALLS_LOGGER, logging.WARNING, "limit", "rate 5/s -> 4/s", limit="rate")
    write_retries(5)
    assert [re.sub(r"last \d+ s", "last N s", line) for line in lines] == [
        *("retry 0", "retry 1", "retry 2"),
        *("retry 0", "retry 1", "retry 2"),
        "rate 5/s -> 4/s",
        "9997 more in the last N s: retry, rate limit",
        "1 more in the last N s: retry, timeout",
    ]


def test_a_long_outage_has_a_line_a_minute(target: tuple[logging.Logger, list[str]]) -> None:
    logger, lines = target
    seconds = 0.0
    clock: Callable[[], float] = lambda: seconds  # noqa: E731
    handler = CollapsingHandler(logger, "r1", clock=clock)
    for number in range(600):
        seconds = float(number)
        handler.handle(logging.makeLogRecord({"levelno": logging.WARNING, "msg": "x", "event": "retry"}))
        handler.write_due_summaries()
    assert lines[:4] == ["x", "x", "x", "60 more in the last 60 s: retry"]
    assert len(lines) == 3 + 9


@pytest.mark.proof
def test_the_flow_run_of_a_throttled_run_has_few_lines(
    prefect_server: PrefectServer, own_local_server: RunningServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("throttled")
    make_wavs(folder / "in", 60)
    own_local_server.faults({"match": {"every": 3}, "fault": {"kind": "status", "status": 429}})
    done = prefect_server.cli(
        *("transcribe", folder / "in", "--out", folder / "out", "--yes", "--retries", "20", "--concurrency", "32"),
        *("--provider", "together", "--base-url", f"{own_local_server.origin}/together/v1"),
    )
    assert done.returncode == 0, done.stderr
    retries = sum(row["outcome"] == "rejected" for row in read_rows(folder / "out", "calls"))
    assert retries >= 10
    run_id = done.stderr.strip().splitlines()[-1].rpartition("/")[2]
    messages = prefect_server.logs(run_id)
    shown = sum("rate_limit (HTTP 429); sent again" in message for message in messages)
    held = [int(message.split()[0]) for message in messages if message.endswith("retry, rate limit")]
    assert (shown, shown + sum(held)) == (3, retries)
    assert len(messages) < 20
