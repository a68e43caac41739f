"""Whether any limit explains the refusals at a low pace: a small one lets through what it allows, however slowly we go.

Where many requests are refused at random, a start with refusals in a row looks like a small limit, and at a low pace
the experiments of :mod:`refusal_trial` take minutes. But a limit is a number, and each reply bounds it. Where bounds
contradict each other, for buckets and for quotas for a minute alike, the pace is not the cause.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from dataclasses import dataclass

_MAX_PACE = 2.0
"""Requests a second from which the trial is fast enough, and requests bunch on their way."""
_LOW_SHARE = 0.35
"""Share of the highest pace from which there is doubt: a limit that fell by less is followed."""
_KEPT_SECONDS, _KEPT_REQUESTS, _WINDOW_SECONDS = 120.0, 256, 60.0
_MIN_ROWS, _MAX_ROWS = 4, 8
"""Rows of refusals that are judged; older ones are of another time."""
_MIN_NOISE, _MAX_NOISE = 0.2, 0.5
"""Share of refusals that is judged: less is no reason to stay slow, and more is a pace far above a limit."""
_MARGIN, _MAX_EXCESS, _MIN_EXCESS = 1.1, 0.4, 0.5
"""By what factor a row of refusals is longer than a bucket needs to refill; how much more of one row counts, and how
much of all is enough: so one row is not."""
_QUOTA_FACTOR, _QUOTA_REQUESTS = 2, 2
"""By what bounds of a quota must differ: a fixed window may let twice its quota through within a minute."""


@dataclass(slots=True)
class _Sent:
    """A request that went out ``at`` a moment; ``is_accepted`` is None while that is not known."""

    number: int
    at: float
    pace: float
    is_accepted: bool | None = None


class PaceDoubt:
    """Keeps the replies of the last two minutes. Moments are the event loop's seconds, paces requests a second."""

    def __init__(self) -> None:
        self._sent: deque[_Sent] = deque(maxlen=_KEPT_REQUESTS)

    def record_sent(self, number: int, now: float, pace: float) -> None:
        """Count a request that goes out at ``pace``, in the order of their numbers."""
        self._sent.append(_Sent(number, now, pace))
        while self._sent[0].at < now - _KEPT_SECONDS:
            self._sent.popleft()

    def record_reply(self, number: int, *, is_accepted: bool) -> None:
        """Count that request ``number`` was accepted, or refused."""
        index = number - self._sent[0].number if self._sent else -1
        if index >= 0:
            self._sent[index].is_accepted = is_accepted

    def find_noise(self, pace: float) -> tuple[int, int, float] | None:
        """Judge a ``pace`` at which a request was refused.

        Returns:
            The refused and all answered requests, and the highest pace among them, if no limit explains them.
        """
        rows = self._collect_rows()[-_MAX_ROWS:] if pace <= _MAX_PACE else []
        if len(rows) < _MIN_ROWS:
            return None
        begin = rows[0][0]
        sent = list(itertools.islice(self._sent, begin, None))
        answered = sum(one.is_accepted is not None for one in sent)
        refused = sum(one.is_accepted is False for one in sent)
        highest = max(one.pace for one in sent)
        is_in_range = _MIN_NOISE * answered <= refused <= _MAX_NOISE * answered + math.sqrt(refused)
        if pace > _LOW_SHARE * highest or not is_in_range:
            return None
        rate = _bound_rate(sent)
        excess = sum(min(_MAX_EXCESS, max(0.0, seconds * rate - _MARGIN)) for _, seconds in rows)
        return (refused, answered, highest) if excess >= _MIN_EXCESS and self._refutes_quota(begin) else None

    def _collect_rows(self) -> list[tuple[int, float]]:
        """Rows of refusals: where each begins, and the seconds from the request before it to its last.

        A bucket refills in more than these seconds. A request whose reply is not known may have been let through.
        """
        rows: list[tuple[int, float]] = []
        let_through: _Sent | None = None
        begin: int | None = None
        for index, sent in enumerate(self._sent):
            if sent.is_accepted is not False:
                let_through, begin = sent, None
            elif let_through is not None:
                if begin is None:
                    begin = index
                    rows.append((begin, 0.0))
                rows[-1] = begin, sent.at - let_through.at
        return rows

    def _refutes_quota(self, begin: int) -> bool:
        """Whether a request was refused though much less had gone through in a minute than was accepted in another."""
        min_quota, max_quota = 0, math.inf
        first = self._sent[0]
        for index, last in itertools.islice(enumerate(self._sent), begin, None):
            minute = [one for one in itertools.islice(self._sent, index) if one.at > last.at - _WINDOW_SECONDS]
            if last.is_accepted:
                min_quota = max(min_quota, 1 + sum(one.is_accepted is True for one in minute))
            elif last.is_accepted is False and (first.number == 0 or first.at <= last.at - _WINDOW_SECONDS):
                max_quota = min(max_quota, sum(one.is_accepted is not False for one in minute))
        return min_quota >= _QUOTA_FACTOR * max_quota + _QUOTA_REQUESTS


def _bound_rate(sent: list[_Sent]) -> float:
    """The least requests a second of a bucket that lets these through: it is empty when it refuses."""
    rate = 0.0
    for refused in (one for one in sent if one.is_accepted is False):
        accepted = (one for one in sent if one.is_accepted and one.at > refused.at)
        # Less than one request was left, so the first shows nothing; two gaps at the least, because requests bunch.
        rate = max([rate, *(count / (one.at - refused.at) for count, one in enumerate(accepted) if count > 1)])
    return rate
