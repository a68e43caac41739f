"""The limiter against a rate-limited server, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mediamill.tasks.calls.rate_limiter import Limiter, Permit
from mediamill.tasks.domain import Usage
from mediamill.tasks.wire import Quota, RateLimits
from tests.calls.virtual_time import SimulatedServer, offer_load, run_virtual
from tests.helpers.hypothesis_profile import count_examples
from tests.helpers.tiers import mark_rest_long

NO_USAGE = Usage()


def simulate(
    limiter: Limiter, server: SimulatedServer, seconds: float, changes: dict[float, float] | None = None
) -> tuple[SimulatedServer, float]:
    """Send for ``seconds``; ``changes`` maps moments to new limits. Returns the server and when it began."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        began_at = server.updated_at = loop.time()
        server.tokens = max(1.0, server.limit)
        for moment, limit in (changes or {}).items():
            loop.call_at(began_at + moment, setattr, server, "limit", limit)
        await offer_load(limiter, server, began_at + seconds)
        return began_at

    return server, run_virtual(main)


def quota_for(rpm: float, latency: float) -> Quota:
    """A quota with as many requests in flight as the limit and the latency need."""
    return Quota(concurrency=max(64, int(rpm / 60 * latency * 1.5)))


@pytest.mark.parametrize("tells", ["all", "refusals"])
@pytest.mark.parametrize(
    ("rpm", "latency"),
    mark_rest_long([(20, 0.05), (20, 20), (120, 2), (600, 0.05), (600, 20), (6000, 0.5)], [(20, 0.05), (600, 20)]),
)
def test_a_stated_limit_is_reached_and_not_exceeded(rpm: float, latency: float, tells: str) -> None:
    steady = max(120.0, 6000 / rpm * 3)
    server, began = simulate(
        Limiter(quota_for(rpm, latency)), SimulatedServer(rpm / 60, latency, stated_on=tells), 90 + steady
    )
    used, refused = server.measure_between(began + 90, began + 90 + steady)
    assert used >= 0.95
    assert refused <= 0.01


@pytest.mark.parametrize(
    ("rpm", "latency"), mark_rest_long([(600, 0.05), (600, 20), (1500, 2), (3000, 0.3)], [(600, 0.05), (600, 20)])
)
def test_an_unstated_limit_is_learned_from_refusals(rpm: float, latency: float) -> None:
    server, began = simulate(Limiter(quota_for(rpm, latency)), SimulatedServer(rpm / 60, latency), 330)
    used, refused = server.measure_between(began + 150, began + 330)
    assert used >= 0.95
    assert refused <= 0.01


@pytest.mark.long
def test_a_limit_of_sixty_thousand_a_minute_is_reached() -> None:
    server, began = simulate(Limiter(quota_for(60_000, 0.1)), SimulatedServer(1000, 0.1, stated_on="refusals"), 40)
    used, refused = server.measure_between(began + 15, began + 40)
    assert used >= 0.95
    assert refused <= 0.01


@pytest.mark.parametrize("factor", [0.5, 2.0])
@pytest.mark.parametrize(
    ("rpm", "tells"),
    mark_rest_long(
        [(20, "all"), (600, "all"), (600, "refusals"), (3000, "all"), (3000, "refusals")],
        [(600, "all"), (600, "refusals")],
    ),
)
def test_a_changed_limit_is_reached_within_a_minute(rpm: float, tells: str, factor: float) -> None:
    server, began = simulate(
        Limiter(quota_for(rpm, 2)), SimulatedServer(rpm / 60, 0.5, stated_on=tells), 300, {120: rpm / 60 * factor}
    )
    used, refused = server.measure_between(began + 180, began + 300)
    assert used >= 0.95
    assert refused <= 0.01


@pytest.mark.parametrize("how", ["bucket", "sliding", "fixed"])
@pytest.mark.parametrize("rpm", mark_rest_long([20, 300, 1200], [300]))
def test_a_configured_limit_is_never_exceeded_and_nearly_reached(rpm: float, how: str) -> None:
    server, began = simulate(Limiter(Quota(rpm=rpm, concurrency=256)), SimulatedServer(rpm / 60, 1.0, how), 360)
    used, refused = server.measure_between(began, began + 360)
    assert used >= 0.95
    assert refused <= 0.003


