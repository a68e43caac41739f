"""A quota for each minute, measured when it is used up.

A server that counts by the minute refuses all requests from the moment when the quota is used up. What was accepted in
the minute before the first accepted request after that is the quota, however fast it was used.
"""

from __future__ import annotations

from collections import deque

_WINDOW_SECONDS = 60
_MIN_BLOCK_SECONDS = 1.5
"""Shorter blocks, from the first to the last refusal, are those of a bucket or of a quota for each second."""
_MIN_HINT_SECONDS, _WAITED_SHARE = 4.0, 0.9
"""Where the server wants longer waits than this, and so much of it went by, a block needs no refusals all through."""
_MIN_REFUSALS, _MAX_REFUSALS, _MIN_ACCEPTED = 3, 256, 10


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
        refusals = len(self._refused)
        self._refused.clear()
        if refusals < max(_MIN_REFUSALS, min_refusals) or (
            not is_waited_for and last_sent - first_sent < _MIN_BLOCK_SECONDS
        ):
            return None
        quota = self._count_before(second, int(last_sent))
        return quota if quota >= _MIN_ACCEPTED else None

    def _count_before(self, end: int, last_refused: int) -> int:
        """The most that was accepted in a minute that ended between the last refusal and the end of the block."""
        return max(
            sum(count for at, count in self._counts if last - _WINDOW_SECONDS <= at < last)
            for last in range(last_refused, end + 1)
        )
