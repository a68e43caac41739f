"""The items that are open at once in a run, and those that make room for others while they wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

_MAX_ASIDE = 4096
"""Calls that may stand aside at once: what they hold in memory is bounded."""


class ItemSlots:
    """Bounds the items that are at work at once. Used on one event loop.

    Args:
        size: how many.
    """

    def __init__(self, size: int) -> None:
        self._free = size
        self._aside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self) -> None:
        """Wait for a slot, first come, first served."""
        if self._free > 0 and not self._waiting:
            self._free -= 1
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():  # granted at the same moment
                self.release()
            raise

    def release(self) -> None:
        """Give a slot back."""
        self._free += 1
        while self._waiting and self._free > 0:
            future = self._waiting.popleft()
            if not future.done():
                self._free -= 1
                future.set_result(None)

    def measure_room(self) -> float:
        """The share of the calls that may stand aside at once that still may, from 0 to 1."""
        return 1 - self._aside / _MAX_ASIDE

    @contextmanager
    def step_aside(self) -> Iterator[None]:
        """Let another item begin while a call waits to be sent again; it does not wait for its slot afterwards.

        So there may be more items than slots for a while, and no new one begins until there are fewer again.
        """
        if self._aside >= _MAX_ASIDE:
            yield
            return
        self._aside += 1
        self.release()
        try:
            yield
        finally:
            self._aside -= 1
            self._free -= 1
