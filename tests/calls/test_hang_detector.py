"""Which requests are abandoned, in virtual time: those that hang, and hardly any that are slow."""

from __future__ import annotations

import asyncio
import json
import random

import pytest

from mediamill.tasks.calls.transport_errors import ReplyLost
from mediamill.tasks.calls.transports import OnProgress
from mediamill.tasks.wire import Reply
from tests.calls.simulated_provider import HOUR, SimulatedProvider, lognormal, with_hole
from tests.calls.virtual_time import run_virtual
from tests.helpers.tiers import mark_tiers


def test_after_a_black_hole_the_full_rate_is_back_at_once_and_little_was_sent_twice() -> None:
    provider = SimulatedProvider(with_hole(lognormal(0.5, 0.4), 15.0, 75.0))
    run_virtual(lambda: provider.call_all(4_000, 64))
    full_rate = provider.count_answers(5.0, 15.0) / 10
    first = min(at for sent_at, at in provider.answered if sent_at >= 20.0)
    assert first < 75.0 + 11.0
    assert provider.count_answers(first + 2.0, first + 12.0) / 10 > 0.95 * full_rate
    assert provider.abandoned <= 64 + 10


def test_one_request_at_a_time_passes_a_black_hole() -> None:
    provider = SimulatedProvider(with_hole(lognormal(0.5, 0.3), 30.0, 90.0))
    run_virtual(lambda: provider.call_all(200, 1))
    first = min(at for sent_at, at in provider.answered if sent_at >= 30.0)
    assert first < 90.0 + 60.0
    assert provider.abandoned <= 6


@pytest.mark.parametrize(
    "slow_share", mark_tiers([0.0, 0.005, 0.01, 0.02, 0.05], quick=[0.005, 0.02], long=[0.0, 0.01, 0.05])
)
def test_hardly_any_request_of_a_healthy_long_tail_is_abandoned(slow_share: float) -> None:
    rng = random.Random(3)
    provider = SimulatedProvider(lambda _: 2.0 * rng.lognormvariate(0, 0.7) * (10 if rng.random() < slow_share else 1))
    run_virtual(lambda: provider.call_all(2_000, 64))
    assert provider.abandoned <= 0.02 * 2_000


@pytest.mark.parametrize("slow", [4.0, 12.0, 30.0])
@pytest.mark.parametrize("concurrency", [1, 4, 32])
def test_a_provider_that_becomes_slow_is_waited_for(slow: float, concurrency: int) -> None:
    fast, late = lognormal(0.3, 0.3), lognormal(slow, 0.2, seed=6)
    provider = SimulatedProvider(lambda at: fast(at) if at < 20.0 else late(at))
    requests = round(20 / 0.3 * concurrency) + 15 * concurrency
    run_virtual(lambda: provider.call_all(requests, concurrency))
    assert provider.abandoned <= 6 + 0.1 * 15 * concurrency


@pytest.mark.parametrize(("hanging_share", "seconds"), [(0.05, 75.0), (0.2, 150.0), (0.4, 400.0)])
def test_requests_that_hang_by_themselves_are_sent_again_within_bounds(hanging_share: float, seconds: float) -> None:
    rng, quick = random.Random(4), lognormal(0.5, 0.4)
    provider = SimulatedProvider(lambda at: HOUR if at > 5.0 and rng.random() < hanging_share else quick(at))
    run_virtual(lambda: provider.call_all(2_000, 64))
    ended_at = provider.answered[-1][1]
    assert ended_at < seconds
    assert provider.abandoned <= 1.1 * hanging_share / (1 - hanging_share) * 2_000 + 64 + ended_at / 5


async def learn(provider: SimulatedProvider, size: float, seconds: float, requests: int = 50) -> None:
    for number in range(requests):
        await provider.call(str(number), size, seconds)


def test_a_long_job_is_not_cut_by_what_short_ones_took() -> None:
    provider = SimulatedProvider(lambda _: 0.0)

    async def main() -> None:
        await learn(provider, size=10.0, seconds=0.5)
        others = asyncio.ensure_future(learn(provider, size=10.0, seconds=0.5, requests=500))
        await provider.call("long", size=1200.0, seconds=90.0)
        await others

    run_virtual(main)
    assert provider.abandoned == 0


@pytest.mark.parametrize("is_last", [False, True])
def test_a_slow_request_that_is_not_sent_again_is_waited_for(is_last: bool) -> None:
    provider = SimulatedProvider(lambda _: 0.0)

    async def main() -> None:
        await learn(provider, size=10.0, seconds=0.5)
        others = asyncio.ensure_future(learn(provider, size=10.0, seconds=0.5, requests=100))
        slow = provider.detector.watch(
            lambda report: provider.send(report, 40.0), key="slow", size=10.0, host="h", is_last=is_last
        )
        if is_last:
            assert (await slow).status == 200
        else:
            with pytest.raises(ReplyLost, match="nothing came for"):
                await slow
        await others

    run_virtual(main)


def test_before_anything_is_known_the_work_says_when_a_request_is_overdue() -> None:
    provider = SimulatedProvider(lambda at: HOUR if at < 100.0 else 0.5, estimated_seconds=70.0)
    run_virtual(lambda: provider.call_all(200, 32))
    assert provider.answered[0][1] < 100.0 + 11.0
    assert provider.answered[-1][1] < 100.0 + 11.0 + 20.0
    assert provider.abandoned <= 32 + 10


