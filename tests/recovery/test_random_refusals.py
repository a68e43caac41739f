"""Refusals at random, whatever the pace: they must not set it, nor be remembered as a limit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.chaos.figures import keep_figures
from tests.helpers.chaos.jobs import LATENCY, ChaosJob
from tests.helpers.chaos.money import Ledger, find_item_faults, find_money_faults
from tests.helpers.chaos.pace import MINUTE_SECONDS, Course, count_answers
from tests.helpers.chaos.plan import Plan
from tests.helpers.chaos.process import running_chaos_server

IN_FLIGHT = 64
ITEMS = int(130 * IN_FLIGHT / LATENCY)
"""More than two minutes of them."""
HEALTHY_ITEMS = int(70 * IN_FLIGHT / LATENCY)
MEASURED_SECONDS = 10.0


@pytest.mark.proof
@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("kind", ["rate_limit", "rate_limit_hint"])
@pytest.mark.parametrize("percent", [0.5, 1, 2, 4])
def test_random_refusals_do_not_set_the_pace(kind: str, percent: float, tmp_path: Path) -> None:
    plan = Plan(latency=LATENCY, shares={kind: percent / 100})
    shared = ("--journal", str(tmp_path / "shared.sqlite"))
    with running_chaos_server(plan, tmp_path) as server:
        job = ChaosJob(tmp_path, server.origin, ITEMS, in_flight=IN_FLIGHT, options=shared)
        code = job.run(timeout=600)
        before = len(server.read_requests())
        server.follow(replace(plan, shares={}))
        healthy = ChaosJob(tmp_path, server.origin, HEALTHY_ITEMS, name="healthy", options=shared)
        healthy_code = healthy.run(timeout=600)
    requests, ledger = server.read_requests(), Ledger.read(job.out)
    noisy, calm = requests[:before], requests[before:]
    possible = Course(plan, job.in_flight).compute_rate(0.0)
    second_minute = count_answers(noisy, MINUTE_SECONDS, 2 * MINUTE_SECONDS) / MINUTE_SECONDS / possible
    healthy_rate = Course(replace(plan, shares={}), job.in_flight).compute_rate(0.0)
    begin = calm[0].arrived_at + MINUTE_SECONDS - MEASURED_SECONDS
    after_a_minute = count_answers(calm, begin, begin + MEASURED_SECONDS) / MEASURED_SECONDS / healthy_rate
    keep_figures(f"random-{kind}-{percent}", second_minute=second_minute, healthy_after_a_minute=after_a_minute)
    assert (code, healthy_code) == (0, 0)
    assert not find_item_faults(ledger, job.item_ids)
    assert not find_money_faults(ledger, noisy)
    assert second_minute >= 0.85
    assert after_a_minute >= 0.9
