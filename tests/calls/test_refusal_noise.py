"""Refusals that come at random, whatever the rate: the limiter keeps its pace, in virtual time."""

from __future__ import annotations

import asyncio
import json
import math
import random

import pytest

from mediamill.tasks.calls.rate_limiter import Limiter
from mediamill.tasks.calls.refusal_trial import RefusalTrial
from mediamill.tasks.wire import Quota
from tests.calls.virtual_time import SimulatedServer, offer_load, run_virtual
from tests.helpers.tiers import mark_rest_long, mark_tiers

MEAN_LATENCY = 0.2125
"""Seconds: that of the simulated server and of the way there."""


def send_for(limiter: Limiter, server: SimulatedServer, seconds: float) -> float:
    """Send for ``seconds``; returns when it began."""

    async def main() -> float:
        began_at = server.updated_at = asyncio.get_running_loop().time()
        await offer_load(limiter, server, began_at + seconds)
        return began_at

    return run_virtual(main)


@pytest.mark.parametrize(
    ("share", "hint", "in_flight"),
    mark_tiers(
        [
            (0.02, 5.0, 16),
            (0.3, 2.0, 16),
            *((share, hint, 64) for share in (0.005, 0.01, 0.02, 0.04) for hint in (None, 1.0, 2.0, 5.0)),
            *((share, hint, 64) for share in (0.1, 0.2, 0.3) for hint in (None, 2.0)),
        ],
        quick=[(0.02, 5.0, 16)],
        long=[(0.3, 2.0, 16), (0.005, None, 64), (0.04, 5.0, 64), (0.2, None, 64)],
    ),
)
def test_random_429s_do_not_set_the_pace(share: float, hint: float | None, in_flight: int) -> None:
    server = SimulatedServer(math.inf, 0.2, noise=share, noise_hint=hint)
    began = send_for(Limiter(Quota(concurrency=in_flight)), server, 180)
    assert server.count_accepted(began + 60, began + 180) >= 0.85 * (1 - share) * in_flight / MEAN_LATENCY


@pytest.mark.parametrize(
    ("share", "hint", "in_flight"),
    mark_tiers(
        [(0.2, None, 16), (0.3, 2.0, 256), *((share, hint, 64) for share in (0.1, 0.2, 0.3) for hint in (None, 2.0))],
        quick=[(0.2, None, 16)],
        long=[(0.3, None, 64)],
    ),
)
def test_random_503s_do_not_set_the_concurrency(share: float, hint: float | None, in_flight: int) -> None:
    server = SimulatedServer(math.inf, 0.2, noise=share, noise_outcome="overloaded", noise_hint=hint)
    began = send_for(Limiter(Quota(concurrency=in_flight)), server, 180)
    assert server.count_accepted(began + 60, began + 180) >= 0.7 * in_flight / MEAN_LATENCY


@pytest.mark.parametrize("share", mark_rest_long([0.005, 0.02, 0.04], [0.04]))
def test_a_server_that_is_healthy_again_is_used_in_full_within_a_minute(share: float) -> None:
    server = SimulatedServer(math.inf, 0.2, noise=share, noise_hint=5.0, noise_ends_at=1060)
    began = send_for(Limiter(Quota(concurrency=16)), server, 150)
    assert server.count_accepted(began + 120, began + 150) >= 0.95 * 16 / MEAN_LATENCY


@pytest.mark.parametrize(("share", "in_flight"), mark_rest_long([(0.95, 16), (0.8, 64), (0.95, 64)], [(0.95, 16)]))
def test_after_a_brown_out_the_concurrency_is_full_again_within_15_seconds(share: float, in_flight: int) -> None:
    server = SimulatedServer(math.inf, 0.2, noise=share, noise_outcome="overloaded", noise_ends_at=1060)
    began = send_for(Limiter(Quota(concurrency=in_flight)), server, 90)
    assert server.count_accepted(began + 75, began + 90) >= 0.9 * in_flight / MEAN_LATENCY


@pytest.mark.parametrize("rpm", mark_rest_long([20, 600], [20]))
def test_a_pace_of_an_earlier_run_is_left_within_a_minute_on_a_healthy_server(rpm: float) -> None:
    limiter = Limiter(Quota(concurrency=16))
    send_for(limiter, SimulatedServer(rpm / 60, 0.2), 90)
    restored = Limiter(Quota(concurrency=16))
    restored.restore_state(json.loads(json.dumps(limiter.export_state())), 60.0)
    assert restored.requests_per_second is not None
    server = SimulatedServer(math.inf, 0.2)
    began = send_for(restored, server, 70)
    assert server.count_accepted(began + 60, began + 70) >= 0.95 * 16 / MEAN_LATENCY


def test_what_was_learned_is_forgotten_after_an_hour_and_its_age_goes_on_over_runs() -> None:
    limiter = Limiter()
    limiter.restore_state({"rate": {"pace": 5.0, "age": 1800.0}}, 1700.0)
    assert limiter.requests_per_second == 5.0
    state = limiter.export_state()
    later = Limiter()
    later.restore_state(state, 200.0)
    assert later.requests_per_second is None


@pytest.mark.parametrize(("rpm", "share"), mark_rest_long([(3000, 0.01), (3000, 0.04)], [(3000, 0.01)]))
def test_a_limit_is_kept_under_noise(rpm: float, share: float) -> None:
    server = SimulatedServer(rpm / 60, 0.2, noise=share)
    began = send_for(Limiter(Quota(concurrency=32)), server, 240)
    used, refused = server.measure_between(began + 60, began + 240)
    assert used >= 0.85
    assert refused <= 0.05


@pytest.mark.parametrize("share", mark_rest_long([0.02, 0.04], [0.02]))
def test_a_later_run_knows_the_noise_beside_its_limit(share: float) -> None:
    limiter = Limiter(Quota(concurrency=64))
    send_for(limiter, SimulatedServer(20, 0.2, noise=share), 150)
    restored = Limiter(Quota(concurrency=64))
    restored.restore_state(json.loads(json.dumps(limiter.export_state())), 5.0)
    server = SimulatedServer(20, 0.2, noise=share)
    began = send_for(restored, server, 70)
    assert server.count_accepted(began + 10, began + 70) >= 0.75 * 20


def test_refusals_that_cuts_do_not_change_are_noise_and_the_cuts_are_undone() -> None:
    trial, rng = RefusalTrial(4), random.Random(3)
    load, restored = 100.0, None
    for number in range(2000):
        if rng.random() < 0.03 and trial.record_refusal(number):
            restored = trial.judge_cuts(number, number + 1, load)
            if restored is not None:
                break
            load *= 0.97
            trial.record_cut(load)
    assert restored == 100.0
    assert 0.01 <= trial.noise <= 0.1


def test_refusals_that_end_with_a_cut_are_a_limit() -> None:
    trial, load = RefusalTrial(4), 100.0
    for number in range(20_000):
        load *= 1.0004  # it grows, and meets the limit again and again
        if load > 100 and number % 20 == 0 and trial.record_refusal(number):
            assert trial.judge_cuts(number, number + 1, load) is None
            load *= 0.95
            trial.record_cut(load)
    assert trial.noise == 0
