"""A limit that others use as well: another run on the same key, for example.

Their growth is refused to us, too. Were each refusal to start our hold anew, and were the hold a number of requests,
the slower run would wait longest and never catch up. So here the hold hardly depends on the pace, refusals that others
bring about leave it alone, and half of what a growth gained is kept.
"""

from __future__ import annotations

import math
from collections import deque

_HELD_GROWTH, _MIN_HELD_REQUESTS, _MIN_SECONDS = 1.005, 60, 5.0
"""A refusal is foreign when the pace has hardly grown, when so many requests at that pace were accepted, and so long
after the signal before: a pace that is a little too fast is refused sooner, and so is noise at a high rate."""
_REMEMBERED_SECONDS = 180.0
_HOLD_SECONDS, _HOLD_REQUESTS = 20.0, 90.0
"""The hold is the geometric mean of these."""
_MIN_CUT = 0.03


class SharedLimit:
    """Notes refusals that have another cause than our growth; twice of late, and the limit is shared."""

    def __init__(self) -> None:
        self._signal_at = float("-inf")
        self._foreign_at: deque[float] = deque(maxlen=2)

    def record_signal(self, now: float, growth: float, held_requests: int, *, is_settled: bool) -> bool:
        """Take in a refusal that is a signal.

        Args:
            now: when it came, in seconds.
            growth: the pace as a share of the one before it grew.
            held_requests: requests that went at that pace.
            is_settled: False while a limit is searched for, where there is noise, and after other refusals.

        Returns:
            Whether it is foreign.
        """
        is_late = now - self._signal_at >= _MIN_SECONDS
        self._signal_at = now
        is_foreign = is_settled and is_late and growth <= _HELD_GROWTH and held_requests >= _MIN_HELD_REQUESTS
        if is_foreign:
            self._foreign_at.append(now)
        return is_foreign

    def is_shared(self, now: float) -> bool:
        """Whether others seem to use the limit too."""
        return len(self._foreign_at) > 1 and now - self._foreign_at[0] < _REMEMBERED_SECONDS

    def compute_hold(self, pace: float) -> float:
        """Requests before a ``pace`` grows again."""
        return math.sqrt(_HOLD_SECONDS * _HOLD_REQUESTS * pace)

    def compute_fallback(self, base_pace: float, pace: float) -> float:
        """The pace after growth from ``base_pace`` to ``pace`` met a refusal."""
        return (1 - _MIN_CUT) * math.sqrt(base_pace * pace)
