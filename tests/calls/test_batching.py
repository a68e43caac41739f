"""Asks that may share a request wait for each other, as long as that makes sense."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from mediamill.tasks.calls.batching import PendingAsk, RequestBatcher
from mediamill.tasks.domain import Answer
from mediamill.tasks.wire import Batching, Wire

LINGER = 0.005


class Sent:
    """The batches that were sent; answers are of no interest here."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    async def __call__(self, batch: Sequence[PendingAsk]) -> Sequence[Answer]:
        self.sizes.append(len(batch))
        answers: list[Any] = [None] * len(batch)
        return answers


def pending(group: str = "g") -> PendingAsk:
    """An Ask of a group whose requests hold 32."""
    ask: Any = None
    return PendingAsk(ask, Wire("http://127.0.0.1", "/v1/embeddings", {}, batching=Batching(group, 32)), "key")


async def arrives(packer: RequestBatcher, seconds: float, group: str = "g") -> None:
    """An Ask whose claim takes so long."""
    each = pending(group)
    with packer.announce(each.wire):
        await asyncio.sleep(seconds)
    await packer.submit(each)


async def test_slow_claims_make_no_more_requests_than_quick_ones() -> None:
    sent = Sent()
    packer = RequestBatcher(sent, LINGER)
    await asyncio.gather(*(arrives(packer, n * LINGER) for n in range(64)))
    assert sent.sizes == [32, 32]


async def test_a_batch_waits_only_for_announced_asks_of_its_group() -> None:
    sent = Sent()
    packer = RequestBatcher(sent, LINGER)
    elsewhere = asyncio.create_task(arrives(packer, 0.5, "other"))
    began = time.monotonic()
    await asyncio.gather(arrives(packer, 0), arrives(packer, 0))
    assert sent.sizes == [2]
    assert time.monotonic() - began < 0.4
    await elsewhere
    assert sent.sizes == [2, 1]


async def test_an_announced_ask_that_never_comes_delays_others_only_briefly() -> None:
    sent = Sent()
    packer = RequestBatcher(sent, LINGER)
    stuck = asyncio.create_task(arrives(packer, 60))
    await asyncio.wait_for(packer.submit(pending()), 10)
    assert sent.sizes == [1]
    stuck.cancel()
