"""The limit that a server states in its replies."""

from __future__ import annotations

_MARGIN = 0.985
"""Share of a stated limit that is used: clocks differ and requests bunch on their way."""
_VALID_SECONDS, _VALID_REQUESTS = 22.0, 200.0
"""How long a stated limit caps the pace, unless it is stated again. Some servers state it in refusals only."""


class StatedLimit:
    """Requests a second that the server stated last. Moments are the event loop's seconds."""

    def __init__(self) -> None:
        self.share = 1.0
        """The part of it that is ours: other runs on this machine have the rest."""
        self._per_second: float | None = None
        self._valid_until = float("-inf")

    def state(self, per_second: float, now: float) -> bool:
        """Take in what a reply states; True when it is news."""
        is_news = now >= self._valid_until or per_second != self._per_second
        self._per_second = per_second
        self._valid_until = now + max(_VALID_SECONDS, _VALID_REQUESTS / per_second)
        return is_news

    def get_usable(self, now: float) -> float | None:
        """The requests a second of it that are used; None when none was stated or it is too old."""
        return self._per_second * self.share * _MARGIN if self._per_second and now < self._valid_until else None
