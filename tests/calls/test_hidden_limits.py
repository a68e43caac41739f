"""Small limits, and quotas for a minute, that show in refusals only, in virtual time."""

from __future__ import annotations

import itertools

import pytest

from mediamill.tasks.calls.rate_limiter import Limiter
from mediamill.tasks.wire import Quota
from tests.calls.test_rate_limiter import quota_for, simulate
from tests.calls.virtual_time import SimulatedServer
from tests.helpers.tiers import mark_rest_long

LONG_KINDS = [
    pytest.param(kind, tells, marks=pytest.mark.long)
    for kind, tells in (("fixed", ""), ("sliding", ""), ("sliding", "retry"))
]


@pytest.mark.parametrize(("rpm", "min_used", "max_burst"), [(20, 0.93, 8), (60, 0.95, 6)])
def test_a_small_unstated_limit_is_found_with_few_refusals(rpm: float, min_used: float, max_burst: int) -> None:
    server, began = simulate(Limiter(Quota(concurrency=64)), SimulatedServer(rpm / 60, 0.2), 300)
    used, refused = server.measure_between(began + 60, began + 300)
    assert used >= min_used
    assert refused <= 0.03  # two of 80
    assert sum(not good for at, good in server.log if at < began + 60) <= max_burst


def test_a_fixed_quota_is_spread_again_after_growth_went_beyond_it() -> None:
    server, began = simulate(Limiter(Quota(concurrency=64)), SimulatedServer(1, 0.2, "fixed"), 600)
    used, refused = server.measure_between(began + 60, began + 600)
    assert used >= 0.95
    assert refused <= 0.015


@pytest.mark.parametrize(
    ("rpm", "tells", "window_kind"),
    [
        (60, "", "fixed"),
        (60, "", "sliding"),
        pytest.param(300, "", "sliding", marks=pytest.mark.long),
        pytest.param(300, "retry", "sliding", marks=pytest.mark.long),
        *(pytest.param(300, tells, "fixed", marks=pytest.mark.long) for tells in ("", "retry")),
    ],
)
def test_an_unstated_quota_for_a_minute_is_measured_and_spread(rpm: float, tells: str, window_kind: str) -> None:
    server, began = simulate(
        Limiter(quota_for(rpm, 1)), SimulatedServer(rpm / 60, 0.2, window_kind, stated_on=tells), 360
    )
    used, refused = server.measure_between(began + 120, began + 360)
    assert used >= (0.93 if window_kind == "fixed" else 0.85)
    assert refused <= 0.03
    longest = max(
        sum(good for at, good in server.log if begin <= at < begin + 10)
        for begin in range(int(began) + 130, int(began) + 350)
    )
    assert longest <= rpm / 60 * 10 * 1.3  # and not all at once


@pytest.mark.parametrize(("window_kind", "tells"), [("fixed", "retry"), *LONG_KINDS])
def test_a_used_up_quota_refuses_what_is_in_flight_and_then_one_request_at_a_time(window_kind: str, tells: str) -> None:
    server, began = simulate(Limiter(Quota(concurrency=64)), SimulatedServer(10, 0.2, window_kind, stated_on=tells), 90)
    refused = [at for at, good in server.log if not good and at < began + 60]
    under_way = [at for at in refused if at < refused[0] + 0.1]
    assert len(under_way) <= 2 * 64 / 0.2 * 0.05  # 64 in flight, and refusals that take 0.05 s
    assert len(refused) - len(under_way) in (range(2) if tells else range(3, 10))
    assert all(after - before > 0.1 for before, after in itertools.pairwise(refused[len(under_way) :]))


@pytest.mark.parametrize("rpm", mark_rest_long([600, 3000], [600]))
def test_an_unstated_limit_that_is_halved_is_learned_within_a_minute(rpm: float) -> None:
    server, began = simulate(Limiter(quota_for(rpm, 1)), SimulatedServer(rpm / 60, 0.5), 390, {150: rpm / 120})
    used, refused = server.measure_between(began + 210, began + 390)
    assert used >= 0.95
    assert refused <= 0.012
