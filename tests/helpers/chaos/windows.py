"""Limits as servers count them: a bucket, a sliding or fixed minute, or fixed seconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from tests.helpers.chaos.plan import Limit

_MINUTE_SECONDS = 60.0


class LimitWindows:
    """What was accepted under each limit so far; what is refused counts for nothing."""

    def __init__(self) -> None:
        self._levels: dict[tuple[str, str | None], tuple[float, float]] = {}  # of buckets: level, and when
        self._accepted: dict[tuple[str, str | None], deque[tuple[float, float]]] = {}  # when, and how much

    def accept(self, limits: Sequence[Limit], now: float, amounts: Mapping[str, float]) -> bool:
        """Whether all limits let a request of these ``amounts`` through at ``now``; counts it if they do."""
        if not all(self._has_room(limit, now, amounts[limit.unit]) for limit in limits):
            return False
        for limit in limits:
            self._take(limit, now, amounts[limit.unit])
        return True

    def _has_room(self, limit: Limit, now: float, amount: float) -> bool:
        if limit.window == "bucket":
            return self._fill_bucket(limit, now, amount) >= amount
        accepted = self._accepted.setdefault((limit.unit, limit.model), deque())
        seconds = 1.0 if limit.window == "second" else _MINUTE_SECONDS
        begin = now - seconds if limit.window == "sliding" else now // seconds * seconds
        while accepted and (accepted[0][0] <= begin if limit.window == "sliding" else accepted[0][0] < begin):
            accepted.popleft()
        return sum(each for _, each in accepted) + amount <= limit.per_minute * seconds / _MINUTE_SECONDS

    def _fill_bucket(self, limit: Limit, now: float, amount: float) -> float:
        """The bucket's level at ``now``; it holds what comes in one second, and one request at least."""
        per_second = limit.per_minute / _MINUTE_SECONDS
        capacity = max(per_second, amount)
        level, filled_at = self._levels.get((limit.unit, limit.model), (capacity, now))
        return min(capacity, level + (now - filled_at) * per_second)

    def _take(self, limit: Limit, now: float, amount: float) -> None:
        key = limit.unit, limit.model
        if limit.window == "bucket":
            self._levels[key] = self._fill_bucket(limit, now, amount) - amount, now
        else:
            self._accepted[key].append((now, amount))