@pytest.mark.parametrize("max_in_flight", [4, 256])
def test_the_start_is_gentle_and_ends_within_two_seconds(max_in_flight: int) -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        limiter = Limiter(Quota(concurrency=max_in_flight))
        began = loop.time()
        moments = []
        for _ in range(max_in_flight):
            await limiter.acquire(NO_USAGE)
            moments.append(loop.time() - began)
        return moments

    moments = run_virtual(main)
    assert moments[:2] == [0.0, 0.0]
    assert sum(moment < 0.5 for moment in moments) <= 8
    assert moments[-1] <= 2


def test_permits_are_granted_in_order_of_arrival() -> None:
    async def main() -> list[int]:
        limiter = Limiter(Quota(rpm=60, concurrency=4))
        order: list[int] = []

        async def send_one(n: int) -> None:
            permit = await limiter.acquire(NO_USAGE)
            order.append(n)
            limiter.release(permit, "ok")

        await asyncio.gather(*(send_one(n) for n in range(20)))
        return order

    assert run_virtual(main) == list(range(20))


def test_retries_go_before_first_attempts() -> None:
    """Behind them each would wait for all other items again, and the last items would come to their end one by one."""

    async def main() -> list[str]:
        limiter = Limiter(Quota(rpm=60, concurrency=4))
        order: list[str] = []

        async def send_one(name: str, *, is_retry: bool) -> None:
            permit = await limiter.acquire(NO_USAGE, is_retry=is_retry)
            order.append(name)
            limiter.release(permit, "ok")

        firsts = [asyncio.ensure_future(send_one(f"first {n}", is_retry=False)) for n in range(4)]
        await asyncio.sleep(0)
        given_up = asyncio.ensure_future(send_one("given up", is_retry=True))
        retries = [asyncio.ensure_future(send_one(f"retry {n}", is_retry=True)) for n in range(3)]
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(*firsts, *retries)
        return order

    assert run_virtual(main) == ["first 0", "retry 0", "retry 1", "retry 2", "first 1", "first 2", "first 3"]


