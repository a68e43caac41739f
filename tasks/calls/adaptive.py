"""Adaptive limits: the request rate and the concurrency, learned from what the server refuses.

Both work like TCP on a link of unknown width: a little more while all is well, less after a refusal. How much less
follows from the refusals themselves: one after n requests means that the pace was about 1/n too fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_STATED_MARGIN = 0.985
"""Share of a stated limit that is used: clocks differ and requests bunch on their way."""
_MEASURED_MARGIN = 0.97
"""Share of a measured limit that is used."""
_MIN_CUT = 0.02
_CUT_SHARE = 0.7
"""Share of the estimated excess that one refusal takes away: less than all of it, so that it never undershoots."""
_CYCLE_REQUESTS = 330.0
_CYCLE_SECONDS = 15.0
_CYCLE_PAUSES = 50.0
_HOLD_SHARE = 0.3
_STEP_SHARE = 0.03
_ACCELERATION = 5.0
"""After a refusal the pace stays for ``_HOLD_SHARE`` of a cycle. Then it grows, first by ``_STEP_SHARE`` a cycle, and
faster the further it gets: to twice the pace after about 1.3 cycles, for limits that were raised."""
_STATED_LIMIT_SECONDS = 22.0
"""Seconds for which a stated limit caps the pace, unless it is stated again. Some servers state it in refusals only."""
_MAX_STEP = 0.15
_MIN_PACE = 1 / 60
_MAX_BACKOFF_SECONDS = 15.0
_FIRST_BACKOFF_SECONDS = 0.03125
_MIN_MEASURED_REQUESTS = 16
"""Accepted requests from which a rate is measured."""
_MAX_SHORT_PAUSE_SECONDS = 3.0
"""Pauses below this many seconds waste some of the server's rate; longer ones wait for the end of a window."""
_MIN_LONG_BLOCK_SECONDS = 1.5
_MAX_MEASURED_SECONDS = 150.0
_MINUTE_SECONDS = 60.0
_MIN_TAKEN_SHARE = 0.45
"""Refusals do not lower the pace below this share of the rate that was accepted in the last whole minute."""


@dataclass(slots=True)
class _RequestCount:
    """Requests from number ``first`` on, sent since ``began_at``, and how many of them were refused."""

    began_at: float
    first: int
    refused: int = 0

    def measure_rate(self, end: int, now: float) -> float | None:
        """Accepted requests per second up to number ``end``; None when they are too few, or from too long ago."""
        taken, seconds = end - self.first - self.refused, now - self.began_at
        return taken / seconds if taken >= _MIN_MEASURED_REQUESTS and 1.0 <= seconds <= _MAX_MEASURED_SECONDS else None


