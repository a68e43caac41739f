"""The answers to a text's pieces in order; a few of them are requested ahead."""

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
"""Pieces of one text that are requested at the same time."""


@asynccontextmanager
async def open_ordered_answers(
    asks: Sequence[Ask], call: Call, first_sample: int
) -> AsyncIterator[AsyncIterator[Answer]]:
    """Answers in the order of the Asks, a few of them requested ahead.

    After a failure, requests in flight may end, and no new one begins.

    Args:
        asks: one for each piece of the text.
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
    """The answer to a piece. It is bought again only when a retry was requested and earlier answers are unusable.

    A retry raises the item's sample, yet pieces that were answered before are kept: the answers of earlier samples
    are tried first. Only a failure from an earlier run leads to the next sample, never one that happens now.
    """
    for sample in range(first_sample, ask.sample):
        try:
            return await call(replace(ask, sample=sample))
        except (UnknownOutcome, BadReply) as error:
            if error.attempts:
                raise
    return await call(ask)
