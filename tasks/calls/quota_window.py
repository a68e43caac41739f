"""A quota for each minute, measured when it is used up.

A server that counts by the minute refuses all requests from the moment when the quota is used up. What was accepted in
the minute before the first accepted request after that is the quota, however fast it was used.
"""

from __future__ import annotations

import math
from collections import deque

_WINDOW_SECONDS = 60
_MIN_BLOCK_SECONDS = 1.5
"""Shorter blocks, from the first to the last refusal, are those of a bucket or of a quota for each second."""
_MIN_HINT_SECONDS, _WAITED_SHARE, _WAITED_REFUSALS = 4.0, 0.9, 3
"""Where the server wants longer waits than this, and so much of it went by, a block needs no refusals all through, and
so many fewer."""
_MAX_REFUSALS, _MIN_ACCEPTED = 256, 10
_MARGIN, _SAME_PACE, _MAX_HITS, _HIT_SECONDS = 0.985, 1.01, 3, 5.0
"""Share of a measured quota that is used; a pace that is about that; so many signals at it, each so long after the one
before, show that it is no more: a sliding minute gives back at first as slowly as the first requests came."""
_FIRST_STEP, _STEP_FACTOR, _STEP_SECONDS = 0.05, 4.0, 66.0
"""Growth beyond a quota at first, and the factor by which there is more of it each time so much has gone by: a quota is
used up at the end of its minute, and a pace that is far beyond it meanwhile is measured as the quota."""


class QuotaWindow:
    """Counts what is accepted, second by second, and finds the blocks in which nothing is."""

    def __init__(self) -> None:
        self._counts: deque[tuple[int, int]] = deque()  # second, accepted requests sent in it
        self._refused: deque[tuple[int, float, float]] = deque(
            maxlen=_MAX_REFUSALS
        )  # of this block: number, sent, hint

    def record_refusal(self, number: int, sent_at: float, hint: float | None) -> None:
        """Count a refused request, after which the server wants the client to wait for ``hint`` seconds."""
        self._refused.append((number, sent_at, hint or 0.0))

    def limit_wait(self, seconds: float, now: float) -> float:
        """A wait of ``seconds``, or until the first requests of the minute that used a quota up are a minute old."""
        begin = self._refused[0][1] - _WINDOW_SECONDS if self._refused else math.inf
        free_at = next((second + 1 + _WINDOW_SECONDS for second, _ in self._counts if second >= begin), math.inf)
        return min(seconds, free_at - now) if free_at > now else seconds

    def record_accepted(self, number: int, sent_at: float, min_refusals: int) -> int | None:
        """Count an accepted request.

        Returns:
            The quota for a minute, when this request ends a block of at least ``min_refusals`` refused ones; else None.
        """
        second = int(sent_at)
        if self._counts and self._counts[-1][0] >= second:
            self._counts[-1] = self._counts[-1][0], self._counts[-1][1] + 1
        else:
            self._counts.append((second, 1))
            while self._counts[0][0] < second - 2 * _WINDOW_SECONDS:
                self._counts.popleft()
        block = [refused for refused in self._refused if refused[0] > number]
        if block or not self._refused:
            self._refused = deque(block, maxlen=_MAX_REFUSALS)
            return None
        first_sent, last_sent = self._refused[0][1], max(sent for _, sent, _ in self._refused)
        hint = max(hint for _, _, hint in self._refused)
        is_waited_for = hint >= _MIN_HINT_SECONDS and sent_at - first_sent >= _WAITED_SHARE * hint
        if is_waited_for:
            is_block = len(self._refused) >= min_refusals - _WAITED_REFUSALS
        else:
            is_block = len(self._refused) >= min_refusals and last_sent - first_sent >= _MIN_BLOCK_SECONDS
        self._refused.clear()
        if not is_block:
            return None
        quota = self._count_before(second, int(last_sent))
        return quota if quota >= _MIN_ACCEPTED else None

    def _count_before(self, end: int, last_refused: int) -> int:
        """The most that was accepted in a minute that ended between the last refusal and the end of the block."""
        return max(
            sum(count for at, count in self._counts if last - _WINDOW_SECONDS <= at < last)
            for last in range(last_refused, end + 1)
        )


class QuotaPace:
    """The pace at which a measured quota is spread over its minute, in requests a second."""

    def __init__(self) -> None:
        self._pace: float | None = None
        self._hits = 0  # signals at that pace
        self._hit_at = float("-inf")  # the last one
        self._grows_from: float | None = None  # when growth beyond it began

    def measure(self, quota: int) -> float:
        """Take over a quota for a minute; the pace that follows."""
        self._pace, self._hits = quota / _WINDOW_SECONDS * _MARGIN, 0
        return self._pace

    def scale(self, factor: float) -> None:
        """Use ``factor`` times as much of the quota, of which other runs have the rest."""
        if self._pace is not None:
            self._pace *= factor

    def end_growth(self) -> None:
        """The pace was set anew: growth beyond the quota begins again with a small step."""
        self._grows_from = None

    def limit_growth(self, pace: float, base_pace: float, now: float) -> float:
        """A ``pace`` that grew from ``base_pace``, or as much of it as may be tried."""
        if self._pace is None:
            return pace
        if self._grows_from is None:
            self._grows_from = now
        steps = min(10, int((now - self._grows_from) / _STEP_SECONDS))
        return min(pace, max(base_pace, self._pace * (1 + _FIRST_STEP * _STEP_FACTOR**steps)))

    def limit_cut(self, lowered: float, pace: float, now: float) -> float:
        """What a refusal at ``pace`` lowers it to: no less than the quota, unless that was refused again and again."""
        if self._pace is None:
            return lowered
        if pace >= _SAME_PACE * self._pace:
            self._hits = 0
        elif now >= self._hit_at + _HIT_SECONDS:
            self._hits, self._hit_at = self._hits + 1, now
        if self._hits < _MAX_HITS:
            return max(lowered, min(pace, self._pace))
        self._pace = None
        return lowered
