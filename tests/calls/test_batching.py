"""Asks that may share a request wait for each other, but not for long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from mediamill.tasks.calls.batching import PendingAsk, RequestBatcher
from mediamill.tasks.domain import Answer
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
