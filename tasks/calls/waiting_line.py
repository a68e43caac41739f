"""Requests that wait at a provider's gate, the turn that each gets, and how many may go once it is open again."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Literal, TypeAlias

Turn: TypeAlias = Literal["go", "probe", "look"]
"""What a request that waited may do: go, go as the probe, or look again, because the run may be ending."""


class WaitingLine:
    """First come, first served, on the event loop that runs now.

    Args:
        return_turn: takes back the turn of a request that was cancelled at the moment when it got it.
    """

    def __init__(self, return_turn: Callable[[Turn], None]) -> None:
        self._waiting: deque[asyncio.Future[Turn]] = deque()
        self._return_turn = return_turn
        self._tokens: int | None = None  # how many may go; None for all

    def limit(self, tokens: int | None) -> None:
        """From now on so many may go, and more as they are allowed; None for all that come."""
        self._tokens = tokens
        self.allow(0)

    def allow(self, tokens: int) -> None:
        """Let so many more go, first come, first served; nothing where all may."""
        if self._tokens is not None:
            self._tokens += tokens
            while self._tokens and self.give("go"):
                self._tokens -= 1

    def take(self) -> bool:
        """Whether a request that comes now may go at once."""
        if self._tokens is None:
            return True
        if self._waiting or not self._tokens:
            return False
        self._tokens -= 1
        return True

    async def wait(self) -> Turn:
        """Wait for a turn."""
        future: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._return_turn(future.result())
            raise

    def give(self, turn: Turn) -> bool:
        """Give the first that waits its turn; False where nobody waits."""
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(turn)
                return True
        return False

    def give_all(self, turn: Turn) -> None:
        """Give it to all that wait now."""
        waiting, self._waiting = self._waiting, deque()
        for future in waiting:
            if not future.done():
                future.set_result(turn)
