"""The pause after refusals: nothing is sent, then one request, and the others once that one was let through."""

from __future__ import annotations

from mediamill.tasks.calls.gcra import Gcra

_RAMP_SECONDS = 1.0
"""Seconds over which the requests that waited for the end of a pause are spread."""
_MIN_RAMP_SIZE = 4.0
_ANSWER_FACTOR, _REFUSAL_FACTOR, _MAX_PROBE_SECONDS = 1.5, 4.0, 5.0
"""How long the others wait for the first one: so many usual answers or refusals, and never longer than the pause. A
refusal comes faster than an answer, so a request that was not refused for long was let through."""
_MEMORY = 0.9
"""Weight of what was before in the average of answers."""


class Pause:
    """When requests may go again after refusals. Moments are the event loop's seconds.

    Were all to go at once when a quota is still used up, each look at it would cost as many refusals as are under way.
    """

    def __init__(self) -> None:
        self._until = float("-inf")
        self._seconds = 0.0
        self._is_probed = False  # whether the next request goes alone
        self._ramp = Gcra(None)
        self._ramp_ends_at = float("-inf")
        self._last_refused = -1
        self._answer_seconds = self._refusal_seconds = 0.0

    def record_accepted(self, number: int, seconds: float, now: float) -> None:
        """Count a request that was answered after so many seconds; one sent after all refused ones ends the pause."""
        self._answer_seconds += (1 - _MEMORY if self._answer_seconds else 1.0) * (seconds - self._answer_seconds)
        if number > self._last_refused:
            self._until, self._ramp_ends_at = min(self._until, now), min(self._ramp_ends_at, now)
            self._is_probed = False

    def record_refused(self, number: int, seconds: float) -> bool:
        """Count a request that was refused after so many seconds; True when it follows another, or came before it."""
        follows_refusal = number <= self._last_refused + 1
        self._last_refused, self._refusal_seconds = max(number, self._last_refused), seconds
        return follows_refusal

    def begin(self, now: float, seconds: float, window_size: float, *, is_probed: bool = False) -> None:
        """Send nothing for so many seconds, unless a longer pause lasts, then up to ``window_size`` in a second.

        ``is_probed``: then one request, and the others when it was let through.
        """
        if seconds <= 0 or now + seconds <= self._until:
            return
        self._until, self._seconds, self._is_probed = now + seconds, seconds, is_probed
        self._ramp = Gcra(max(_MIN_RAMP_SIZE, window_size) / _RAMP_SECONDS)
        self._ramp_ends_at = self._until + _RAMP_SECONDS

    def end(self) -> None:
        """Send at once."""
        self._until = self._ramp_ends_at = float("-inf")
        self._is_probed = False

    def get_ready_at(self, ready_at: float) -> float:
        """The moment from which a request may go that could otherwise go from ``ready_at`` on."""
        ready_at = max(ready_at, self._until)
        if ready_at < self._ramp_ends_at:
            ready_at = max(ready_at, min(self._ramp.ready_at(), self._ramp_ends_at))
        return ready_at

    def record_sent(self, now: float) -> None:
        """Count a request that goes out."""
        if self._is_probed:
            usual = max(_ANSWER_FACTOR * self._answer_seconds, _REFUSAL_FACTOR * self._refusal_seconds)
            self.begin(now, min(usual, self._seconds, _MAX_PROBE_SECONDS), self._ramp.rate or 0.0)
        elif now < self._ramp_ends_at:
            self._ramp.spend(1.0, now)
