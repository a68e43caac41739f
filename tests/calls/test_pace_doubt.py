"""Bounds of a limit that contradict each other: refusals at a low pace that no limit explains."""

from __future__ import annotations

import asyncio
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediamill.tasks.calls.pace_doubt import PaceDoubt
from mediamill.tasks.calls.rate_limiter import Limiter
from mediamill.tasks.wire import Quota
from tests.calls.virtual_time import SimulatedServer, offer_load, run_virtual
from tests.helpers.hypothesis_profile import count_examples


class _Client:
    """Sends at paces of its own and asks after each refusal; ``found`` is the first verdict."""

    def __init__(self) -> None:
        self.doubt = PaceDoubt()
        self.number = 0
        self.now = 1000.0
        self.found: tuple[int, int, float] | None = None

    def send(self, pace: float, *, is_accepted: bool) -> None:
        self.doubt.record_sent(self.number, self.now, pace)
        self.doubt.record_reply(self.number, is_accepted=is_accepted)
        if not is_accepted:
            self.found = self.found or self.doubt.find_noise(pace)
        self.number += 1
        self.now += 1 / pace


def _send_through(limit: float, kind: str, paces: list[float]) -> _Client:
    client, server = _Client(), SimulatedServer(limit, 0.2, kind)
    server.updated_at, server.tokens = client.now, max(1.0, limit)
    for pace in paces:
        client.send(pace, is_accepted=server.admit(client.now)[0])
    return client


@settings(max_examples=count_examples(60))
@given(
    rpm=st.integers(2, 90),
    kind=st.sampled_from(["bucket", "sliding", "fixed"]),
    paces=st.lists(st.tuples(st.floats(0.05, 4), st.integers(1, 15)), min_size=1, max_size=10),
)
def test_a_limit_is_never_taken_for_chance_at_whatever_paces(
    rpm: int, kind: str, paces: list[tuple[float, int]]
) -> None:
    client = _send_through(rpm / 60, kind, [pace for pace, count in paces for _ in range(count)])
    assert client.found is None


def test_a_pace_that_falls_while_as_many_are_refused_is_not_the_cause() -> None:
    client, rng = _Client(), random.Random(5)
    pace = 2.0
    while client.found is None and client.now < 1120:
        is_accepted = rng.random() >= 0.3
        client.send(pace, is_accepted=is_accepted)
        pace *= 1 if is_accepted else 0.8
    assert client.found is not None
    refused, answered, highest = client.found
    assert 0.15 <= refused / answered <= 0.75
    assert highest == 2.0


def test_replies_that_are_still_awaited_contradict_nothing() -> None:
    client, rng = _Client(), random.Random(5)
    pace = 2.0
    for _ in range(60):
        client.doubt.record_sent(client.number, client.now, pace)
        if rng.random() < 0.3:
            client.doubt.record_reply(client.number, is_accepted=False)
            assert client.doubt.find_noise(pace) is None
            pace *= 0.9
        client.number += 1
        client.now += 1 / pace


@pytest.mark.long
@pytest.mark.parametrize("seed", [11])
@pytest.mark.parametrize("hint", [None, 2.0])
def test_a_start_with_refusals_in_a_row_does_not_keep_a_run_slow(seed: int, hint: float | None) -> None:
    server = SimulatedServer(math.inf, 0.2, noise=0.3, noise_hint=hint, rng=random.Random(seed))

    async def main() -> float:
        began_at = asyncio.get_running_loop().time()
        await offer_load(Limiter(Quota(concurrency=64)), server, began_at + 120)
        return began_at

    began = run_virtual(main)
    assert server.count_accepted(began + 90, began + 120) >= 0.7 * 0.7 * 64 / 0.2125