class AdaptiveRate:
    """Requests per second that the server accepts. ``pace`` is None until it has refused a request or stated a limit.

    A limit that shows in refusals only is found by being refused. Below ten requests a second, or where it is counted
    by the minute, it takes some hundreds of requests to notice that it was raised: configure such limits.
    """

    def __init__(self) -> None:
        self.pace: float | None = None
        self._base_pace = 1.0  # the pace that growth began from
        self._paced_since_refusal = 0  # requests held back by the pace since the last refusal
        self.stated_limit: float | None = None
        self._stated_until = float("-inf")
        self._last_short_pause = 0.0  # seconds the server last wanted, when short: the longer, the rarer the probes
        self._refusals_in_a_row = 0  # with no accepted request in between
        self._epoch = 0  # requests numbered below this were sent before the last refusal was known
        self._cycle_count = _RequestCount(0.0, 0)  # since the last measurement
        self._minute_count = _RequestCount(0.0, 0)
        self._taken_per_second = 0.0  # accepted in the last whole minute
        self._is_unmeasured = True  # nothing was measured yet
        self._refused_at = 0.0  # when the last refusal was known
        self._resumed_at: float | None = None  # when the first request after it went out
        self._round_trip = 0.1
        self._is_measuring = False
        self._second_counts = (0.0, 0, 0)  # start of this second, requests in it, in the one before

    def state_limit(self, per_second: float, now: float) -> None:
        """Take over a limit the server stated: the pace starts from there and stays below it for a while."""
        stated_before = now < self._stated_until and per_second == self.stated_limit
        self.stated_limit = per_second
        self._stated_until = now + max(_STATED_LIMIT_SECONDS, _CYCLE_REQUESTS / 3 / per_second)
        if not stated_before:
            self._set_pace(per_second * _STATED_MARGIN)

    def record_sent(self, number: int, now: float, *, paced: bool) -> None:
        """Count a request that goes out; raise the pace when the pace was what held it back."""
        start, current, before = self._second_counts
        if now - start >= 1.0:
            self._second_counts = (now, 1, current if now - start < 2.0 else 0)  # noqa: PLR2004 - the second before
        else:
            self._second_counts = (start, current + 1, before)
        if number == 0:
            self._cycle_count, self._minute_count = _RequestCount(now, 0), _RequestCount(now, 0)
        elif now - self._minute_count.began_at >= _MINUTE_SECONDS:
            self._taken_per_second = (number - self._minute_count.first - self._minute_count.refused) / (
                now - self._minute_count.began_at
            )
            self._minute_count = _RequestCount(now, number)
        if self._is_measuring:
            self._measure_limit(now)
        if paced and self.pace is not None:
            self._raise_pace(self.pace, now)

    def _set_pace(self, pace: float) -> None:
        self.pace = self._base_pace = max(_MIN_PACE, pace)
        self._paced_since_refusal = 0

    def _measure_limit(self, now: float) -> None:
        """Measure the limit after a long block: the rate that was accepted since the block before.

        It waits until a refusal of the first request after the block would have come back. A quota for a minute that
        is used up early blocks the rest of the minute, however fast it was used.
        """
        if self._resumed_at is None:
            self._resumed_at = now
        if now - self._resumed_at < 2 * self._round_trip:
            return
        self._is_measuring = False
        was_long_block = self._resumed_at - self._refused_at >= max(_MIN_LONG_BLOCK_SECONDS, 3 / (self.pace or 1.0))
        if not was_long_block and not self._is_unmeasured:
            return
        measured = self._cycle_count.measure_rate(self._epoch, self._resumed_at)
        if measured is not None:
            self._is_unmeasured = False
            self._set_pace(min(measured * _MEASURED_MARGIN, self._get_usable_limit(now) or measured))
        if measured is not None or was_long_block:
            self._cycle_count = _RequestCount(self._resumed_at, self._epoch)

    def _raise_pace(self, pace: float, now: float) -> None:
        self._paced_since_refusal += 1
        cycle = max(_CYCLE_REQUESTS, _CYCLE_SECONDS * pace, _CYCLE_PAUSES * self._last_short_pause * pace)
        usable_limit = self._get_usable_limit(now)
        if usable_limit is not None and pace < usable_limit:
            cycle /= 10  # faster, back to what is known to be allowed
        elif self._paced_since_refusal < _HOLD_SHARE * cycle:
            return
        step = (_STEP_SHARE + _ACCELERATION * max(0.0, pace / self._base_pace - 1)) / cycle
        pace += self._base_pace * min(step, _MAX_STEP)
        self.pace = min(pace, usable_limit or pace)

    def record_refusal(
        self, number: int, next_number: int, sent_at: float, now: float, hint: float | None, *, paced: bool
    ) -> float:
        """Take in that the server refused a request for its rate.

        Args:
            number: the request's number.
            next_number: the number of the next request.
            sent_at: when the request went out.
            now: when the refusal arrived.
            hint: seconds the server wants the client to wait; None when it states none.
            paced: the pace, and nothing else, held the request back.

        Returns:
            Seconds during which nothing is sent.
        """
        self._round_trip = now - sent_at
        self._cycle_count.refused += 1
        self._minute_count.refused += 1
        if number < self._epoch:
            return hint or 0.0
        sent_between = number - self._epoch
        self._refusals_in_a_row = 0 if sent_between else self._refusals_in_a_row + 1
        self._lower_pace(sent_between, now, paced=paced)
        self._epoch, self._resumed_at, self._is_measuring, self._refused_at = next_number, None, True, now
        if hint is not None:
            self._last_short_pause = hint if hint < _MAX_SHORT_PAUSE_SECONDS else 0.0
            return hint
        if self._refusals_in_a_row <= 1:
            return 0.0
        return min(_MAX_BACKOFF_SECONDS, _FIRST_BACKOFF_SECONDS * 4.0 ** min(self._refusals_in_a_row, 9))

    def _lower_pace(self, sent_between: int, now: float, *, paced: bool) -> None:
        current_rate = self._current_rate(now)
        pace = current_rate if self.pace is None else self.pace if paced else min(self.pace, current_rate)
        if self._refusals_in_a_row <= 3:  # noqa: PLR2004 - more are a used-up window: wait for its end, same pace
            pace *= 1 - max(_MIN_CUT, _CUT_SHARE / (sent_between + 2))
        if (usable_limit := self._get_usable_limit(now)) is not None:
            pace = min(max(pace, usable_limit * _MEASURED_MARGIN), usable_limit)
        self._set_pace(max(pace, self._taken_per_second * _MIN_TAKEN_SHARE))

    def _get_usable_limit(self, now: float) -> float | None:
        """The share of the stated limit that is used; None when none was stated or it is too old."""
        return self.stated_limit * _STATED_MARGIN if self.stated_limit and now < self._stated_until else None

    def _current_rate(self, now: float) -> float:
        start, current, before = self._second_counts
        share = min(1.0, max(0.0, now - start))
        return max(1.0, current + before * (1 - share))

    def export_state(self) -> dict[str, Any]:
        """What a later run starts from, as JSON."""
        return {"pace": self.pace}

    def restore_state(self, state: dict[str, Any]) -> None:
        """Start at the pace an earlier run ended with; growth finds out what has changed since."""
        pace = _parse_number(state.get("pace"), _MIN_PACE)
        if pace is not None:
            self._set_pace(pace)
            self._is_unmeasured = False


class AdaptiveWindow:
    """How many requests may be in flight: it grows with replies and shrinks by the share refused as overload.

    A server that refuses one in twenty at random is not a full one. The decrease is half the refused share, as in
    DCTCP, so such a server costs little and a full one halves the window every round trip.
    """

    def __init__(self, start: int, max_size: int) -> None:
        self.size = float(min(start, max_size))
        self._max_size = float(max_size)
        self._epoch = 0
        self._replies = 0
        self._overloads = 0

    def record_success(self) -> None:
        """Count a request that the server accepted."""
        self._replies += 1
        if self.size < self._max_size:
            self.size = min(self._max_size, self.size + max(1.0, 0.05 * self.size) / self.size)

    def record_overload(self, number: int, next_number: int) -> None:
        """Take in that the server had no capacity for request ``number``."""
        self._replies += 1
        self._overloads += 1
        if number >= self._epoch:
            self.size = max(1.0, self.size * (1 - self._overloads / self._replies / 2))
            self._epoch, self._replies, self._overloads = next_number, 0, 0

    def restore_size(self, size: object) -> None:
        """Start with the window size of an earlier run."""
        number = _parse_number(size, 1.0)
        if number is not None:
            self.size = min(number, self._max_size)


def _parse_number(value: object, minimum: float) -> float | None:
    if isinstance(value, (int, float)) and minimum <= value < float("inf"):
        return float(value)
    return None
