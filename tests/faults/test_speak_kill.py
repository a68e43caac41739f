"""A SIGKILL of `speak` buys nothing twice beyond the requests in flight, and every file is complete."""

from __future__ import annotations

import signal
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.cli_runs import mediamill, read_rows
from tests.helpers.local_server import RunningServer
from tests.helpers.speak_runs import ORPHEUS, check_speech_files, speak, write_text_manifest
from tests.helpers.tiers import mark_tiers

TEXTS = 24
IN_FLIGHT = 4
SPEAK_OPTIONS = (
    "--format",
    "flac",
    "--concurrency",
    str(IN_FLIGHT),
    "--shard-size",
    "8",
    "--set",
    "piece_characters=40",
)


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"price": {ORPHEUS: "15"}, "latency": "10ms"}


LONG_FAILPOINTS = ["call.sending.after:20", "shard.outcome.before:5"]
PROOF_FAILPOINTS = [
    *("call.replied.after:11", "part.rename.after:6"),
    *("call.claimed.after:5", "call.sending.before:9", "call.sending.after:1", "call.wire.after:13", "call.parse:17"),
    *("call.settled.after:30", "shard.outcome.after:9", "part.write.before:2", "part.rename.before:1"),
    *("part.rename.before:7", "part.rename.after:1", "part.commit.after:1", "publish.record.before:1"),
]


@pytest.mark.parametrize("point", mark_tiers([*LONG_FAILPOINTS, *PROOF_FAILPOINTS], quick=[], long=LONG_FAILPOINTS))
def test_sigkill_buys_no_text_twice_and_tears_no_file(point: str, local_server: RunningServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    source = write_text_manifest(
        tmp_path / "m.csv", [f"Text number {n} begins here. It ends at place {n}, I think." for n in range(TEXTS)]
    )
    killed = speak(source, out, local_server.origin, *SPEAK_OPTIONS, env={"MEDIAMILL_FAULTS": f"{point}:kill"})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = speak(source, out, local_server.origin, *SPEAK_OPTIONS)
    assert resumed.returncode in (0, 3), resumed.stderr
    failures = read_rows(out, "failures")
    assert {row["error_kind"] for row in failures} <= {"unknown"}
    assert len(failures) <= IN_FLIGHT
    assert len(check_speech_files(out)) + len(failures) == TEXTS

    bill = local_server.bill()
    assert bill["billed_again"] == 0, "an unknown is not bought again unasked"
    ledger = read_rows(out, "calls")
    known = sum((r["cost_usd"] for r in ledger if r["cost_usd"] is not None), Decimal(0))
    max_cost = known + sum((r["cost_max_usd"] for r in ledger if r["cost_usd"] is None), Decimal(0))
    assert known <= Decimal(bill["usd"]) <= max_cost

    if failures:
        retried = mediamill("retry", out, "--yes", home=tmp_path / "home")
        assert retried.returncode == 0, retried.stderr
    assert len(check_speech_files(out)) == TEXTS
    sent = Counter((c["file_sha256"], c["params_sha256"]) for c in local_server.bill()["calls"] if c["billed"])
    assert sum(n - 1 for n in sent.values()) <= IN_FLIGHT, (
        "bought twice: at most what was in flight, and only when asked"
    )


@pytest.mark.long
def test_a_crash_between_the_file_and_its_row_writes_the_same_file_again(
    local_server: RunningServer, tmp_path: Path
) -> None:
    source, out = write_text_manifest(tmp_path / "m.csv", ["Hello there."]), tmp_path / "out"
    killed = speak(source, out, local_server.origin, env={"MEDIAMILL_FAULTS": "shard.outcome.before:1:kill"})
    assert killed.returncode == -signal.SIGKILL
    (file,) = (out / "media").iterdir()
    before = file.read_bytes()
    assert speak(source, out, local_server.origin).returncode == 0
    assert (out / check_speech_files(out)["t0"]["file"]).read_bytes() == before
    assert local_server.bill()["requests"] == 1


@pytest.mark.long
@pytest.mark.parametrize("action", ["enospc", "erofs"])
def test_a_full_disk_fails_in_one_line_and_a_rerun_buys_nothing_again(
    action: str, local_server: RunningServer, tmp_path: Path
) -> None:
    source, out = write_text_manifest(tmp_path / "m.csv", ["Hello there.", "And here."]), tmp_path / "out"
    full = speak(source, out, local_server.origin, env={"MEDIAMILL_FAULTS": f"part.rename.before:1:{action}"})
    assert full.returncode == 1
    assert "Traceback" not in full.stderr
    assert speak(source, out, local_server.origin).returncode == 0
    assert len(check_speech_files(out)) == 2
    assert local_server.bill()["billed_again"] == 0
