"""Two runs on one key: neither takes the other for noise, and neither waits for ever."""

from __future__ import annotations

import asyncio

import pytest

from mediamill.tasks.calls.noise_check import NoiseChecks
from mediamill.tasks.calls.rate_limiter import Limiter
from mediamill.tasks.calls.shared_limit import SharedLimit
from mediamill.tasks.wire import Quota
from tests.calls.virtual_time import SimulatedServer, offer_load, run_virtual
from tests.helpers.tiers import mark_rest_long


@pytest.mark.parametrize(
    ("rpm", "delay"), mark_rest_long([(120, 0), (600, 0), (600, 60), (3000, 60)], [(120, 0), (600, 60)])
)
def test_two_runs_on_one_key_use_the_limit_and_are_rarely_refused(rpm: float, delay: float) -> None:
    server = SimulatedServer(rpm / 60, 0.2)

    async def main() -> float:
        began = server.updated_at = asyncio.get_running_loop().time()
        server.tokens = max(1.0, server.limit)
        async with asyncio.TaskGroup() as group:
            group.create_task(offer_load(Limiter(Quota(concurrency=64)), server, began + 300))
            await asyncio.sleep(delay)
            group.create_task(offer_load(Limiter(Quota(concurrency=64)), server, began + 300))
        return began

    began = run_virtual(main)
    used, refused = server.measure_between(began + 120, began + 300)
    assert used >= 0.85
    assert refused <= 0.05


@pytest.mark.parametrize(("refused", "is_refuted"), [(0, True), (1, True), (2, False)])
def test_noise_that_falls_with_the_pace_is_none(refused: int, is_refuted: bool) -> None:
    checks = NoiseChecks()
    assert not checks.is_due(0.04, 5.0)
    assert not checks.record_refusal(0)
    assert checks.is_due(0.04, 10.0)
    assert checks.start(100, 0.04, 50.0) < 50.0
    assert not checks.is_due(0.04, 100.0)
    assert checks.record_refusal(99)  # sent before the check began
    for number in range(refused):
        assert checks.record_refusal(100 + number)
    verdict = checks.end(250, 0.04, 12.0)
    assert verdict == (is_refuted, 37.5 if is_refuted else 50.0)
    assert checks.end(251, 0.04, 12.0) is None


def test_noise_that_was_seen_is_checked_again_after_a_minute_and_sooner_when_it_rose() -> None:
    checks = NoiseChecks()
    checks.start(0, 0.1, 50.0)
    for number in range(11):
        checks.record_refusal(number)
    assert checks.end(20, 0.1, 100.0) == (False, 50.0)
    assert not checks.is_due(0.1, 150.0)
    assert checks.is_due(0.2, 110.0)
    assert checks.is_due(0.1, 160.0)
    assert not checks.is_due(0.01, 160.0)


def test_refusals_at_a_pace_that_was_accepted_for_a_while_are_foreign_and_two_show_a_shared_limit() -> None:
    shared = SharedLimit()
    assert not shared.record_signal(10.0, 1.1, 100, is_settled=True)  # our own growth
    assert not shared.record_signal(12.0, 1.0, 100, is_settled=True)  # too soon after it
    assert not shared.record_signal(20.0, 1.0, 10, is_settled=True)  # the pace may be a little too fast
    assert not shared.record_signal(30.0, 1.0, 100, is_settled=False)
    assert shared.record_signal(40.0, 1.0, 100, is_settled=True)
    assert not shared.is_shared(40.0)
    assert shared.record_signal(60.0, 1.0, 100, is_settled=True)
    assert shared.is_shared(60.0)
    assert not shared.is_shared(400.0)
    assert shared.compute_hold(1.3) / 1.3 < 3 * shared.compute_hold(8.7) / 8.7
