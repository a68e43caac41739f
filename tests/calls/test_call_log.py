"""The log says what becomes of limits."""

from __future__ import annotations

import itertools
import logging

import pytest

from mediamill.tasks.calls.rate_limiter import Limiter
from mediamill.tasks.domain import Usage
from mediamill.tasks.wire import Quota, RateLimits
from tests.calls.virtual_time import run_virtual

NO_USAGE = Usage()


def test_each_change_of_a_limit_is_logged_and_small_steps_are_not(caplog: pytest.LogCaptureFixture) -> None:
    async def script() -> None:
        limiter = Limiter(Quota(concurrency=32, start=32), "p m chat")
        for outcome in ("overloaded", *["ok"] * 300, "rate_limit"):
            limiter.release(await limiter.acquire(NO_USAGE), outcome, wait=0.0)

    with caplog.at_level(logging.WARNING, "mediamill.calls"):
        run_virtual(script)
    changes = [vars(record) for record in caplog.records]
    assert [(c["limit"], c["cause"]) for c in changes] == [
        ("concurrency", "overloaded"),
        ("concurrency", "grown back"),
        ("rate", "rate_limit"),
    ]
    assert changes[0]["message"] == "p m chat: concurrency 32 -> 24 (overloaded)"
    assert all(later["old"] == earlier["new"] for earlier, later in itertools.pairwise(changes[:2]))
    assert "old" not in changes[2]
    assert changes[2]["new"] > 0


def test_a_limit_that_the_provider_states_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def script() -> None:
        limiter = Limiter(Quota(concurrency=8), "p m chat")
        for _ in range(20):
            limiter.release(await limiter.acquire(NO_USAGE), "ok", RateLimits(requests_per_second=10.0))

    with caplog.at_level(logging.WARNING, "mediamill.calls"):
        run_virtual(script)
    assert [record.getMessage() for record in caplog.records] == [
        "p m chat: rate none -> 9.85/s (stated by the provider)"
    ]
