"""A provider that accepts requests and never answers: a run goes on long before the stated timeout."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.cli_runs import bare_environment, make_wavs, read_rows, transcribe
from tests.helpers.local_server import RunningServer
from tests.helpers.run_checks import assert_bill_within_ledger_bounds
from tests.helpers.speak_runs import speak, write_text_manifest

pytestmark = pytest.mark.long

PRICE = "openai/whisper-large-v3=0.0015"


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together", "price": [PRICE]}


def test_requests_that_hang_together_are_sent_again_when_one_is_answered(
    local_server: RunningServer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    make_wavs(tmp_path / "in", 100)
    local_server.faults({"match": {"nth": list(range(61, 77))}, "fault": {"kind": "hang"}})
    done = transcribe(tmp_path / "in", out, local_server.origin, "--retries", "1", timeout=100)
    assert done.returncode == 0, done.stderr
    assert len(read_rows(out)) == 100
    lost = [row for row in read_rows(out, "calls") if row["outcome"] == "unknown"]
    assert len(lost) == 16
    assert {row["error_kind"] for row in lost} == {"overdue"}
    assert all(row["cost_max_usd"] > 0 and row["cost_usd"] is None for row in lost)
    assert_bill_within_ledger_bounds(out, local_server.bill()["usd"])


def test_a_reply_that_comes_byte_by_byte_is_sent_again(local_server: RunningServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    make_wavs(tmp_path / "in", 100)
    local_server.faults({"match": {"nth": [61, 66]}, "fault": {"kind": "drip", "interval": 2.0}})
    done = transcribe(tmp_path / "in", out, local_server.origin, "--retries", "1", timeout=100)
    assert done.returncode == 0, done.stderr
    assert len(read_rows(out)) == 100
    lost = [row for row in read_rows(out, "calls") if row["outcome"] == "unknown"]
    assert [row["error_kind"] for row in lost] == ["overdue"] * 2


def test_a_provider_that_answers_nothing_from_the_first_request_on_is_given_up_before_the_timeout(
    local_server: RunningServer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    make_wavs(tmp_path / "in", 20)
    local_server.faults({"match": {"path": "*/transcriptions"}, "fault": {"kind": "hang"}})
    waiting = ("--wait-for-provider", "1s", "--concurrency", "20")
    stopped = transcribe(tmp_path / "in", out, local_server.origin, *waiting, timeout=110)
    assert stopped.returncode == 4, stopped.stderr
    assert "such a request should take less than 60 s" in stopped.stdout + stopped.stderr
    assert read_rows(out, "failures") == []
    local_server.faults()
    done = transcribe(tmp_path / "in", out, local_server.origin, timeout=100)
    assert done.returncode == 0, done.stderr
    assert len(read_rows(out)) == 20
    assert_bill_within_ledger_bounds(out, local_server.bill()["usd"])


def test_the_next_run_knows_how_long_answers_take(local_server: RunningServer, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    make_wavs(source, 40)
    assert transcribe(source, out, local_server.origin).returncode == 0
    make_wavs(tmp_path / "more", 50)
    for path in sorted((tmp_path / "more").iterdir())[40:]:
        path.rename(source / path.name)
    local_server.faults({"match": {"first": 5}, "fault": {"kind": "hang"}})
    done = transcribe(source, out, local_server.origin, timeout=100)
    assert done.returncode == 0, done.stderr
    assert len(read_rows(out)) == 50
    lost = [row for row in read_rows(out, "calls") if row["outcome"] == "unknown"]
    assert [row["error_kind"] for row in lost] == ["overdue"] * 5


def test_a_run_after_a_kill_knows_how_long_answers_take(local_server: RunningServer, tmp_path: Path) -> None:
    out, origin = tmp_path / "out", local_server.origin
    make_wavs(tmp_path / "in", 200)
    command = [
        sys.executable,
        "-m",
        "mediamill.flows.cli",
        "transcribe",
        str(tmp_path / "in"),
        "--provider",
        "together",
    ]
    command += ["--base-url", origin, "--out", str(out), "--yes", "--concurrency", "16", "--rpm", "240"]
    with subprocess.Popen(command, env=bare_environment(tmp_path / "home"), stderr=subprocess.DEVNULL) as process:
        while len(read_learned_names(out)) < 2:
            assert process.poll() is None
        process.kill()
    local_server.faults({"match": {"first": 5}, "fault": {"kind": "hang"}})
    done = transcribe(tmp_path / "in", out, origin, timeout=100)
    assert done.returncode == 0, done.stderr
    assert len(read_rows(out)) == 200
    kinds = [row["error_kind"] for row in read_rows(out, "calls") if row["outcome"] == "unknown"]
    assert kinds.count("overdue") == 5


def read_learned_names(out: Path) -> list[str]:
    """What limits and response times the journal has; none before it has its tables."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{out}/.journal/journal.sqlite?mode=ro", uri=True)) as journal:
            return [name for (name,) in journal.execute("SELECT name FROM ceilings ORDER BY name")]
    except sqlite3.OperationalError:
        return []


def test_one_request_that_is_slow_each_time_ends_within_the_stated_timeout(
    local_server: RunningServer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    make_wavs(tmp_path / "in", 120)
    slow = hashlib.sha256((tmp_path / "in" / "0050.wav").read_bytes()).hexdigest()
    local_server.faults({"match": {"file_sha256": slow}, "fault": {"kind": "delay", "delay": 14}})
    done = transcribe(tmp_path / "in", out, local_server.origin, "--retries", "1", "--rpm", "600", timeout=100)
    assert done.returncode == 0, done.stderr
    lost = [row for row in read_rows(out, "calls") if row["outcome"] == "unknown"]
    assert [row["error_kind"] for row in lost] == ["overdue"]


def test_what_could_be_bought_twice_is_waited_for(local_server: RunningServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    source = write_text_manifest(tmp_path / "in.csv", [f"Text number {n}." for n in range(60)])
    local_server.faults({"match": {"nth": 50}, "fault": {"kind": "hang"}})
    done = speak(source, out, local_server.origin, "--timeout", "9s")
    assert done.returncode == 3, done.stderr
    assert [row["error_kind"] for row in read_rows(out, "failures")] == ["unknown"]
    lost = [row for row in read_rows(out, "calls") if row["outcome"] == "unknown"]
    assert [row["error_kind"] for row in lost] == ["deadline"]
    assert len(read_rows(out, "calls")) == 60