@pytest.mark.parametrize("load_seconds", [50.0, 100.0, 140.0])
def test_a_model_that_is_loaded_first_costs_few_requests_more(load_seconds: float) -> None:
    provider = SimulatedProvider(lambda at: max(0.5, load_seconds - at), estimated_seconds=70.0)
    run_virtual(lambda: provider.call_all(200, 32))
    assert provider.abandoned <= 1 + max(0.0, load_seconds - 70.0) / 5
    assert provider.answered[-1][1] < load_seconds + 20.0


def test_a_server_that_answers_one_after_the_other_is_waited_for() -> None:
    provider = SimulatedProvider(lambda _: 4.0 * len(provider.answered) + 4.0, estimated_seconds=60.0)

    async def send_all() -> None:
        await asyncio.gather(*(provider.call(str(n), seconds=4.0 * (n + 1)) for n in range(25)))

    run_virtual(send_all)
    assert provider.abandoned == 0


def test_what_is_known_replaces_what_the_work_says() -> None:
    provider = SimulatedProvider(lambda at: HOUR if at == 0 and provider.sent == 1 else 0.5, estimated_seconds=200.0)
    run_virtual(lambda: provider.call_all(200, 4))
    assert provider.answered[-1][1] < 40.0


def test_nothing_is_overdue_before_enough_was_answered() -> None:
    provider = SimulatedProvider(lambda _: 0.0)

    async def main() -> None:
        await learn(provider, size=10.0, seconds=0.5, requests=20)
        await provider.call("slow", size=10.0, seconds=290.0)

    run_virtual(main)
    assert provider.abandoned == 0


def test_a_request_sent_before_anything_was_known_is_measured_later() -> None:
    provider = SimulatedProvider(lambda at: HOUR if at < 0.1 and provider.sent == 1 else 0.5)
    run_virtual(lambda: provider.call_all(200, 4))
    assert provider.answered[-1][1] < 40.0
    assert provider.abandoned == 1


@pytest.mark.parametrize("kind", ["received", "sent"])
def test_an_exchange_that_goes_on_does_not_hang(kind: str) -> None:
    provider = SimulatedProvider(lambda _: 0.0)

    async def move_slowly(report: OnProgress) -> Reply:
        report("connected")
        for _ in range(50):
            await asyncio.sleep(4.0)
            report("received" if kind == "received" else "sent")
        return Reply(200, {}, b"")

    async def main() -> None:
        await learn(provider, size=1.0, seconds=0.5)
        others = asyncio.ensure_future(learn(provider, size=1.0, seconds=0.5, requests=500))
        reply = await provider.detector.watch(move_slowly, key="slow", size=1.0, host="h")
        assert reply.status == 200
        await others

    run_virtual(main)


def test_a_request_without_a_connection_is_left_to_the_time_for_connecting() -> None:
    provider = SimulatedProvider(lambda _: 0.0)

    async def connect_slowly(report: OnProgress) -> Reply:
        await asyncio.sleep(9.0)
        report("connected")
        return Reply(200, {}, b"")

    async def main() -> None:
        await learn(provider, size=1.0, seconds=0.5)
        others = asyncio.ensure_future(learn(provider, size=1.0, seconds=0.5, requests=50))
        reply = await provider.detector.watch(connect_slowly, key="new", size=1.0, host="h")
        assert reply.status == 200
        await others

    run_virtual(main)


def test_error_replies_do_not_show_that_waiting_requests_are_lost() -> None:
    provider = SimulatedProvider(lambda _: 0.0)

    async def refuse(report: OnProgress) -> Reply:
        report("connected")
        await asyncio.sleep(0.1)
        return Reply(503, {}, b"")

    async def main() -> None:
        await learn(provider, size=1.0, seconds=0.5)
        slow = asyncio.ensure_future(provider.call("slow", 1.0, 20.0))
        for number in range(250):
            await provider.detector.watch(refuse, key=f"refused {number}", size=1.0, host="h")
        await slow

    run_virtual(main)
    assert provider.abandoned == 0


def test_in_a_silence_the_request_sent_last_is_abandoned_first() -> None:
    """After an outage was noticed only one request is sent at a time, and the next one waits for its end."""
    provider = SimulatedProvider(lambda _: HOUR)

    async def main() -> None:
        await learn(provider, size=1.0, seconds=0.5)
        old = [asyncio.ensure_future(provider.try_once(f"old {n}", 1.0, HOUR)) for n in range(8)]
        await asyncio.sleep(1.0)
        for n in range(8):
            async with asyncio.timeout(15.0):
                assert await provider.try_once(f"probe {n}", 1.0, HOUR) is not None
        assert sum(task.done() for task in old) <= 1
        await provider.call("answered", seconds=0.5)
        async with asyncio.timeout(1.0):
            await asyncio.gather(*old)

    run_virtual(main)


def test_a_cancelled_request_leaves_nothing_behind() -> None:
    provider = SimulatedProvider(lambda _: HOUR)

    async def main() -> None:
        await learn(provider, size=1.0, seconds=0.5)
        waiting = [asyncio.ensure_future(provider.call(f"lost {n}")) for n in range(3)]
        await asyncio.sleep(7.0)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.sleep(60.0)
        await learn(provider, size=1.0, seconds=0.5)

    run_virtual(main)
    assert provider.abandoned <= 1


def test_what_was_learned_holds_in_the_next_run() -> None:
    first = SimulatedProvider(lognormal(0.5, 0.4))
    run_virtual(lambda: first.call_all(500, 8))
    second = SimulatedProvider(with_hole(lognormal(0.5, 0.4), 0.0, 30.0))
    second.detector.times.restore_state(json.loads(json.dumps(first.detector.times.export_state())))
    run_virtual(lambda: second.call_all(64, 64))
    assert second.answered[-1][1] < 50.0
