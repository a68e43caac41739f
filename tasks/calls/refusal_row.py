"""Refusals in a row that are too many for chance: a quota is used up."""

from __future__ import annotations

import math
from collections import deque

_CHANCE, _MIN_SHARE, _MAX_SHARE, _MAX_RUN, _GAPS = 7.5, 0.03, 0.5, 24, 3
"""Refusals in a row that come at random once in 10 to the power of this are a used-up quota; the share of refusals that
is expected at the least and the most; the most in a row; and the requests between them that may still be answered."""


class RefusalRow:
    """Keeps the numbers of the last refused requests."""

    def __init__(self) -> None:
        self.last_refused = -2
        self._recent: deque[int] = deque(maxlen=_MAX_RUN)

    def record_refusal(self, number: int) -> bool:
        """Count a refused request; True when it follows another."""
        follows_refusal = number <= self.last_refused + 1
        self.last_refused = max(number, self.last_refused)
        self._recent.append(number)
        return follows_refusal

    def is_dense(self, expected_share: float) -> bool:
        """Whether the last refusals are a used-up quota, where ``expected_share`` of all is refused at random."""
        run = count_run(expected_share)
        recent = sorted(self._recent)[-run:]
        return len(recent) == run and self.last_refused - recent[0] < run + _GAPS


def count_run(expected_share: float) -> int:
    """How many refusals in a row are a used-up quota, and not by chance."""
    share = min(_MAX_SHARE, max(_MIN_SHARE, expected_share))
    return min(_MAX_RUN, math.ceil(-_CHANCE / math.log10(share)))
