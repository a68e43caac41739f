"""Outages and steady faults through gate, limiter and retries, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediamill.tasks.calls.failure_streak import FailureStreak
from mediamill.tasks.calls.outage_patience import DEFAULT_WAIT_SECONDS, UNREACHED_WAIT_SECONDS
from mediamill.tasks.calls.provider_gate import ProviderGate
from mediamill.tasks.errors import ProviderDown
from mediamill.tasks.wire import Problem
from tests.calls.simulated_outages import LATENCY_SECONDS, SEND_SECONDS, SimulatedProvider, SimulatedRun
from tests.calls.virtual_time import run_virtual
from tests.helpers.hypothesis_profile import count_examples
from tests.helpers.tiers import mark_tiers

KINDS = ("reset", "overloaded", "short_body", "deadline")
FAULTS = [(kind, share, n) for kind in KINDS for share in (0.1, 0.2, 0.3) for n in (64, 256)]
QUICK_FAULTS = [("reset", 0.2, 8)]
LONG_FAULTS = [(kind, 0.3, 64) for kind in KINDS]
TIERED_FAULTS = mark_tiers([*QUICK_FAULTS, *FAULTS], quick=QUICK_FAULTS, long=LONG_FAULTS)
PROBE_SECONDS = 5.0


def simulate(run: SimulatedRun, seconds: float = 10**9) -> SimulatedRun:
    run_virtual(lambda: run.run(seconds))
    return run


@pytest.mark.parametrize(("kind", "share", "concurrency"), TIERED_FAULTS)
def test_steady_faults_leave_most_of_the_rate(kind: str, share: float, concurrency: int) -> None:
    provider = SimulatedProvider(kind, share)
    begin = 26 if kind == "overloaded" else 1  # the limiter has to learn that it is noise
    run = simulate(SimulatedRun(provider, concurrency=concurrency), seconds=begin + 3)
    mean_seconds = LATENCY_SECONDS if kind != "deadline" else (1 - share) * LATENCY_SECONDS + share * 1.0
    possible = concurrency / mean_seconds * (1 - share)
    assert provider.measure_rate(begin, begin + 3) >= 0.7 * min(possible, (1 - share) / SEND_SECONDS)
    assert run.gate.outages == 0


@pytest.mark.long
def test_steady_faults_that_ask_for_an_hour_leave_no_gap() -> None:
    provider = SimulatedProvider("server_error", 0.3, hint=3600.0)
    run = simulate(SimulatedRun(provider), seconds=100)
    assert all(provider.measure_rate(begin, begin + 5) >= 0.7 * 0.7 * 64 / LATENCY_SECONDS for begin in range(5, 95, 5))
    assert run.gate.outages == 0


@pytest.mark.parametrize(
    ("share", "seconds", "concurrency"),
    mark_tiers(
        [(share, s, n) for share, s in ((0.5, 5), (0.7, 10), (0.8, 30), (0.9, 60)) for n in (64, 256)],
        quick=[],
        long=[(0.5, 5, 64), (0.9, 60, 64)],
    ),
)
def test_many_faults_do_not_make_it_flap(share: float, seconds: float, concurrency: int) -> None:
    run = simulate(SimulatedRun(SimulatedProvider("reset", share), concurrency=concurrency), seconds)
    assert run.gate.outages == 0


@pytest.mark.long
@pytest.mark.parametrize("kind", ["reset", "refused", "overloaded"])
@pytest.mark.parametrize("concurrency", [64, 256])
@pytest.mark.parametrize("hint", [None, 60.0])
def test_after_an_outage_the_run_is_back_within_seconds(kind: str, concurrency: int, hint: float | None) -> None:
    provider = SimulatedProvider(kind, outages=[(2, 62)], hint=hint)
    run = simulate(SimulatedRun(provider, items=3000, concurrency=concurrency))
    assert (run.done, run.failed, run.stop) == (3000, [], None)
    assert len(provider.sent) <= 1.2 * 3000
    assert run.gate.outages == 1
    assert run.max_in_flight_while_out <= 1
    first = min(at for at in provider.answered if at > 62)
    assert first <= 62 + max(PROBE_SECONDS, 0 if hint is None else 10) + 2 * LATENCY_SECONDS
    if concurrency == 64:  # with 256 the items have ended before
        assert provider.measure_rate(first + 2, first + 4) >= 0.9 * concurrency / LATENCY_SECONDS


@pytest.mark.parametrize("latency", [0.5, 2.0])
def test_answers_from_before_an_outage_of_overload_do_not_hide_what_the_provider_can_do(latency: float) -> None:
    provider = SimulatedProvider("overloaded", outages=[(10, 30)], latency=latency)
    run = simulate(SimulatedRun(provider, items=10**9), seconds=55)
    assert run.gate.outages == 1
    assert provider.measure_rate(45, 55) >= 0.9 * provider.measure_rate(5, 10)


@pytest.mark.parametrize("concurrency", [1, 4, 16])
def test_an_outage_fails_no_item_with_few_in_flight_either(concurrency: int) -> None:
    provider = SimulatedProvider("overloaded", outages=[(2, 200)])
    run = simulate(SimulatedRun(provider, items=120, concurrency=concurrency))
    assert (run.done, run.failed) == (120, [])


@pytest.mark.parametrize(("kind", "left"), [("overloaded", 1), ("overloaded", 3), ("reset", 2), ("server_error", 4)])
def test_an_outage_fails_none_of_the_last_items(kind: str, left: int) -> None:
    provider = SimulatedProvider(kind, outages=[(0, 100)], first_failing=20)
    run = simulate(SimulatedRun(provider, items=20 + left, concurrency=1))
    assert (run.done, run.failed) == (20 + left, [])
    assert provider.answered[-1] > 100


def test_one_last_item_that_breaks_the_server_each_time_fails_by_itself() -> None:
    provider = SimulatedProvider("reset", outages=[(0, 10**9)], first_failing=20)
    run = simulate(SimulatedRun(provider, items=21, concurrency=1))
    assert (run.done, run.failed, run.stop) == (20, ["reset"], None)


@pytest.mark.parametrize("kind", ["reset", "deadline"])
@pytest.mark.parametrize("answered_before", [0, 20])
def test_one_last_item_is_left_where_nothing_else_at_the_address_is_answered(kind: str, answered_before: int) -> None:
    provider = SimulatedProvider(kind, outages=[(0, 10**9)], first_failing=answered_before)
    run = simulate(SimulatedRun(provider, answered_before + 1, concurrency=1, wait_seconds=60, has_life=False))
    assert (run.done, run.failed) == (answered_before, [])
    assert isinstance(run.stop, ProviderDown)
    assert 60 <= run.stopped_at <= 60 + 15


def test_one_last_item_is_done_when_an_address_that_was_gone_answers_again() -> None:
    provider = SimulatedProvider("reset", outages=[(0, 200)], first_failing=20)
    run = simulate(SimulatedRun(provider, items=21, concurrency=1, has_life=False))
    assert (run.done, run.failed, run.stop) == (21, [], None)


@pytest.mark.parametrize("kind", ["reset", "overloaded", "refused"])
@pytest.mark.parametrize("left", [1, 2])
def test_the_last_items_wait_no_longer_for_a_provider_than_the_job_says(kind: str, left: int) -> None:
    provider = SimulatedProvider(kind, outages=[(0, 10**9)], first_failing=20)
    run = simulate(
        SimulatedRun(provider, 20 + left, concurrency=1, wait_seconds=8, max_retries=9, has_life=kind == "overloaded")
    )
    assert (run.done, run.failed) == (20, [])
    assert isinstance(run.stop, ProviderDown)
    failing_since = provider.in_outages[0]
    last_attempt_seconds = max(after - before for before, after in itertools.pairwise(provider.in_outages))
    assert failing_since + 8 <= run.stopped_at <= failing_since + 8 + 10 + last_attempt_seconds


def test_a_short_wait_does_not_end_a_run_whose_requests_fail_at_random() -> None:
    run = simulate(SimulatedRun(SimulatedProvider("reset", 0.3), items=400, concurrency=2, wait_seconds=0))
    assert (run.done + len(run.failed), run.stop) == (400, None)


def test_few_items_that_break_the_server_each_time_fail_in_a_run_of_their_own() -> None:
    provider = SimulatedProvider("server_error", outages=[(0, 10**9)])
    run = simulate(SimulatedRun(provider, items=4))
    assert (run.done, run.failed, run.stop) == (0, ["server_error"] * 4, None)


def test_an_outage_is_not_counted_against_the_retries_nor_their_time() -> None:
    provider = SimulatedProvider("refused", outages=[(0.5, 2000)])
    run = simulate(SimulatedRun(provider, items=300, concurrency=16, wait_seconds=3600, max_retries=1))
    assert (run.done, run.failed) == (300, [])


def test_a_provider_that_is_gone_stops_the_run_and_fails_nothing() -> None:
    provider = SimulatedProvider("refused", outages=[(1, 10**9)])
    run = simulate(SimulatedRun(provider, items=2000))
    assert run.failed == []
    assert isinstance(run.stop, ProviderDown)
    assert run.stop.kind == "provider_gone"
    assert run.stopped_at == pytest.approx(1 + DEFAULT_WAIT_SECONDS, abs=1)
    assert "simulated does not answer since" in run.stop.message
    assert "simulated refused" in run.stop.message
    assert len([at for at in provider.sent if at > 5]) <= DEFAULT_WAIT_SECONDS / PROBE_SECONDS + 5


@pytest.mark.parametrize(("wait", "stopped_at"), [(0.0, 1.0), (1200.0, 1201.0)])
def test_the_job_says_how_long_the_run_waits(wait: float, stopped_at: float) -> None:
    provider = SimulatedProvider("refused", outages=[(1, 10**9)])
    run = simulate(SimulatedRun(provider, items=2000, wait_seconds=wait))
    assert run.stopped_at == pytest.approx(stopped_at, abs=1)


@pytest.mark.parametrize("max_retries", [0, 5])
def test_an_address_where_nothing_ever_answered_is_given_up_soon(max_retries: int) -> None:
    provider = SimulatedProvider("refused", outages=[(0, 10**9)])
    run = simulate(SimulatedRun(provider, items=1, concurrency=4, max_retries=max_retries))
    assert isinstance(run.stop, ProviderDown)
    assert "has not answered at all" in run.stop.message
    assert "--base-url" in (run.stop.hint or "")
    assert run.stopped_at <= UNREACHED_WAIT_SECONDS + 15
    assert run.failed == []


def test_a_request_that_the_server_refuses_each_time_fails_by_itself() -> None:
    provider = SimulatedProvider("overloaded", outages=[(0, 10**9)])
    run = simulate(SimulatedRun(provider, items=1))
    assert (run.failed, run.stop, run.attempts[0]) == (["overloaded"], None, 6)


def test_an_outage_is_described() -> None:
    async def describe() -> Any:
        run = SimulatedRun(SimulatedProvider("overloaded", outages=[(1, 100)]), items=2000)
        running = asyncio.ensure_future(run.run())
        await asyncio.sleep(0.9)
        assert run.gate.describe_outage() is None
        await asyncio.sleep(9.1)
        outage = run.gate.describe_outage()
        await running
        assert run.gate.describe_outage() is None
        assert run.gate.measure_outage_seconds() == pytest.approx(100, abs=PROBE_SECONDS + 1)
        return outage

    outage = run_virtual(describe)
    assert (outage.provider, outage.cause) == ("simulated", "simulated overloaded")
    assert outage.next_try_s is None or 0 <= outage.next_try_s <= PROBE_SECONDS
    assert outage.since < outage.gives_up_at


@dataclass
class _Endpoint:
    """An endpoint that is out until ``back_at``. It checks that only one probe at a time comes while it is out."""

    gate: ProviderGate
    back_at: float
    out: int = 0
    streak: FailureStreak | None = None

    async def call(self, number: int, delay: float, action: str, is_slow: bool) -> None:
        await asyncio.sleep(delay)
        while not await self.send_once(str(number), give_back=action == "give back", slow_seconds=0.3 * is_slow):
            pass

    async def send_once(self, request: str, *, give_back: bool = False, slow_seconds: float = 0.0) -> bool:
        with await self.gate.admit(request) as admission:
            await asyncio.sleep(slow_seconds)
            if give_back:
                return True
            if not admission.may_go():
                return False
            was_out = self.gate.is_out
            admission.start()
            self.out += 1
            assert not was_out or self.out == 1
            try:
                await asyncio.sleep(0.1 if was_out else 0.001)
            finally:
                self.out -= 1  # also where the caller was cancelled
            is_back = asyncio.get_running_loop().time() >= self.back_at
            self.streak = admission.report(None if is_back else Problem("retry", "refused", "no"))
            return is_back


_CALLERS = st.lists(
    st.tuples(st.floats(0, 20), st.sampled_from(["send", "give back", "cancel"]), st.booleans()), max_size=40
)


@settings(max_examples=count_examples(40), deadline=None)
@given(_CALLERS, st.floats(1, 12))
def test_nothing_but_one_probe_goes_while_it_is_open_and_nobody_waits_for_ever(
    callers: list[tuple[float, str, bool]], back_at: float
) -> None:
    async def script() -> None:
        gate = ProviderGate("p", check_stop=lambda: None, request_stop=lambda _: None, wait_seconds=3600)
        endpoint = _Endpoint(gate, asyncio.get_running_loop().time() + back_at)
        await endpoint.send_once("first")
        assert endpoint.streak is not None
        assert await gate.confirm_outage(endpoint.streak)
        tasks = [asyncio.ensure_future(endpoint.call(n, *caller)) for n, caller in enumerate(callers)]
        await asyncio.sleep(back_at / 2)
        for task, (_, action, _) in zip(tasks, callers, strict=True):
            if action == "cancel":
                task.cancel()
        async with asyncio.timeout(200):
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [result for result in results if isinstance(result, Exception)] == []
        gate.close()

    run_virtual(script)
