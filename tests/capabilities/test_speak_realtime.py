"""Speech on the command line over Together's WebSocket."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.capabilities.realtime_runs import PRICES
from tests.helpers.cli_runs import read_rows
from tests.helpers.local_server import RunningServer
from tests.helpers.run_checks import assert_bill_within_ledger_bounds, assert_no_key_in
from tests.helpers.speak_runs import check_speech_files, speak, write_text_manifest

BY_SOCKET = ("--set", "transport=socket")


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"price": PRICES}


def test_texts_become_files_through_a_socket(local_server: RunningServer, tmp_path: Path) -> None:
    texts = ["Hello there. How are you today?", "A second text.", "Sentence one. Sentence two. Sentence three."]
    source, out = write_text_manifest(tmp_path / "m.csv", texts), tmp_path / "out"
    done = speak(source, out, local_server.origin, *BY_SOCKET, "--format", "mp3", "--set", "piece_characters=30")
    assert done.returncode == 0, done.stderr
    results = check_speech_files(out)
    assert [results[f"t{n}"]["pieces"] for n in range(3)] == [2, 1, 2]
    assert {row["format"] for row in results.values()} == {"mp3"}
    bill = local_server.bill()
    assert {c["path"] for c in bill["calls"]} == {"/together/v1/audio/speech/websocket"}
    assert sum((r["cost_usd"] for r in read_rows(out, "calls")), Decimal(0)) == Decimal(bill["usd"])
    assert sum(c["characters"] for c in bill["calls"]) == sum(row["characters"] for row in results.values())
    rerun = speak(source, out, local_server.origin, *BY_SOCKET, "--format", "mp3", "--set", "piece_characters=30")
    assert rerun.returncode == 0, rerun.stderr
    assert local_server.bill()["requests"] == bill["requests"] == 5


@pytest.mark.long
def test_the_audio_is_the_same_over_http_and_socket(local_server: RunningServer, tmp_path: Path) -> None:
    source = write_text_manifest(tmp_path / "m.csv", ["Hello there, my friend."])
    lengths = []
    for transport in ("http", "socket"):
        out = tmp_path / transport
        done = speak(source, out, local_server.origin, "--format", "wav", "--set", f"transport={transport}")
        assert done.returncode == 0, done.stderr
        lengths.append((check_speech_files(out)["t0"]["seconds"], check_speech_files(out)["t0"]["sample_rate"]))
    assert lengths[0] == lengths[1]


@pytest.mark.long
def test_only_what_cannot_be_billed_is_requested_again(local_server: RunningServer, tmp_path: Path) -> None:
    faults: list[dict[str, Any]] = [
        *({"kind": kind} for kind in ("close", "reset_mid_body", "bad_json", "socket_silence")),
        {"kind": "huge", "bytes": 9_000_000},
        {"kind": "socket_close", "code": 1011},
    ]
    safe: list[dict[str, Any]] = [
        {"kind": "status", "status": 503},
        {"kind": "socket_close"},
        {"kind": "socket_failed"},
    ]
    source = write_text_manifest(tmp_path / "m.csv", [f"Text number {n}." for n in range(len(faults) + len(safe))])
    rules = [{"match": {"nth": n + 1}, "fault": kind} for n, kind in enumerate(faults)]
    rules += [{"match": {"nth": len(faults) + 2 * n + 1}, "fault": kind} for n, kind in enumerate(safe)]
    local_server.faults(*rules)
    out = tmp_path / "out"
    done = speak(source, out, local_server.origin, *BY_SOCKET, "--concurrency", "1", "--timeout", "4s", "--debug")
    assert done.returncode == 3, done.stderr
    failures = read_rows(out, "failures")
    assert {row["error_kind"] for row in failures} == {"unknown"}
    assert len(failures) == len(faults)
    assert len(check_speech_files(out)) == len(safe)
    bill = local_server.bill()
    assert (bill["requests"], bill["billed_again"]) == (len(faults) + 2 * len(safe), 0)
    assert_bill_within_ledger_bounds(out, bill["usd"])
    assert_no_key_in(tmp_path, done.stdout, done.stderr)
