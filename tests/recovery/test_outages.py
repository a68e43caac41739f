"""A provider that is away for a minute, that hangs for a minute, and that never comes back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.chaos.figures import keep_figures
from tests.helpers.chaos.jobs import LATENCY, ChaosJob
from tests.helpers.chaos.money import Ledger, find_item_faults, find_money_faults
from tests.helpers.chaos.pace import Course, count_answers, measure_amplification
from tests.helpers.chaos.plan import Phase, Plan
from tests.helpers.chaos.process import Request, running_chaos_server

BEGIN, END = 10.0, 70.0
ITEMS = int(40 * 64 / LATENCY)
FULL_SHARE = 0.9
"""The share of the possible rate that counts as full: five seconds are a small sample."""


@pytest.mark.proof
@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("in_flight", [64, 256])
@pytest.mark.parametrize("kind", ["refused", "503", "reset"])
def test_after_an_outage_the_run_is_at_full_rate_in_ten_seconds(kind: str, in_flight: int, tmp_path: Path) -> None:
    plan = Plan(latency=LATENCY * in_flight / 64, phases=(Phase(BEGIN, END, kind),))
    with running_chaos_server(plan, tmp_path) as server:
        job = ChaosJob(tmp_path, server.origin, ITEMS, in_flight=in_flight)
        code = job.run(timeout=400)
    requests, ledger = server.read_requests(), Ledger.read(job.out)
    share, back_after = measure_return(requests, Course(plan, in_flight))
    amplification = measure_amplification(requests)
    keep_figures(f"outage-{kind}-{in_flight}", share=share, back_after=back_after, amplification=amplification)
    assert code == 0
    assert not find_item_faults(ledger, job.item_ids)
    assert not find_money_faults(ledger, requests)
    assert not ledger.failures
    assert share >= FULL_SHARE
    assert amplification <= 1.2


@pytest.mark.proof
@pytest.mark.usefixtures("alone")
def test_a_black_hole_of_a_minute_costs_a_minute(tmp_path: Path) -> None:
    plan = Plan(latency=LATENCY, phases=(Phase(BEGIN, END, "hang"),))
    with running_chaos_server(plan, tmp_path) as server:
        job = ChaosJob(tmp_path, server.origin, ITEMS)
        code = job.run(timeout=500)
    requests, ledger = server.read_requests(), Ledger.read(job.out)
    share, back_after = measure_return(requests, Course(plan, job.in_flight))
    keep_figures(
        "black-hole",
        share=share,
        back_after=back_after,
        amplification=measure_amplification(requests),
        known_usd=str(ledger.known_usd),
        unknown_usd=str(ledger.unknown_usd),
    )
    assert code == 0
    assert not find_item_faults(ledger, job.item_ids)
    assert not find_money_faults(ledger, requests)
    assert not ledger.failures
    assert share >= FULL_SHARE
    assert measure_amplification(requests) <= 1.2


@pytest.mark.proof
@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("kind", ["refused", "503", "hang"])
def test_a_provider_that_is_gone_stops_the_run_and_a_rerun_completes_it(kind: str, tmp_path: Path) -> None:
    plan = Plan(latency=LATENCY, phases=(Phase(5.0, 1e9, kind),))
    with running_chaos_server(plan, tmp_path) as server:
        job = ChaosJob(tmp_path, server.origin, 3000, options=("--timeout", "30s"))
        code = job.run("--wait-for-provider", "30s", timeout=240)
        stopped, stopped_after = Ledger.read(job.out), max(r.arrived_at for r in server.read_requests())
        server.follow(replace(plan, phases=()))
        rerun = job.run("--wait-for-provider", "30s", timeout=240)
    requests, ledger = server.read_requests(), Ledger.read(job.out)
    keep_figures(
        f"gone-{kind}", code=code, done=len(stopped.results), failed=len(stopped.failures), after=stopped_after
    )
    assert code == 4
    assert not stopped.failures
    assert 0 < len(stopped.results) < job.items
    assert rerun == 0
    assert not find_item_faults(ledger, job.item_ids)
    assert not find_money_faults(ledger, requests)


def measure_return(requests: list[Request], course: Course) -> tuple[float, float]:
    """The share of the full rate in the five seconds from ten after the first success, and when that success came.

    It is counted from the end of the outage in seconds. Full is what this machine did before the outage.
    """
    before = count_answers(requests, BEGIN - 5.0, BEGIN) / 5.0
    assert before >= 0.7 * course.compute_rate(0.0), "the machine was too busy to judge"
    first = min(r.ended_at for r in requests if r.is_answered and r.ended_at is not None and r.ended_at > END)
    begin = first + 10.0
    return count_answers(requests, begin, begin + 5.0) / 5.0 / before, first - END
