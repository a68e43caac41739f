"""How many requests went out in the last second."""

from __future__ import annotations

_OLD_SECONDS = 2.0


class RequestRate:
    """Counts requests by the second, without a list of them. Moments are the event loop's seconds."""

    def __init__(self) -> None:
        self._began_at = 0.0  # of the second that is counted
        self._count = 0
        self._count_before = 0  # in the second before

    def record(self, now: float) -> None:
        """Count a request that goes out."""
        age = now - self._began_at
        if age < 1.0:
            self._count += 1
        else:
            self._began_at, self._count_before, self._count = now, self._count if age < _OLD_SECONDS else 0, 1

    def measure(self, now: float) -> float:
        """Requests a second, and one at the least."""
        share = min(1.0, max(0.0, now - self._began_at))
        return max(1.0, self._count + self._count_before * (1 - share))
