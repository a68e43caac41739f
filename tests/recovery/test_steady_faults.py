"""3,000 prompts while a share of all requests fails: every item ends, the ledger is the bill, and the pace is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.chaos.figures import keep_figures
from tests.helpers.chaos.jobs import LATENCY, ChaosJob
from tests.helpers.chaos.money import Ledger, find_item_faults, find_money_faults
from tests.helpers.chaos.pace import Course, measure_amplification, measure_bulk_rate
from tests.helpers.chaos.plan import Plan
from tests.helpers.chaos.process import running_chaos_server

FAULTS: dict[str, dict[str, float]] = {
    "429-with-hint": {"rate_limit_hint": 1.0},
    "429": {"rate_limit": 1.0},
    "503": {"503": 1.0},
    "500": {"500": 1.0},
    "reset": {"reset": 1.0},
    "reset-in-body": {"reset_in_body": 1.0},
    "broken-json": {"bad_json": 1.0},
    "no-answer-in-200": {"empty": 0.5, "error_in_200": 0.5},
    "slow": {"slow": 1.0},
}
PACED = ("429-with-hint", "429")
"""Refusals of so many requests are a reason to go slower; how much slower is no promise."""
ITEMS = 3000


@pytest.mark.proof
@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("percent", [10, 20, 30])
@pytest.mark.parametrize("fault", FAULTS)
def test_steady_faults_lose_nothing_and_leave_the_pace(fault: str, percent: int, tmp_path: Path) -> None:
    plan = Plan(latency=LATENCY, shares={kind: part * percent / 100 for kind, part in FAULTS[fault].items()})
    with running_chaos_server(plan, tmp_path) as server:
        job = ChaosJob(tmp_path, server.origin, ITEMS)
        code = job.run(timeout=500)
    requests, ledger = server.read_requests(), Ledger.read(job.out)
    rate = measure_bulk_rate(requests)
    possible = Course(plan, job.in_flight).compute_rate(0.0)
    amplification = measure_amplification(requests)
    expected = 1.0 if fault == "slow" else 1 / (1 - percent / 100)
    keep_figures(
        f"steady-{fault}-{percent}",
        answers_per_second=rate,
        possible=possible,
        share=rate / possible,
        amplification=amplification / expected,
        seconds=max(request.arrived_at for request in requests),
        known_usd=str(ledger.known_usd),
        unknown_usd=str(ledger.unknown_usd),
    )
    assert code == 0
    assert not find_item_faults(ledger, job.item_ids)
    assert not find_money_faults(ledger, requests)
    assert not ledger.failures
    assert amplification <= 1.1 * expected
    if fault not in PACED:
        assert rate >= 0.7 * possible


@pytest.mark.proof
@pytest.mark.usefixtures("alone")
def test_single_requests_that_hang_hold_up_nobody_else(tmp_path: Path) -> None:
    plan = Plan(latency=LATENCY, shares={"hang": 0.002})
    with running_chaos_server(plan, tmp_path) as server:
        job = ChaosJob(tmp_path, server.origin, ITEMS, options=("--timeout", "60s"))
        code = job.run(timeout=300)
    requests, ledger = server.read_requests(), Ledger.read(job.out)
    rate, possible = measure_bulk_rate(requests), Course(plan, job.in_flight).compute_rate(0.0)
    hung = sum(request.kind == "hang" for request in requests)
    seconds = max(request.ended_at or 0.0 for request in requests)
    keep_figures("single-hang", hung=hung, answers_per_second=rate, share=rate / possible, seconds=seconds)
    assert hung
    assert code == 0
    assert not find_item_faults(ledger, job.item_ids)
    assert not find_money_faults(ledger, requests)
    assert rate >= 0.7 * possible
    assert seconds < ITEMS / possible + 27, "the last ones waited for the stated deadline"
