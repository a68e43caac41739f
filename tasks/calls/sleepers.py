"""Requests that sleep before they are sent again, and can all be woken."""

from __future__ import annotations

import asyncio
import contextlib


class Sleepers:
    """Sleeps that end early where something changed for all of them. Used on one event loop, with its clock."""

    def __init__(self) -> None:
        self._alarms: set[asyncio.Future[None]] = set()

    async def sleep(self, seconds: float) -> None:
        """Sleep for so long, or until all are woken."""
        alarm: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._alarms.add(alarm)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await alarm
        finally:
            self._alarms.discard(alarm)

    def wake_all(self) -> None:
        """End every sleep."""
        for alarm in self._alarms:
            if not alarm.done():
                alarm.set_result(None)
