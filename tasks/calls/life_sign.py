"""Whether anything at a provider's address answers.

That tells a provider that is gone from one request that breaks its connection each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

_REUSE_SECONDS = 1.0


class LifeSign:
    """Asks at most once a second, and once for all that wait; on the event loop that runs now and with its clock.

    Args:
        ask: sends the address a request that costs nothing; whether anything at all came back. None where nobody can
            tell; then something answers.
    """

    def __init__(self, ask: Callable[[], Awaitable[bool]] | None) -> None:
        self._ask = ask
        self._lock = asyncio.Lock()
        self._asked_at = float("-inf")
        self._is_there = True

    async def look(self) -> bool:
        """Whether anything answers."""
        loop = asyncio.get_running_loop()
        async with self._lock:
            if self._ask is not None and loop.time() - self._asked_at >= _REUSE_SECONDS:
                self._is_there = await self._ask()
                self._asked_at = loop.time()
            return self._is_there
