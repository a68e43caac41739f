"""The answers to a text's pieces in their order, a few of them asked for ahead."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from itertools import islice

from mediamill.tasks.capabilities.base import Call
from mediamill.tasks.domain import Answer, Ask
from mediamill.tasks.errors import BadReply, UnknownOutcome

MAX_PIECES_AHEAD = 4
"""Pieces of one text that are asked for at once."""


@asynccontextmanager
async def open_ordered_answers(
    asks: Sequence[Ask], call: Call, first_sample: int
) -> AsyncIterator[AsyncIterator[Answer]]:
    """Answers in the order of the Asks, a few asked for ahead. After a failure what is under way may end, no more.

    Args:
        asks: one text's pieces.
        call: buys an answer.
        first_sample: the earliest sample whose answer may be used.
    """
    remaining = iter(asks)
    pending: deque[asyncio.Task[Answer]] = deque()

    def start(count: int) -> None:
        pending.extend(asyncio.create_task(_reuse_or_buy(ask, call, first_sample)) for ask in islice(remaining, count))

    async def answers() -> AsyncGenerator[Answer, None]:
        start(MAX_PIECES_AHEAD)
        while pending:
            answer = await pending[0]
            pending.popleft()
            start(1)
            yield answer

    try:
        async with aclosing(answers()) as in_order:
            yield in_order
    except asyncio.CancelledError:
        for task in pending:
            task.cancel()
        raise
    finally:
        await asyncio.gather(*pending, return_exceptions=True)


async def _reuse_or_buy(ask: Ask, call: Call, first_sample: int) -> Answer:
    """The answer to a piece, bought anew only where a retry was asked for and the earlier ones are lost or useless.

    A retry raises the item's sample, yet the pieces that were answered before it are kept: what an earlier sample
    left is looked at first, and only an old loss, never one of this moment, leads on to the next.
    """
    for sample in range(first_sample, ask.sample):
        try:
            return await call(replace(ask, sample=sample))
        except (UnknownOutcome, BadReply) as error:
            if error.attempts:
                raise
    return await call(ask)
