"""Whether a provider has answered nothing for long, though requests are out. It is told, and changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SILENCE_SECONDS = 45.0
"""How long nothing is answered until that is told, unless answers take longer by themselves."""
_USUAL_FACTOR = 3.0
_MIN_TIMER_SECONDS = 1.0


class SilenceNotice:
    """On the event loop that runs now and with its clock.

    Args:
        count_out: how many requests are out.
        on_silence: called once in each silence, with its seconds.
    """

    def __init__(self, count_out: Callable[[], int], on_silence: Callable[[float], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._count_out, self._on_silence = count_out, on_silence
        self._since = self._loop.time()
        self._max_seconds = SILENCE_SECONDS
        self._timer: asyncio.TimerHandle | None = None
        self._is_told = False

    def note_sent(self) -> None:
        """A request is about to go out."""
        if self._count_out() == 0:
            self._since = self._loop.time()
        if self._timer is None and not self._is_told:
            self._set_timer()

    def note_reply(self, slowest_answer: float) -> None:
        """Something was answered; ``slowest_answer`` is in seconds."""
        self._since, self._is_told = self._loop.time(), False
        self._max_seconds = max(SILENCE_SECONDS, _USUAL_FACTOR * slowest_answer)

    def measure(self) -> float | None:
        """The seconds of the silence that lasts now; None where there is none, or it is no longer than usual."""
        seconds = self._loop.time() - self._since
        return seconds if self._count_out() and seconds >= self._max_seconds else None

    def close(self) -> None:
        """End the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _review(self) -> None:
        """Tell a silence once, until something is answered."""
        self._timer = None
        if (seconds := self.measure()) is not None:
            self._is_told = True
            self._on_silence(seconds)
        elif self._count_out():
            self._set_timer()

    def _set_timer(self) -> None:
        next_at = max(self._since + self._max_seconds, self._loop.time() + _MIN_TIMER_SECONDS)
        self._timer = self._loop.call_at(next_at, self._review)
