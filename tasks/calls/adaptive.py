"""How fast and how many at once, learned from what the server refuses.

Both sides work like TCP on a link of unknown width: a little more while all is well, less when refused. How
much less is told by the refusals themselves: one after n requests means the pace was about 1/n too fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_MARGIN = 0.985
"""Share of a stated limit that is used: clocks differ and requests bunch on their way."""
_BELOW = 0.97
_LEAST_CUT = 0.02
_CUT = 0.7
"""Share of the estimated excess that one refusal takes away; less than all of it, so that it never undershoots."""
_CYCLE_REQUESTS = 330.0
_CYCLE_SECONDS = 15.0
_CYCLE_PAUSES = 50.0
_HOLD = 0.3
_STEP = 0.03
_EAGERNESS = 5.0
"""After a refusal the pace holds for a share of the cycle; then it grows, first by _STEP a cycle and the
faster the further it gets: twice the pace after about 1.3 cycles, for limits that were raised."""
_BELIEVED = 22.0
"""Seconds for which a stated limit caps the pace, unless it is stated again; some state it in refusals only."""
_FASTEST_STEP = 0.15
_SLOWEST = 1 / 60
_LONGEST_BACKOFF = 15.0
_FIRST_BACKOFF = 0.03125
_ENOUGH = 16
"""Requests that must have been taken before their rate is believed."""
_SHORT_PAUSE = 3.0
"""Pauses below this many seconds waste some of the server's rate; longer ones wait for a window's end."""
_LONG_BLOCK = 1.5
_MEMORY = 150.0
_MINUTE = 60.0
_FLOOR = 0.45
"""Share of what was taken in the last whole minute below which refusals do not push the pace."""


@dataclass(slots=True)
class _Count:
    """Requests from number ``first`` on, sent since ``began``, and how many of them were refused."""

    began: float
    first: int
    refused: int = 0

    def rate(self, end: int, now: float) -> float | None:
        """Taken a second, up to number ``end``; None when too few to tell, or from too long ago."""
        taken, seconds = end - self.first - self.refused, now - self.began
        return taken / seconds if taken >= _ENOUGH and 1.0 <= seconds <= _MEMORY else None


class AdaptiveRate:
    """Requests per second that the server was found to take; ``pace`` None until it has refused or stated one.

    A limit that only refusals tell of is found by being refused: below ten requests a second, or counted by
    the minute, finding a raised one takes some hundreds of requests. State such limits in the configuration.
    """

    def __init__(self) -> None:
        self.pace: float | None = None
        self._base = 1.0  # the pace that growth began from
        self._calm = 0  # requests held back by the pace since the last refusal
        self.stated: float | None = None
        self._stated_until = float("-inf")
        self._pause = 0.0  # the last short pause that was asked for: dear pauses make rare probes
        self._blocked = 0  # refusals in a row with nothing taken in between
        self._epoch = 0  # requests numbered below this were sent before the last refusal was known
        self._cycle = _Count(0.0, 0)  # since the last measurement
        self._minute = _Count(0.0, 0)
        self._taken = 0.0  # a second, in the last whole minute
        self._unsure = True  # nothing was measured yet
        self._stopped = 0.0  # when the last refusal was known
        self._resumed: float | None = None  # when the first request after it went out
        self._round_trip = 0.1
        self._settling = False
        self._second = (0.0, 0, 0)  # start of this second, requests in it, in the one before

    def state_limit(self, per_second: float, now: float) -> None:
        """The server said its limit: from here the pace grows again, no further than that for a while."""
        stated_before = now < self._stated_until and per_second == self.stated
        self.stated = per_second
        self._stated_until = now + max(_BELIEVED, _CYCLE_REQUESTS / 3 / per_second)
        if not stated_before:
            self._set(per_second * _MARGIN)

    def granted(self, number: int, now: float, *, paced: bool) -> None:
        """Count a request that goes out; grow when the pace was what held it back."""
        start, current, before = self._second
        if now - start >= 1.0:
            self._second = (now, 1, current if now - start < 2.0 else 0)  # noqa: PLR2004 - the second before
        else:
            self._second = (start, current + 1, before)
        if number == 0:
            self._cycle, self._minute = _Count(now, 0), _Count(now, 0)
        elif now - self._minute.began >= _MINUTE:
            self._taken = (number - self._minute.first - self._minute.refused) / (now - self._minute.began)
            self._minute = _Count(now, number)
        if self._settling:
            self._settle(now)
        if paced and self.pace is not None:
            self._grow(self.pace, now)

    def _set(self, pace: float) -> None:
        self.pace = self._base = max(_SLOWEST, pace)
        self._calm = 0

    def _settle(self, now: float) -> None:
        """Once a refusal would have come back: after a long block, what was taken since the one before is the limit.

        A quota for a minute that is used up early blocks the rest of the minute, however fast it was used.
        """
        if self._resumed is None:
            self._resumed = now
        if now - self._resumed < 2 * self._round_trip:
            return
        self._settling = False
        long = self._resumed - self._stopped >= max(_LONG_BLOCK, 3 / (self.pace or 1.0))
        if not long and not self._unsure:
            return
        found = self._cycle.rate(self._epoch, self._resumed)
        if found is not None:
            self._unsure = False
            self._set(min(found * _BELOW, self._believed(now) or found))
        if found is not None or long:
            self._cycle = _Count(self._resumed, self._epoch)

    def _grow(self, pace: float, now: float) -> None:
        self._calm += 1
        cycle = max(_CYCLE_REQUESTS, _CYCLE_SECONDS * pace, _CYCLE_PAUSES * self._pause * pace)
        believed = self._believed(now)
        if believed is not None and pace < believed:
            cycle /= 10  # the way back to what is known to be allowed
        elif self._calm < _HOLD * cycle:
            return
        step = (_STEP + _EAGERNESS * max(0.0, pace / self._base - 1)) / cycle
        pace += self._base * min(step, _FASTEST_STEP)
        self.pace = min(pace, believed or pace)

    def refused(
        self, number: int, next_number: int, sent: float, now: float, hint: float | None, *, paced: bool
    ) -> float:
        """The server refused a request for its rate; seconds during which nothing is sent.

        Args:
            number: of the request.
            next_number: what the next request will have.
            sent: when it went out.
            now: when it came back.
            hint: seconds the server asked to wait.
            paced: the pace, and nothing else, held the request back.
        """
        self._round_trip = now - sent
        self._cycle.refused += 1
        self._minute.refused += 1
        if number < self._epoch:
            return hint or 0.0
        between = number - self._epoch
        self._blocked = 0 if between else self._blocked + 1
        self._lower(between, now, paced=paced)
        self._epoch, self._resumed, self._settling, self._stopped = next_number, None, True, now
        if hint is not None:
            self._pause = hint if hint < _SHORT_PAUSE else 0.0
            return hint
        return min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 4.0 ** min(self._blocked, 9)) if self._blocked > 1 else 0.0

    def _lower(self, between: int, now: float, *, paced: bool) -> None:
        sending = self._sending(now)
        pace = sending if self.pace is None else self.pace if paced else min(self.pace, sending)
        if self._blocked <= 3:  # noqa: PLR2004 - a longer block is a used-up window: it is waited for, not slowed down for
            pace *= 1 - max(_LEAST_CUT, _CUT / (between + 2))
        if (believed := self._believed(now)) is not None:
            pace = min(max(pace, believed * _BELOW), believed)
        self._set(max(pace, self._taken * _FLOOR))

    def _believed(self, now: float) -> float | None:
        """What of the stated limit is used, while it is believed."""
        return self.stated * _MARGIN if self.stated and now < self._stated_until else None

    def _sending(self, now: float) -> float:
        start, current, before = self._second
        share = min(1.0, max(0.0, now - start))
        return max(1.0, current + before * (1 - share))

    def state(self) -> dict[str, Any]:
        """What is worth remembering between runs."""
        return {"pace": self.pace}

    def restore(self, state: dict[str, Any]) -> None:
        """Begin where an earlier run left off; growth finds out what has changed since."""
        pace = _number(state.get("pace"), _SLOWEST)
        if pace is not None:
            self._set(pace)
            self._unsure = False


class AdaptiveWindow:
    """How many requests may be in flight: grows with answers, shrinks by the share refused for lack of capacity.

    A server that refuses one in twenty at random is not a full one; the decrease is half the refused share
    (as DCTCP does), so such a server costs little and a full one halves the window every round trip.
    """

    def __init__(self, start: int, most: int) -> None:
        self.size = float(min(start, most))
        self._most = float(most)
        self._epoch = 0
        self._answers = 0
        self._short = 0

    def accepted(self) -> None:
        """The server took a request."""
        self._answers += 1
        if self.size < self._most:
            self.size = min(self._most, self.size + max(1.0, 0.05 * self.size) / self.size)

    def refused(self, number: int, next_number: int) -> None:
        """The server was short of capacity for request ``number``."""
        self._answers += 1
        self._short += 1
        if number >= self._epoch:
            self.size = max(1.0, self.size * (1 - self._short / self._answers / 2))
            self._epoch, self._answers, self._short = next_number, 0, 0

    def restore(self, size: object) -> None:
        """Begin with an earlier run's window."""
        number = _number(size, 1.0)
        if number is not None:
            self.size = min(number, self._most)


def _number(value: object, least: float) -> float | None:
    if isinstance(value, (int, float)) and least <= value < float("inf"):
        return float(value)
    return None
