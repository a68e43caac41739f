"""The log on stderr: one record for each attempt that failed, as text or JSON, without keys and bodies."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.cli_runs import make_wavs, mediamill, read_rows, transcribe
from tests.helpers.local_server import RunningServer
from tests.helpers.run_checks import assert_no_key_in

BODY = "BODY-SENTINEL"
REFUSED = {"kind": "status", "status": 503, "body": json.dumps({"error": {"message": BODY}})}
FINAL_EVENTS = {"gave_up", "refused", "reply_lost", "not_sent"}


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"engine": "echo", "latency": "20ms"}


def read_json_lines(stderr: str) -> list[dict[str, Any]]:
    """Everything on stderr: with ``--log-json`` no line is anything but JSON."""
    return [json.loads(line) for line in stderr.splitlines()]


def count_attempts(out: Path) -> Counter[tuple[str, int, str]]:
    """The failed attempts in the ledger, by item, number and kind."""
    failed = (row for row in read_rows(out, "calls") if row["outcome"] != "replied")
    return Counter((row["item_ids"][0], row["attempt"], row["error_kind"]) for row in failed)


@pytest.mark.long
def test_every_failed_attempt_has_one_warning_and_no_record_has_a_body(
    local_server: RunningServer, tmp_path: Path
) -> None:
    make_wavs(tmp_path / "in", 12)
    faults: list[Mapping[str, Any]] = [REFUSED, {"kind": "reset"}, {"kind": "status", "status": 400, "body": BODY}]
    local_server.faults(*({"match": {"every": 4 + n}, "fault": fault} for n, fault in enumerate(faults)))
    done = transcribe(
        tmp_path / "in", tmp_path / "out", local_server.origin, "--log-json", "-vv", "--retries", "1", "--no-prefect"
    )
    assert done.returncode in (0, 3), done.stderr
    records = read_json_lines(done.stderr)
    events = Counter(record["event"] for record in records)
    warned = [r for r in records if r["level"] == "WARNING" and r["event"] in {"retry", *FINAL_EVENTS}]
    ledger = read_rows(tmp_path / "out", "calls")
    assert Counter((r["item"], r["attempt"], r["kind"]) for r in warned) == count_attempts(tmp_path / "out")
    assert events["retry"] >= 2
    assert events["refused"] >= 1
    assert {r["call_id"] for r in warned} == {row["call_id"] for row in ledger if row["outcome"] != "replied"}
    assert (events["sending"], events["item_ended"]) == (len(ledger), 12)
    assert events["replied"] == sum(row["outcome"] == "replied" for row in ledger)
    assert (events["run_started"], events["shard_ended"], events["run_ended"]) == (1, 1, 1)
    assert all(datetime.fromisoformat(record["time"]).utcoffset() is not None for record in records)
    assert all({"level", "logger", "message"} <= record.keys() for record in records)
    assert BODY in str([row["error_message"] for row in ledger])
    assert BODY not in done.stderr
    assert_no_key_in(tmp_path / "out", done.stdout, done.stderr)


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "levels"),
    [((), set()), (("-v",), {"info", "warning"}), (("-vv", "--quiet"), {"debug", "info", "warning"})],
    ids=["nothing", "-v", "-vv"],
)
def test_the_options_choose_what_is_shown(
    options: tuple[str, ...], levels: set[str], local_server: RunningServer, tmp_path: Path
) -> None:
    make_wavs(tmp_path / "in", 6)
    local_server.faults({"match": {"nth": 2}, "fault": REFUSED})
    done = transcribe(tmp_path / "in", tmp_path / "out", local_server.origin, "--no-prefect", *options)
    assert done.returncode == 0, done.stderr
    found = re.findall(r"^\d\d:\d\d:\d\d (\w+) mediamill\.(?:calls|run): ", done.stderr, re.MULTILINE)
    assert set(found) == levels
    assert ("(HTTP 503); sent again in" in done.stderr) == bool(levels)


@pytest.mark.long
def test_a_refused_key_is_logged_as_the_stop_it_is(local_server: RunningServer, tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 2)
    local_server.faults({"match": {"every": 1}, "fault": {"kind": "status", "status": 401, "body": BODY}})
    done = transcribe(tmp_path / "in", tmp_path / "out", local_server.origin, "--log-json", "--no-prefect")
    assert done.returncode == 4, done.stderr
    [stop] = [record for record in read_json_lines(done.stderr) if record["event"] == "run_stopped"]
    assert (stop["level"], stop["logger"], stop["kind"]) == ("WARNING", "mediamill.run", "auth")
    assert "check the key in TOGETHER_API_KEY" in stop["message"]


@pytest.mark.long
def test_names_from_outside_cannot_make_a_line(local_server: RunningServer, tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 1)
    (tmp_path / "in" / "0000.wav").rename(tmp_path / "in" / "a\n12:00:00 info\x1b[2J\u2028.wav")
    local_server.faults({"match": {"nth": 1}, "fault": REFUSED})
    done = transcribe(tmp_path / "in", tmp_path / "out", local_server.origin, "-vv", "--no-prefect")
    assert "\x1b" not in done.stderr
    assert not re.search(r"^12:00:00 info", done.stderr, re.MULTILINE)
    assert re.search(r"sent again in .* \[call \w{8}\]$", done.stderr, re.MULTILINE)


def test_an_error_is_a_line_of_the_json_log_too(tmp_path: Path) -> None:
    done = mediamill("complete", tmp_path / "none.csv", "--provider", "local", "--log-json", home=tmp_path / "home")
    assert done.returncode == 2
    *_, error = read_json_lines(done.stderr)
    assert (error["level"], error["logger"]) == ("ERROR", "mediamill.cli")
    assert "none.csv: no such file or folder" in error["message"]
