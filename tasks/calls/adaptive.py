"""The request rate that a server accepts, learned from what it refuses.

It works like TCP on a link of unknown width: a little more while all is well, less after a refusal. Each cut is an
experiment, see :mod:`refusal_trial`; so is each growth: it is undone when it meets a refusal, and paid for by hundreds
of requests before the next.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

from mediamill.tasks.calls.quota_window import QuotaWindow
from mediamill.tasks.calls.refusal_trial import RefusalTrial

_STATED_MARGIN = 0.985
"""Share of a stated limit that is used: clocks differ and requests bunch on their way."""
_MEASURED_MARGIN = 0.97
"""Share of a measured limit that is used."""
_ACCEPTED_MARGIN = 0.985
"""Share of the rate that was accepted on average between two refusals that is used after them."""
_STATED_LIMIT_SECONDS = 22.0
"""Seconds for which a stated limit caps the pace, unless it is stated again. Some servers state it in refusals only."""
_STATED_LIMIT_REQUESTS = 200.0
_MIN_CUT, _MAX_CUT, _ROW_CUT = 0.03, 0.5, 0.85
_CUT_SHARE = 0.7
"""Share of the estimated excess that one refusal takes away: less than all of it, so that it never undershoots."""
_MIDDLE_SHARE, _GROWTH_WEIGHT = 0.9, 0.33
_BUCKET_SECONDS = 1.0
"""Seconds of its rate that a bucket holds, as a rule."""
_MIN_MEASURED_REQUESTS = 16
"""Accepted requests from which a rate is measured."""
_HOLD_REQUESTS = 90.0
"""Requests before the pace grows again, for each refusal at the limit: so growth costs less than 1 % of refusals."""
_HOLD_EXPERIENCE = 3.0
"""The hold is no longer than this many times the requests so far: at first, a limit is hardly known."""
_SEARCH_HOLD_REQUESTS = 10.0
_SEARCHES, _SAME_PACE = 2, 1.3
"""Three signals in a row at paces that differ by less show a limit; until then the pace is searched for."""
_MAX_HOLD_SECONDS = 600.0
_SLOW_PACE, _SLOW_HOLD_SECONDS = 0.25, 20.0
"""Below this pace, which hardly is a limit, the hold is short: another run may have used the limit up."""
_HOLD_PAUSES = 30.0
"""The hold in pauses that the server wanted, where they were short: pauses waste some of its rate."""
_FIRST_GROWTH, _GROWTH = 0.005, 0.25
"""Growth a second, as a share of the pace it began from: the first, and a share of what it has grown by so far. It
comes to a tenth in 7 s, to double in 16 s, and to a thousand times in 43 s, for limits that were raised or gone."""
_NOISY_FIRST_GROWTH = 0.02
"""Where there is noise, some cuts are mistakes."""
_FAST_GROWTH = 0.7
"""Growth a second where no limit is known: while one is searched for, and after refusals turned out to be noise."""
_STATED_GROWTH = 0.05
"""Growth a second back to a stated limit."""
_MAX_STEP_SECONDS = 3.0
"""Growth that one request may bring, in seconds: longer gaps come from pauses, or from little work."""
_USELESS_CUTS = 4
_MIN_PACE = 1 / 60
_RUN_CHANCE, _MIN_SHARE, _MAX_RUN, _RUN_GAPS = 7.5, 0.03, 24, 3
"""Refusals in a row that come at random once in 10 to the power of this are a used-up quota; the share of refusals that
is expected at the least; the most in a row; and the other requests between them that may still be answered."""
_WINDOW_SECONDS = 60.0
_QUOTA_MARGIN, _QUOTA_GROWTH, _QUOTA_HITS = 0.985, 1.01, 3
"""Share of a measured quota that is used; a pace that is about that; so many signals at it show that it is no more."""
_MAX_UNSURE_HINT = 1.0
"""A hint of a second is the least that ``Retry-After`` can state: it may be much less."""
_MAX_FIRST_PAUSE_SECONDS = 0.25
"""A first refusal stops the requests for about a round trip: the next one shows whether a quota is used up."""
_MAX_BACKOFF_SECONDS = 15.0
_FIRST_BACKOFF_SECONDS = 0.03125
_MAX_SHORT_PAUSE_SECONDS = 3.0
_MIN_LONG_BLOCK_SECONDS = 0.9
_MAX_MEASURED_SECONDS = 150.0
_MAX_REMEMBERED_SECONDS = 3600.0
"""Age from which a pace of an earlier run is forgotten."""


class AdaptiveRate:
    """Requests per second that the server accepts. ``pace`` is None until it has refused a request or stated a limit.

    A limit that shows in refusals only is found by being refused. Where it is small, or counted by the minute, it takes
    minutes to notice that it was raised: configure such limits.
    """

    def __init__(self) -> None:
        self.pace: float | None = None
        self._base_pace = 1.0  # the pace that growth began from
        self.stated_limit: float | None = None
        self._stated_until = float("-inf")
        self._trial = RefusalTrial(_USELESS_CUTS)
        self._quota = QuotaWindow()
        self._quota_pace: float | None = None  # of a quota that was measured
        self._quota_hits = 0  # signals at that pace
        self._learned_at: float | None = None  # when the last signal came
        self._restored_age = 0.0  # seconds, of what was restored
        # Growth
        self._hold_requests = 0.0  # requests still to be sent before the pace grows
        self._hold_until = 0.0  # or this moment, if it comes first
        self._grows_fast = False
        self._last_sent_at = 0.0
        self._searches_left = _SEARCHES
        self._signal_pace = 0.0
        # The last signal
        self._epoch = 0  # requests numbered below this were sent before the last signal was known
        self._hit_refusals = 0  # refusals since the last hold began
        self._paced = (0, 0.0)  # requests since then that the pace held back, and their time at their pace
        self._paced_in_hold = (0, 0.0)  # the same, until growth began
        self._accepted_total = 0
        # Refusals one after the other, and the block they are
        self._last_refused = -2
        self._recent_refusals: deque[int] = deque(maxlen=_MAX_RUN)
        self._refusals_in_a_row = 0
        self._last_short_pause = 0.0
        self._round_trip = 0.1
        self._second_counts = (0.0, 0, 0)  # start of this second, requests in it, in the one before

    def state_limit(self, per_second: float, now: float) -> None:
        """Take over a limit the server stated: the pace starts from there and stays below it for a while."""
        stated_before = now < self._stated_until and per_second == self.stated_limit
        self.stated_limit = per_second
        self._stated_until = now + max(_STATED_LIMIT_SECONDS, _STATED_LIMIT_REQUESTS / per_second)
        if not stated_before:
            self._set_pace(per_second * _STATED_MARGIN, now)
            self._trial.end_trial()

    def record_sent(self, number: int, now: float, *, paced: bool) -> None:
        """Count a request that goes out; raise the pace when the pace was what held it back."""
        start, current, before = self._second_counts
        if now - start >= 1.0:
            self._second_counts = (now, 1, current if now - start < 2.0 else 0)  # noqa: PLR2004 - the second before
        else:
            self._second_counts = (start, current + 1, before)
        if number == 0:
            self._learned_at = now - self._restored_age
        if paced and self.pace is not None:
            self._paced = self._paced[0] + 1, self._paced[1] + 1 / self.pace
            self._raise_pace(self.pace, now)
        self._last_sent_at = now

    def record_accepted(self, number: int, sent_at: float, now: float) -> None:
        """Count an accepted request."""
        self._accepted_total += 1
        quota = self._quota.record_accepted(number, sent_at, self._count_run())
        if quota is not None:
            self._quota_pace, self._quota_hits = quota / _WINDOW_SECONDS * _QUOTA_MARGIN, 0
            self._set_pace(min(self._quota_pace, self._get_usable_limit(now) or math.inf), now)
            self._trial.end_trial()
        if number > self._last_refused:
            self._refusals_in_a_row = 0

    def record_refusal(self, number: int, next_number: int, sent_at: float, now: float, hint: float | None) -> float:
        """Take in that the server refused a request for its rate.

        Args:
            number: the request's number.
            next_number: the number of the next request.
            sent_at: when the request went out.
            now: when the refusal arrived.
            hint: seconds the server wants the client to wait; None when it states none.

        Returns:
            Seconds during which nothing is sent, unless a request that was sent after this one is accepted meanwhile.
        """
        self._round_trip = now - sent_at
        self._quota.record_refusal(number, sent_at, hint)
        trial = self._trial
        follows_refusal = number <= self._last_refused + 1 and not trial.noise
        self._last_refused = max(number, self._last_refused)
        self._recent_refusals.append(number)
        run = self._count_run()
        recent = sorted(self._recent_refusals)[-run:]
        is_dense = len(recent) == run and self._last_refused - recent[0] < run + _RUN_GAPS
        if number < self._epoch:
            self._hit_refusals += 1
            if not is_dense or self._refusals_in_a_row > 1:
                return 0.0
            self._refusals_in_a_row = 2
            trial.end_trial()
        elif trial.record_refusal(number) or is_dense:
            self._refusals_in_a_row = self._refusals_in_a_row + 1 if follows_refusal or is_dense else 1
            self._hit_refusals = 1 if self._refusals_in_a_row == 1 else self._hit_refusals + 1
            self._answer_signal(number, next_number, now, is_used_up=is_dense)
            self._epoch = next_number
        else:
            return 0.0
        if self._refusals_in_a_row <= 1:
            return 0.0 if trial.noise else min(_MAX_FIRST_PAUSE_SECONDS, 1.2 * self._round_trip)
        backoff = min(_MAX_BACKOFF_SECONDS, _FIRST_BACKOFF_SECONDS * 4.0 ** min(self._refusals_in_a_row, 9))
        if hint is None:
            return backoff
        pause = min(hint, backoff) if hint <= _MAX_UNSURE_HINT else hint
        self._last_short_pause = pause if pause < _MAX_SHORT_PAUSE_SECONDS else 0.0
        return pause

    def _answer_signal(self, number: int, next_number: int, now: float, *, is_used_up: bool) -> None:
        """Cut the pace, or go back to where it was when the cuts so far changed nothing."""
        trial, self._learned_at = self._trial, now
        pace = self._current_rate(now) if self.pace is None else min(self.pace, 2 * self._current_rate(now))
        self._searches_left -= pace < _SAME_PACE * self._signal_pace
        self._signal_pace = pace
        if is_used_up or self._refusals_in_a_row > max(2, self._count_run() - 3):
            trial.end_trial()
        restored = trial.judge_cuts(number, next_number, pace, is_repeated=self._refusals_in_a_row > 1)
        if restored is not None:
            self._set_pace(restored, now)
            self._hold_requests, self._grows_fast = 0.0, True
            return
        if self._refusals_in_a_row > 2:  # noqa: PLR2004 - a used-up window: wait for its end, same pace
            self._set_pace(self.pace or pace, now)
            return
        wanted_cut = trial.share + trial.noise + _MIN_CUT if trial.noise else _CUT_SHARE * trial.share
        lowered = pace * (1 - max(_MIN_CUT, min(_MAX_CUT, wanted_cut)))
        if self._refusals_in_a_row > 1 and self._searches_left <= 0:
            lowered = max(lowered, _ROW_CUT * pace)  # the same event as the refusal before
        if self.pace is not None and pace > self._base_pace and not trial.noise and self._searches_left <= 0:
            lowered = min(lowered, max(self._base_pace * (1 - _MIN_CUT), self._measure_average(pace)))
        if self._quota_pace is not None:
            self._quota_hits = self._quota_hits + 1 if pace < _QUOTA_GROWTH * self._quota_pace else 0
            if self._quota_hits < _QUOTA_HITS:
                lowered = max(lowered, min(pace, self._quota_pace))
            else:
                self._quota_pace = None
        if (usable_limit := self._get_usable_limit(now)) is not None:
            lowered = min(max(lowered, usable_limit * _MEASURED_MARGIN), usable_limit)
        self._set_pace(lowered, now)
        trial.record_cut(lowered)

    def _count_run(self) -> int:
        """How many refusals in a row are a used-up quota, and not by chance."""
        share = min(0.5, max(_MIN_SHARE, self._trial.expected_share))
        return min(_MAX_RUN, math.ceil(-_RUN_CHANCE / math.log10(share)))

    def _measure_average(self, pace: float) -> float:
        """The pace to fall back to after growth: a little below what was accepted on average since the last signal.

        That average is no more than the limit, and less where the limit's bucket ran over before growth began. The
        average of the growth alone is no less, but for a bucket that was full.
        """
        requests, seconds = self._paced
        growth_requests, growth_seconds = requests - self._paced_in_hold[0], seconds - self._paced_in_hold[1]
        if requests < _MIN_MEASURED_REQUESTS or not growth_requests:
            return _MIDDLE_SHARE * math.sqrt(pace * self._base_pace)
        average, growth_average = requests / seconds, growth_requests / growth_seconds
        middle = average + _GROWTH_WEIGHT * (growth_average - average)
        return _ACCEPTED_MARGIN * max(middle, growth_average * growth_seconds / (growth_seconds + _BUCKET_SECONDS))

    def _set_pace(self, pace: float, now: float) -> None:
        self.pace = self._base_pace = max(_MIN_PACE, pace)
        self._paced = self._paced_in_hold = 0, 0.0
        self._grows_fast = self._searches_left > 0
        pause = 0.0 if self._trial.noise else self._last_short_pause
        self._hold_requests = min(
            max(_HOLD_REQUESTS * self._hit_refusals * self._trial.signal_refusals, _HOLD_PAUSES * pause * self.pace),
            _HOLD_EXPERIENCE * self._accepted_total,
            _SEARCH_HOLD_REQUESTS if self._searches_left > 0 else math.inf,
        )
        self._hold_until = now + (_SLOW_HOLD_SECONDS if self.pace < _SLOW_PACE else _MAX_HOLD_SECONDS)

    def _raise_pace(self, pace: float, now: float) -> None:
        usable_limit = self._get_usable_limit(now)
        seconds = min(now - self._last_sent_at, max(_MAX_STEP_SECONDS, 1.5 / pace))
        if usable_limit is not None and pace < usable_limit:
            pace *= 1 + _STATED_GROWTH * min(1.0, seconds)
        else:
            self._hold_requests -= 1
            if self._hold_requests > 0 and now < self._hold_until:
                self._paced_in_hold = self._paced
                return
            if self._grows_fast:
                pace *= 1 + _FAST_GROWTH * min(1.0, seconds)
            else:
                first = _NOISY_FIRST_GROWTH if self._trial.noise else _FIRST_GROWTH
                pace += self._base_pace * (first + _GROWTH * max(0.0, pace / self._base_pace - 1)) * seconds
        self.pace = min(pace, usable_limit or pace)

    def _get_usable_limit(self, now: float) -> float | None:
        """The share of the stated limit that is used; None when none was stated or it is too old."""
        return self.stated_limit * _STATED_MARGIN if self.stated_limit and now < self._stated_until else None

    def _current_rate(self, now: float) -> float:
        start, current, before = self._second_counts
        share = min(1.0, max(0.0, now - start))
        return max(1.0, current + before * (1 - share))

    def export_state(self, now: float) -> dict[str, Any]:
        """What a later run starts from, as JSON, with its age in seconds."""
        age = self._restored_age if self._learned_at is None else now - self._learned_at
        return {"pace": self.pace, "age": age}

    def restore_state(self, state: dict[str, Any], seconds_ago: float) -> None:
        """Start at the pace an earlier run ended with, and grow from there at once; an old one is forgotten."""
        pace, age = _parse_number(state.get("pace"), _MIN_PACE), _parse_number(state.get("age"), 0.0)
        if pace is None or age is None or age + seconds_ago > _MAX_REMEMBERED_SECONDS:
            return
        self._set_pace(pace, 0.0)
        self._restored_age = age + seconds_ago
        self._searches_left = 0


def _parse_number(value: object, minimum: float) -> float | None:
    if isinstance(value, (int, float)) and minimum <= value < float("inf"):
        return float(value)
    return None
