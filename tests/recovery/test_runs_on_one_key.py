"""Two command lines on one machine share a hidden limit, and one takes over what a killed one leaves."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.helpers.chaos.jobs import ChaosJob
from tests.helpers.chaos.pace import count_answers
from tests.helpers.chaos.plan import Limit, Plan
from tests.helpers.chaos.process import Request, running_chaos_server

LIMIT = 600
SHARED_SECONDS, ALONE_SECONDS, JUDGED_SECONDS = 55.0, 25.0, 15.0


@pytest.mark.long
def test_two_runs_have_half_each_and_one_takes_over_when_the_other_is_killed(tmp_path: Path) -> None:
    with running_chaos_server(Plan(limits=(Limit(LIMIT),)), tmp_path) as server:
        first, second = (ChaosJob(tmp_path, server.origin, 10 * LIMIT, name=name) for name in ("first", "second"))
        with first.running() as survivor:
            with second.running() as killed:
                let_run(killed, SHARED_SECONDS)
                killed.kill()
            let_run(survivor, ALONE_SECONDS)
            survivor.terminate()
            survivor.wait(60)
        requests = server.read_requests()
    killed_at = max(request.arrived_at for request in requests if second.name in request.prompt)
    shares = [measure_used(requests, job.name, killed_at - JUDGED_SECONDS, killed_at) for job in (first, second)]
    assert min(shares) >= 0.35
    assert sum(shares) >= 0.85
    begin = killed_at + ALONE_SECONDS - JUDGED_SECONDS - 2
    assert measure_used(requests, first.name, begin, begin + JUDGED_SECONDS) >= 0.85


def let_run(process: subprocess.Popen[str], seconds: float) -> None:
    """Wait for so long while a process runs on."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    assert process.poll() is None


def measure_used(requests: Sequence[Request], name: str, begin: float, end: float) -> float:
    """The share of the limit that answers to one job made up between two moments."""
    answers = count_answers([request for request in requests if name in request.prompt], begin, end)
    return answers / (LIMIT / 60 * (end - begin))
