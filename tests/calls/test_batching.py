"""Asks that may share a request wait for each other, but not for long."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import pytest

from mediamill.tasks.calls.batching import PendingAsk, RequestBatcher
from mediamill.tasks.domain import Answer
from mediamill.tasks.errors import CallFailed
from mediamill.tasks.wire import Batching, Wire

LINGER = 0.005


class SentBatches:
    """The sizes of the batches that were sent; the answers are not used."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    async def __call__(self, batch: Sequence[PendingAsk]) -> Sequence[Answer]:
        self.sizes.append(len(batch))
        answers: list[Any] = [None] * len(batch)
        return answers


def make_pending_ask(group: str = "g") -> PendingAsk:
    """An Ask of a group whose requests hold up to 32."""
    ask: Any = None
    return PendingAsk(ask, Wire("http://127.0.0.1", "/v1/embeddings", {}, batching=Batching(group, 32)), "key")


async def claim_and_submit(batcher: RequestBatcher, claim_seconds: float, group: str = "g") -> None:
    """Announce an Ask, claim it for so long, then submit it."""
    pending = make_pending_ask(group)
    with batcher.announce(pending.wire):
        await asyncio.sleep(claim_seconds)
    await batcher.submit(pending)


async def test_slow_claims_make_no_more_requests_than_quick_ones() -> None:
    sent = SentBatches()
    batcher = RequestBatcher(sent, LINGER)
    await asyncio.gather(*(claim_and_submit(batcher, n * LINGER) for n in range(64)))
    assert sent.sizes == [32, 32]


async def test_a_batch_waits_only_for_announced_asks_of_its_group() -> None:
    sent = SentBatches()
    batcher = RequestBatcher(sent, LINGER)
    other_group = asyncio.create_task(claim_and_submit(batcher, 0.5, "other"))
    began_at = time.monotonic()
    await asyncio.gather(claim_and_submit(batcher, 0), claim_and_submit(batcher, 0))
    assert sent.sizes == [2]
    assert time.monotonic() - began_at < 0.4
    await other_group
    assert sent.sizes == [2, 1]


async def test_an_announced_ask_that_never_comes_delays_others_only_briefly() -> None:
    sent = SentBatches()
    batcher = RequestBatcher(sent, LINGER)
    stuck = asyncio.create_task(claim_and_submit(batcher, 60))
    await asyncio.wait_for(batcher.submit(make_pending_ask()), 10)
    assert sent.sizes == [1]
    stuck.cancel()


class FailingBatches:
    """Fails each batch that holds Ask 7 of 32, as its kind says."""

    def __init__(self, kind: str) -> None:
        self.sizes: list[int] = []
        self._kind = kind

    async def __call__(self, batch: Sequence[PendingAsk]) -> Sequence[Answer]:
        self.sizes.append(len(batch))
        if any(pending.key == "7" for pending in batch):
            raise CallFailed("it failed", kind=self._kind, transient=self._kind != "bad_request")
        answers: list[Any] = [None] * len(batch)
        return answers


async def submit_all(sent: FailingBatches) -> list[int]:
    """Submit 32 Asks that share a request; the numbers of those that fail."""
    batcher = RequestBatcher(sent, LINGER)
    asks = [dataclasses.replace(make_pending_ask(), key=str(number)) for number in range(32)]
    results = await asyncio.gather(*map(batcher.submit, asks), return_exceptions=True)
    return [number for number, result in enumerate(results) if isinstance(result, CallFailed)]


@pytest.mark.parametrize("kind", ["bad_request", "server_error", "reset", "bad_body"])
async def test_an_ask_that_fails_each_request_fails_alone(kind: str) -> None:
    sent = FailingBatches(kind)
    assert await submit_all(sent) == [7]
    assert len(sent.sizes) == 11


@pytest.mark.parametrize("kind", ["overloaded", "rate_limit", "refused"])
async def test_a_request_that_the_provider_cannot_take_is_not_halved(kind: str) -> None:
    sent = FailingBatches(kind)
    assert await submit_all(sent) == list(range(32))
    assert sent.sizes == [32]
