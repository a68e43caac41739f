"""The requests that a pace held back since it was set, and the pace to fall back to from their average."""

from __future__ import annotations

import math

ACCEPTED_MARGIN = 0.985
"""Share of the rate that was accepted on average between two refusals that is used after them."""
_MIDDLE_SHARE, _GROWTH_WEIGHT = 0.9, 0.33
_BUCKET_SECONDS = 1.0
"""Seconds of its rate that a bucket holds, as a rule."""
_MIN_MEASURED_REQUESTS = 16


class PacedRequests:
    """Counts requests and their time at their pace, until growth begins and in all. Paces are requests a second."""

    def __init__(self) -> None:
        self.count = 0
        self._seconds = 0.0
        self._in_hold = (0, 0.0)  # requests and seconds until growth began

    def record(self, pace: float) -> None:
        """Count a request that the ``pace`` held back."""
        self.count += 1
        self._seconds += 1 / pace

    def hold(self) -> None:
        """What was counted so far went before growth."""
        self._in_hold = self.count, self._seconds

    def scale(self, factor: float) -> None:
        """Count as if each pace had been ``factor`` times as high."""
        self._seconds /= factor
        self._in_hold = self._in_hold[0], self._in_hold[1] / factor

    def measure_average(self, pace: float, base_pace: float) -> float:
        """The pace to fall back to after growth to ``pace``: a little below what was accepted on average.

        That average is no more than the limit, and less where the limit's bucket ran over before growth began. The
        average of the growth alone is no less, but for a bucket that was full.
        """
        growth_requests, growth_seconds = self.count - self._in_hold[0], self._seconds - self._in_hold[1]
        if self.count < _MIN_MEASURED_REQUESTS or not growth_requests:
            return _MIDDLE_SHARE * math.sqrt(pace * base_pace)
        average, growth_average = self.count / self._seconds, growth_requests / growth_seconds
        middle = average + _GROWTH_WEIGHT * (growth_average - average)
        return ACCEPTED_MARGIN * max(middle, growth_average * growth_seconds / (growth_seconds + _BUCKET_SECONDS))
