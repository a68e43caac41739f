"""A provider that refuses every request as one too many, in virtual time; and limits, which are no outage."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import pytest

from mediamill.tasks.calls.circuit_breaker import REFUSED_SECONDS
from mediamill.tasks.errors import ProviderDown
from tests.calls.simulated_outages import LATENCY_SECONDS, SimulatedProvider, SimulatedRun
from tests.calls.virtual_time import run_virtual
from tests.helpers.tiers import mark_rest_long

GONE_AT = 5.0
TOLD_SECONDS = REFUSED_SECONDS + 16
"""The last refusal may have come just before that time, and the next request goes after 15 s."""


def simulate(run: SimulatedRun, seconds: float = 10**9) -> SimulatedRun:
    run_virtual(lambda: run.run(seconds))
    return run


@pytest.mark.parametrize("hint", mark_rest_long([None, 2.0, 50.0], [None, 50.0]))
@pytest.mark.parametrize(("concurrency", "max_retries"), [(64, 5), (1, 0)])
def test_refusals_alone_stop_the_run_and_fail_nothing(hint: float | None, concurrency: int, max_retries: int) -> None:
    provider = SimulatedProvider("rate_limit", outages=[(GONE_AT, 10**9)], hint=hint)
    run = simulate(SimulatedRun(provider, 3000, concurrency=concurrency, wait_seconds=200, max_retries=max_retries))
    assert (run.failed, run.gate.outages) == ([], 1)
    assert isinstance(run.stop, ProviderDown)
    assert "simulated refuses every request since" in run.stop.message
    assert run.stopped_at == pytest.approx(provider.in_outages[0] + 200, abs=2)
    assert len(provider.in_outages) <= 100


def test_refusals_alone_are_told_after_about_a_minute() -> None:
    async def describe() -> Any:
        run = SimulatedRun(SimulatedProvider("rate_limit", outages=[(GONE_AT, 10**9)]), 3000, wait_seconds=200)
        running = asyncio.ensure_future(run.run())
        await asyncio.sleep(GONE_AT + TOLD_SECONDS)
        outage = run.gate.describe_outage()
        await running
        return outage

    outage = run_virtual(describe)
    assert (outage.refuses, outage.cause) == (True, "simulated rate_limit")


@pytest.mark.parametrize("items", [1, 3000])
@pytest.mark.parametrize("kind", ["rate_limit", "overloaded"])
def test_a_provider_that_is_back_later_than_the_run_waits_stops_it_at_once(kind: str, items: int) -> None:
    gone_at = GONE_AT if items > 1 else 0.0
    provider = SimulatedProvider(kind, outages=[(gone_at, 10**9)], hint=86_400.0)
    run = simulate(SimulatedRun(provider, items))
    if (kind, items) == ("overloaded", 1):  # it may be the request's own fault, and fails by its retries
        assert (run.failed, run.stop) == (["overloaded"], None)
        return
    assert run.failed == []
    assert isinstance(run.stop, ProviderDown)
    assert "asks for 24 h 00 min without requests" in run.stop.message
    assert "--wait-for-provider" in (run.stop.hint or "")
    if kind == "rate_limit":
        assert run.stopped_at <= gone_at + 15
        assert len(provider.in_outages) <= 20


def test_a_long_wait_is_told_and_waited_for_as_long_as_the_user_allows() -> None:
    provider = SimulatedProvider("rate_limit", outages=[(GONE_AT, 300)], hint=250.0)

    async def describe() -> tuple[SimulatedRun, Any]:
        run = SimulatedRun(provider, 3000)
        running = asyncio.ensure_future(run.run())
        await asyncio.sleep(GONE_AT + 12)
        outage = run.gate.describe_outage()
        await running
        return run, outage

    run, outage = run_virtual(describe)
    assert outage.since < outage.back_at < outage.gives_up_at
    assert (run.done, run.failed, run.stop) == (3000, [], None)
    assert len(provider.in_outages) <= 20
    assert min(at for at in provider.answered if at > 300) <= 300 + 60 + 1


@pytest.mark.long
def test_after_it_the_pace_is_what_it_was() -> None:
    provider = SimulatedProvider("rate_limit", outages=[(GONE_AT, 200)])
    run = simulate(SimulatedRun(provider), seconds=230)
    assert run.gate.outages == 1
    assert provider.measure_rate(220, 230) >= 0.9 * 64 / LATENCY_SECONDS


@dataclass
class _LimitedProvider(SimulatedProvider):
    """Accepts ``per_minute`` requests in each ``window``: a fixed or a sliding minute, or at once (``in_flight``)."""

    kind: str = "rate_limit"
    per_minute: int = 20
    window: str = "fixed"
    accepted: deque[float] = field(default_factory=deque)

    def refuses(self, at: float) -> bool:
        begin = at // 60 * 60 if self.window == "fixed" else at - 60
        if self.window == "in_flight":
            begin = at - 0.5 * self.latency
        while self.accepted and self.accepted[0] < begin:
            self.accepted.popleft()
        if len(self.accepted) >= self.per_minute:
            return True
        self.accepted.append(at)
        return False


@pytest.mark.parametrize("hint", mark_rest_long([None, 20.0, 60.0], [None, 60.0]))
@pytest.mark.parametrize(
    ("window", "per_minute", "latency"),
    mark_rest_long(
        [("fixed", 5, 0.2), ("fixed", 60, 20.0), ("sliding", 20, 0.2), ("in_flight", 4, 150.0)],
        [("fixed", 5, 0.2), ("sliding", 20, 0.2)],
    ),
)
def test_a_limit_that_is_reached_is_no_outage(window: str, per_minute: int, latency: float, hint: float | None) -> None:
    provider = _LimitedProvider(per_minute=per_minute, window=window, latency=latency, hint=hint)
    run = simulate(SimulatedRun(provider, wait_seconds=600), seconds=1200)
    assert (run.gate.outages, run.stop) == (0, None)
    assert run.done > 0


@pytest.mark.parametrize(("share", "concurrency"), [(0.02, 1), (0.02, 64), (0.3, 64)])
def test_refusals_at_random_that_ask_for_a_long_wait_stop_nothing(share: float, concurrency: int) -> None:
    provider = SimulatedProvider("rate_limit", share, hint=3600.0)
    run = simulate(SimulatedRun(provider, concurrency=concurrency), seconds=20)
    assert run.stop is None
    assert run.done > 0


@pytest.mark.parametrize("concurrency", mark_rest_long([2, 16, 64], [16]))
def test_a_hang_in_mid_run_stops_it_soon_after_the_wait(concurrency: int) -> None:
    provider = SimulatedProvider("hang", outages=[(20, 10**9)], latency=LATENCY_SECONDS)
    run = simulate(SimulatedRun(provider, concurrency=concurrency, wait_seconds=10, has_life=False))
    assert isinstance(run.stop, ProviderDown)
    assert run.failed == []
    deadline, look = 5.0, 10.0 * (concurrency < 16)
    assert 20 + deadline + 10 <= run.stopped_at <= 20 + deadline + 10 + look + 3


@pytest.mark.parametrize("kind", ["reset", "short_body"])
@pytest.mark.parametrize(("concurrency", "latency"), mark_rest_long([(16, 0.2), (64, 0.2), (64, 1.0)], [(64, 0.2)]))
def test_few_requests_are_lost_where_each_may_be_billed(kind: str, concurrency: int, latency: float) -> None:
    provider = SimulatedProvider(kind, outages=[(GONE_AT, 10**9)], latency=latency)
    simulate(SimulatedRun(provider, concurrency=concurrency), seconds=GONE_AT + 10)
    assert len(provider.in_outages) <= concurrency + 30
