"""A shard whose last item takes very long: the results of the others do not wait for it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.helpers.chaos.jobs import ChaosJob
from tests.helpers.chaos.money import Ledger, find_item_faults, find_money_faults
from tests.helpers.chaos.plan import Plan
from tests.helpers.chaos.process import running_chaos_server

pytestmark = pytest.mark.long

ITEMS = 12
POLL_SECONDS = 0.5


def test_results_are_there_while_the_last_item_hangs_and_a_killed_run_loses_none(tmp_path: Path) -> None:
    plan = Plan(shares={"hang": 0.1})
    with running_chaos_server(plan, tmp_path) as server:
        job = ChaosJob(tmp_path, server.origin, ITEMS)
        hanging = sum(plan.choose_fault(f"question {each}", 1, 0.0) == "hang" for each in job.item_ids)
        assert 0 < hanging < ITEMS / 2
        with job.running() as process:
            while not (job.out / "results").is_dir() or len(Ledger.read(job.out).results) < ITEMS - hanging:
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(POLL_SECONDS)
            process.kill()
        server.follow(Plan())
        assert job.run(timeout=60) == 0
        ledger = Ledger.read(job.out)
    assert find_item_faults(ledger, job.item_ids) == []
    assert find_money_faults(ledger, server.read_requests()) == []
