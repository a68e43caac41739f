"""A silence is told where nothing explains it; the built-in engine's long work does."""

from __future__ import annotations

import asyncio

from mediamill.tasks.calls.circuit_breaker import CircuitBreaker
from mediamill.tasks.calls.silence_notice import SilenceNotice
from tests.calls.virtual_time import run_virtual

HALF_HOUR = 1800.0


async def send(lengths: list[float], answered_after: float | None, watched_seconds: float) -> list[float]:
    """After how many seconds a silence was told, where the first request may be answered."""
    loop, told = asyncio.get_running_loop(), list[float]()
    breaker = CircuitBreaker()
    notice = SilenceNotice(breaker, lambda _: told.append(round(loop.time() - began, 1)))
    began = loop.time()
    numbers = [breaker.start(loop.time(), str(n)) for n in range(len(lengths))]
    for number, seconds in zip(numbers, lengths, strict=True):
        notice.note_sent(number, seconds)
    if answered_after is not None:
        await asyncio.sleep(answered_after)
        breaker.succeed(numbers[0], loop.time(), "0")
        notice.note_reply(breaker.slowest_success)
    await asyncio.sleep(began + watched_seconds - loop.time())
    notice.close()
    return told


def test_long_work_is_no_silence_until_it_takes_longer_than_it_may() -> None:
    assert run_virtual(lambda: send([0.0], None, 100)) == [45]
    assert run_virtual(lambda: send([HALF_HOUR, 10.0], None, 1000)) == []
    assert run_virtual(lambda: send([HALF_HOUR], None, 3000)) == [1845]


def test_when_the_long_work_is_answered_the_short_counts_again() -> None:
    assert run_virtual(lambda: send([HALF_HOUR, 10.0], 20, 1000)) == [20 + 60]
