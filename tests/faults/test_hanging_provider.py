"""A provider that accepts requests and never answers: a run goes on long before the stated timeout."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.cli_runs import make_wavs, read_rows, transcribe
from tests.helpers.local_server import RunningServer
from tests.helpers.run_checks import assert_bill_within_ledger_bounds
from tests.helpers.speak_runs import speak, write_text_manifest

pytestmark = pytest.mark.long

PRICE = "openai/whisper-large-v3=0.0015"


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together", "price": [PRICE]}


def test_requests_that_hang_together_are_sent_again_when_one_is_answered(
    own_local_server: RunningServer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    make_wavs(tmp_path / "in", 100)
    own_local_server.faults({"match": {"nth": list(range(61, 77))}, "fault": {"kind": "hang"}})
    done = transcribe(tmp_path / "in", out, own_local_server.origin, "--retries", "1", timeout=100)
    assert done.returncode == 0, done.stderr
    assert len(read_rows(out)) == 100
    lost = [row for row in read_rows(out, "calls") if row["outcome"] == "unknown"]
    assert len(lost) == 16
    assert {row["error_kind"] for row in lost} == {"overdue"}
    assert all(row["cost_max_usd"] > 0 and row["cost_usd"] is None for row in lost)
    assert_bill_within_ledger_bounds(out, own_local_server.bill()["usd"])


def test_the_next_run_knows_how_long_answers_take(own_local_server: RunningServer, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    make_wavs(source, 40)
    assert transcribe(source, out, own_local_server.origin).returncode == 0
    make_wavs(tmp_path / "more", 50)
    for path in sorted((tmp_path / "more").iterdir())[40:]:
        path.rename(source / path.name)
    own_local_server.faults({"match": {"first": 5}, "fault": {"kind": "hang"}})
    done = transcribe(source, out, own_local_server.origin, timeout=100)
    assert done.returncode == 0, done.stderr
    assert len(read_rows(out)) == 50
    lost = [row for row in read_rows(out, "calls") if row["outcome"] == "unknown"]
    assert [row["error_kind"] for row in lost] == ["overdue"] * 5


def test_one_request_that_is_slow_each_time_ends_within_the_stated_timeout(
    own_local_server: RunningServer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    make_wavs(tmp_path / "in", 120)
    slow = hashlib.sha256((tmp_path / "in" / "0050.wav").read_bytes()).hexdigest()
    own_local_server.faults({"match": {"file_sha256": slow}, "fault": {"kind": "delay", "delay": 14}})
    done = transcribe(tmp_path / "in", out, own_local_server.origin, "--retries", "1", "--rpm", "600", timeout=100)
    assert done.returncode == 0, done.stderr
    lost = [row for row in read_rows(out, "calls") if row["outcome"] == "unknown"]
    assert [row["error_kind"] for row in lost] == ["overdue"]


def test_what_could_be_bought_twice_is_waited_for(own_local_server: RunningServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    source = write_text_manifest(tmp_path / "in.csv", [f"Text number {n}." for n in range(60)])
    own_local_server.faults({"match": {"nth": 50}, "fault": {"kind": "hang"}})
    done = speak(source, out, own_local_server.origin, "--timeout", "9s")
    assert done.returncode == 3, done.stderr
    assert [row["error_kind"] for row in read_rows(out, "failures")] == ["unknown"]
    lost = [row for row in read_rows(out, "calls") if row["outcome"] == "unknown"]
    assert [row["error_kind"] for row in lost] == ["deadline"]
    assert len(read_rows(out, "calls")) == 60
