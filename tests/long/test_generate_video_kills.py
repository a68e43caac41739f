"""Two hundred videos through twenty kills: none is bought twice, all files are complete, the ledger fits the bill."""

from __future__ import annotations

import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.helpers.cli_runs import mediamill, read_rows
from tests.helpers.local_server import running_server
from tests.helpers.run_checks import assert_bill_within_ledger_bounds
from tests.helpers.video_runs import PIXVERSE, SMALL, check_video_files, generate_videos, write_prompts

COUNT, IN_FLIGHT = 200, 8
CREATING = ("call.sending.after", "call.wire.after", "call.accepted.after")
FETCHING = ("collect.before", "collect.after", "call.replied.after", "shard.outcome.before", "part.rename.before")


@pytest.mark.proof
def test_twenty_kills_buy_nothing_twice(tmp_path: Path) -> None:
    rng = random.Random(11)
    rows = [{"prompt": f"boat number {n}", "size": SMALL} for n in range(COUNT)]
    source, out = write_prompts(tmp_path / "p.csv", rows), tmp_path / "out"
    options = ("--concurrency", str(IN_FLIGHT), "--shard-size", "20")
    with running_server(price=[f"{PIXVERSE}=0.3"], job_seconds="1s..4s") as server:
        kills = 0
        for n in range(20):
            points = CREATING if n < 10 else FETCHING  # once all are created, nothing is left to be killed there
            passes = rng.randrange(1, 9 if n < 10 else 4)  # few: something must be left to fetch for the last of them
            point = f"{rng.choice(points)}:{passes}:kill"
            kills += (
                generate_videos(source, out, server, *options, MEDIAMILL_FAULTS=point).returncode == -signal.SIGKILL
            )
        assert kills >= 18
        assert generate_videos(source, out, server, *options).returncode in (0, 3)
        failures = read_rows(out, "failures")
        assert {row["error_kind"] for row in failures} <= {"unknown"}
        assert len(failures) <= kills * IN_FLIGHT
        bill = server.bill()
        assert (bill["billed_again"], bill["key_leaked"]) == (0, 0)
        assert_bill_within_ledger_bounds(out, bill["usd"])
        assert len(check_video_files(out)) + len(failures) == COUNT
        if failures:
            assert mediamill("retry", out, "--yes", home=tmp_path / "home").returncode == 0
        assert len(check_video_files(out)) == COUNT
        purchases = Counter((c["file_sha256"], c["params_sha256"]) for c in server.bill()["calls"] if c["billed"])
        assert sum(number - 1 for number in purchases.values()) <= len(failures)