def test_a_cancelled_wait_takes_no_permit_and_wakes_the_next() -> None:
    async def main() -> tuple[int, int]:
        limiter = Limiter(Quota(concurrency=1))
        first = await limiter.acquire(NO_USAGE)
        waiting = [asyncio.ensure_future(limiter.acquire(NO_USAGE)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        limiter.release(first, "ok")  # grants the second
        waiting[1].cancel()  # in the very moment it was granted
        third = await asyncio.wait_for(waiting[2], 10)
        taken = limiter.in_flight
        limiter.release(third, "ok")
        return taken, limiter.in_flight

    assert run_virtual(main) == (1, 0)


@pytest.mark.parametrize(("outcome", "seconds"), [("rate_limit", 30), ("overloaded", 2)])
def test_after_refusals_in_a_row_all_wait_and_then_go_out_evenly(outcome: str, seconds: float) -> None:
    """After overload shortly: only requests that fail show the gate an outage."""

    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        limiter = Limiter(Quota(concurrency=100))
        for _ in range(2):
            limiter.release(await limiter.acquire(NO_USAGE), outcome, None, 30.0)
        began = loop.time()
        moments: list[float] = []

        async def send_one() -> None:
            permit = await limiter.acquire(NO_USAGE)
            moments.append(loop.time() - began)
            await asyncio.sleep(5)
            limiter.release(permit, "ok")

        await asyncio.gather(*(send_one() for _ in range(60)))
        return moments

    moments = run_virtual(main)
    assert seconds <= min(moments) <= seconds + 1
    for start in moments:
        assert sum(start <= m < start + 0.1 for m in moments) <= 20


def test_a_hint_on_one_refusal_does_not_stop_the_others() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        limiter = Limiter(Quota(concurrency=8))
        for _ in range(20):
            limiter.release(await limiter.acquire(NO_USAGE), "ok")
            await asyncio.sleep(0.2)
        limiter.release(await limiter.acquire(NO_USAGE), "rate_limit", None, 30.0)
        began = loop.time()
        limiter.release(await limiter.acquire(NO_USAGE), "ok")
        return loop.time() - began

    assert run_virtual(main) <= 1


def test_overload_lowers_the_concurrency_until_there_is_capacity_again() -> None:
    async def main() -> tuple[int, int]:
        limiter = Limiter(Quota(concurrency=64))
        capacity, in_flight = 16, 0

        async def send_one() -> None:
            nonlocal in_flight
            permit = await limiter.acquire(NO_USAGE)
            in_flight += 1
            is_full = in_flight > capacity
            await asyncio.sleep(0.05 if is_full else 1.0)
            in_flight -= 1
            limiter.release(permit, "overloaded" if is_full else "ok")

        async def flood(count: int) -> None:
            await asyncio.gather(*(send_one() for _ in range(count)))

        await flood(600)
        during = limiter.concurrency
        capacity = 1000
        await flood(1500)
        return during, limiter.concurrency

    during, after = run_virtual(main)
    assert during <= 32
    assert after == 64


def test_random_refusals_hardly_lower_the_concurrency() -> None:
    async def main() -> int:
        limiter = Limiter(Quota(concurrency=64))
        count = itertools.count()

        async def send_one() -> None:
            permit = await limiter.acquire(NO_USAGE)
            await asyncio.sleep(0.2)
            limiter.release(permit, "ok" if next(count) % 20 else "overloaded")

        await asyncio.gather(*(send_one() for _ in range(2000)))
        return limiter.concurrency

    assert run_virtual(main) >= 48


@pytest.mark.parametrize(
    ("quota", "usage", "limit"),
    [
        (Quota(tpm=60_000, concurrency=50), Usage(input_tokens=600, output_tokens=400), 60.0),
        (Quota(audio_seconds_per_hour=7200, concurrency=50), Usage(audio_seconds=Decimal(60)), 120.0),
    ],
)
def test_limits_of_tokens_and_of_audio_seconds_hold(quota: Quota, usage: Usage, limit: float) -> None:
    """``limit`` requests of this usage are allowed in a minute, or in an hour of audio."""

    async def main() -> int:
        loop = asyncio.get_running_loop()
        limiter, sent, window = Limiter(quota), 0, 60.0 if quota.tpm else 3600.0
        began = loop.time()
        while loop.time() < began + window:
            limiter.release(await limiter.acquire(usage), "ok")
            sent += loop.time() < began + window
        return sent

    sent = run_virtual(main)
    assert 0.93 * limit <= sent <= limit + 1


def test_a_request_larger_than_the_limit_is_still_sent() -> None:
    async def main() -> Permit:
        limiter = Limiter(Quota(tpm=100))
        return await limiter.acquire(Usage(input_tokens=5000))

    assert run_virtual(main).wait == 0


def test_learned_limits_are_restored_from_json() -> None:
    limiter = Limiter(Quota(concurrency=64))
    simulate(limiter, SimulatedServer(10, 0.05), 120)
    state = json.loads(json.dumps(limiter.export_state()))
    restored = Limiter(Quota(concurrency=64))
    restored.restore_state(state)
    server, began = simulate(restored, SimulatedServer(10, 0.05), 60)
    assert server.measure_between(began, began + 60)[1] <= 0.02


@given(
    st.recursive(
        st.none() | st.floats() | st.text(max_size=3) | st.integers(),
        lambda inner: st.dictionaries(st.sampled_from(["rate", "pace", "noise", "age", "tokens"]), inner, max_size=3),
    )
)
@settings(max_examples=count_examples(100))
def test_an_invalid_state_is_ignored(state: Any) -> None:
    async def main() -> float:
        limiter = Limiter(Quota(concurrency=8))
        if isinstance(state, dict):
            limiter.restore_state(state)
        return (await limiter.acquire(NO_USAGE)).wait

    assert run_virtual(main) == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ok", "rate_limit", "overloaded", "error", "unused"]),
            st.none() | st.floats(0, 120),
            st.none() | st.floats(1e-3, 1e6),
            st.booleans(),
        ),
        max_size=60,
    )
)
@example([("ok", None, None, False), *[("rate_limit", None, None, False)] * 3])  # all at the same moment
@settings(max_examples=count_examples(60), deadline=None)
def test_no_sequence_of_outcomes_blocks_the_limiter_for_good(steps: Any) -> None:
    async def main() -> int:
        limiter = Limiter(Quota(concurrency=8))
        for outcome, wait, stated, give_up in steps:
            waiting = asyncio.ensure_future(limiter.acquire(NO_USAGE))
            await asyncio.sleep(0)
            if give_up:
                waiting.cancel()
            try:
                permit = await asyncio.wait_for(waiting, 10_000)
            except asyncio.CancelledError:
                continue
            limiter.release(permit, outcome, RateLimits(requests_per_second=stated), wait)
        return limiter.in_flight

    assert run_virtual(main) == 0
