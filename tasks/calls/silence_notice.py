"""Whether a provider has answered nothing for long, though requests are out. It is told, and changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

SILENCE_SECONDS = 45.0
"""How long nothing is answered until that is told, unless answers take longer by themselves."""
_USUAL_FACTOR = 3.0
_MIN_TIMER_SECONDS = 1.0


class RequestsOut(Protocol):
    """Which requests are out."""

    @property
    def out(self) -> int:
        """How many."""

    def is_out(self, number: int) -> bool:
        """Whether that one is."""


class SilenceNotice:
    """On the event loop that runs now and with its clock.

    Args:
        requests: which are out.
        on_silence: called once in each silence, with its seconds.
    """

    def __init__(self, requests: RequestsOut, on_silence: Callable[[float], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._requests, self._on_silence = requests, on_silence
        self._since = self._loop.time()
        self._usual_seconds = SILENCE_SECONDS
        self._work_seconds: dict[int, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._is_told = False

    def note_sent(self, number: int, work_seconds: float = 0.0) -> None:
        """A request goes out, whose work may take that long by itself."""
        if self._requests.out == 1:
            self._since = self._loop.time()
        if work_seconds:
            self._work_seconds[number] = work_seconds
        if self._timer is None and not self._is_told:
            self._set_timer()

    def note_reply(self, slowest_answer: float) -> None:
        """Something was answered; ``slowest_answer`` is in seconds."""
        self._since, self._is_told = self._loop.time(), False
        self._usual_seconds = max(SILENCE_SECONDS, _USUAL_FACTOR * slowest_answer)
        if self._work_seconds and self._timer is not None:  # it may be set for the end of long work that was answered
            self._timer.cancel()
            self._set_timer()

    def measure(self) -> float | None:
        """The seconds of the silence that lasts now; None where there is none, or it is no longer than expected."""
        seconds = self._loop.time() - self._since
        return seconds if self._requests.out and seconds >= self._compute_max_seconds() else None

    def close(self) -> None:
        """End the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _compute_max_seconds(self) -> float:
        """How long nothing need be answered: as long as answers took, or the longest work that is out."""
        if not self._work_seconds:
            return self._usual_seconds
        self._work_seconds = {n: work for n, work in self._work_seconds.items() if self._requests.is_out(n)}
        return max(self._usual_seconds, SILENCE_SECONDS + max(self._work_seconds.values(), default=0.0))

    def _review(self) -> None:
        """Tell a silence once, until something is answered."""
        self._timer = None
        if (seconds := self.measure()) is not None:
            self._is_told = True
            self._on_silence(seconds)
        elif self._requests.out:
            self._set_timer()

    def _set_timer(self) -> None:
        next_at = max(self._since + self._compute_max_seconds(), self._loop.time() + _MIN_TIMER_SECONDS)
        self._timer = self._loop.call_at(next_at, self._review)
