"""Timers of an event loop by name, of which each has one moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class NamedTimers:
    """On the event loop that runs now and with its clock."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._timers

    def set(self, name: str, at: float | None, call: Callable[[], None] = lambda: None) -> None:
        """Call a function ``at`` that moment, instead of what the name had before; None for nothing."""
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()
        if at is not None:
            self._timers[name] = self._loop.call_at(at, call)

    def cancel_all(self) -> None:
        """End every timer."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
