"""The request rate that a server accepts, learned from what it refuses.

It works like TCP on a link of unknown width: a little more while all is well, less after a refusal. Cuts are
experiments, see :mod:`refusal_trial`; so is growth: undone by a refusal, and paid for by many requests before the next.
"""

from __future__ import annotations

import math
from typing import Any

from mediamill.tasks.calls.noise_check import NoiseChecks
from mediamill.tasks.calls.pace_doubt import PaceDoubt
from mediamill.tasks.calls.pace_growth import PaceGrowth, limit_seconds, raise_to_stated
from mediamill.tasks.calls.paced_requests import ACCEPTED_MARGIN, PacedRequests
from mediamill.tasks.calls.quota_window import QuotaPace, QuotaWindow
from mediamill.tasks.calls.refusal_row import RefusalRow, count_run
from mediamill.tasks.calls.refusal_trial import RefusalTrial
from mediamill.tasks.calls.request_rate import RequestRate
from mediamill.tasks.calls.shared_limit import SharedLimit
from mediamill.tasks.calls.stated_limit import StatedLimit

_MEASURED_MARGIN = 0.97
"""Share of a measured limit that is used."""
_MIN_CUT, _MAX_CUT, _ROW_CUT = 0.03, 0.5, 0.85
_CUT_SHARE = 0.7
"""Share of the estimated excess that one refusal takes away: less than all of it, so that it never undershoots."""
_SEARCHES, _SAME_PACE = 2, 1.3
"""Three signals in a row at paces that differ by less show a limit; until then the pace is searched for."""
_SINGLE_TOKEN_PACE, _REFUSED_STEPS = 1.2, 2.5
"""Below this pace a bucket of a second holds one request, and the first beyond the limit is refused: it was sent when
the pace was two steps lower, and the one before it was accepted."""
_FALLEN_SHARE, _FALLEN_HOLD_REQUESTS = 0.85, 30.0
"""After the pace fell to less than this share it is a guess, and held for fewer requests."""
_HIGH_NOISE = 0.05
"""Where less noise was found than this, a limit may be near, and growth begins slowly."""
_OUTAGE_FAILURES = 5
"""Failures in a row after which the pace does not grow."""
_FIRST_ACCEPTED, _MAX_FALL = 3, 0.35
"""Where no more was accepted yet, the time since then shows a small limit; to what share the pace falls at most."""
_USELESS_CUTS = 4
_MIN_PACE = 1 / 60
_MAX_UNSURE_HINT = 1.0
"""A hint of a second is the least that ``Retry-After`` can state: it may be much less."""
_MAX_FIRST_PAUSE_SECONDS = 0.25
"""A first refusal stops the requests for about a round trip: the next one shows whether a quota is used up."""
_MAX_BACKOFF_SECONDS = 15.0
_FIRST_BACKOFF_SECONDS = 0.03125
_MAX_SHORT_PAUSE_SECONDS = 3.0
_MAX_REMEMBERED_SECONDS = 3600.0
"""Age from which a pace of an earlier run is forgotten."""


class AdaptiveRate:
    """Requests per second that the server accepts. ``pace`` is None until it has refused a request or stated a limit.

    A limit that shows in refusals only is found by being refused. Where it is small it takes minutes to notice that it
    was raised: configure such limits.
    """

    def __init__(self) -> None:
        self.pace: float | None = None
        self._stated = StatedLimit()
        self._others = 0.0  # requests a second of other runs on the same limit
        self._trial = RefusalTrial(_USELESS_CUTS)
        self._doubt = PaceDoubt()
        self._quota = QuotaWindow()
        self._quota_pace = QuotaPace()
        self._noise_checks = NoiseChecks()
        self._shared = SharedLimit()
        self._learned_at: float | None = None  # when the last signal came
        self._restored_age = 0.0  # seconds, of what was restored
        # Growth
        self._growth = PaceGrowth()
        self._last_sent_at = 0.0
        self._failures_in_a_row = 0
        self._searches_left = _SEARCHES
        self._signal_pace = 0.0
        self._has_signal = False  # whether one came in this run
        # The last signal
        self._epoch = 0  # requests numbered below this were sent before the last signal was known
        self._hit_refusals = 0  # refusals since the last hold began
        self._paced = PacedRequests()  # since then
        self._accepted_total = 0
        self._accepted_pace: float | None = None  # when a request was accepted last, with no refusal after it
        self._accepted_at: float | None = None  # when the last accepted request went out
        # Refusals one after the other, and the block they are
        self._row = RefusalRow()
        self.refusals_in_a_row = 0
        """From the second on, what the requests ask for may be used up."""
        self._last_short_pause = 0.0
        self._round_trip = 0.1
        self._request_rate = RequestRate()

    @property
    def claim(self) -> float | None:
        """The pace, beside checks of the noise."""
        return None if self.pace is None else self._noise_checks.get_pace(self.pace)

    @property
    def noise(self) -> float:
        """The share of requests that is refused whatever the pace."""
        return self._trial.noise

    def state_limit(self, per_second: float, now: float) -> None:
        """Take over a limit the server stated: the pace starts from there and stays below it for a while."""
        if self._stated.state(per_second, now):
            self._set_pace(self._stated.get_usable(now) or per_second, now)
            self._trial.end_trial()

    def record_sent(self, number: int, now: float, *, paced: bool) -> None:
        """Count a request that goes out; raise the pace when the pace was what held it back."""
        self._request_rate.record(now)
        if number == 0:
            self._learned_at = now - self._restored_age
        self._doubt.record_sent(number, now, self.pace or 0.0)
        if self.pace is not None:
            self._check_noise(self.pace, number, now)
        if paced and self.pace is not None:
            self._paced.record(self.pace)
            self._raise_pace(self.pace, now)
        self._last_sent_at = now

    def record_accepted(self, number: int, sent_at: float, now: float) -> None:
        """Count an accepted request."""
        self._accepted_total += 1
        self._failures_in_a_row = 0
        self._doubt.record_reply(number, is_accepted=True)
        self._accepted_at = sent_at
        quota = self._quota.record_accepted(number, sent_at, count_run(self._trial.expected_share))
        if quota is not None:
            self._searches_left = 0
            self._set_pace(min(self._quota_pace.measure(quota), self._stated.get_usable(now) or math.inf), now)
            self._trial.end_trial()
        if number > self._row.last_refused:
            self.refusals_in_a_row = 0
            self._accepted_pace = self.pace

    def forget_block(self, now: float) -> None:
        """The last refusals were an outage and no limit: go back to the pace from before them."""
        if self._accepted_pace is None:
            self.pace = None
        else:
            self._set_pace(self._accepted_pace, now)
        self._quota, self._row, self.refusals_in_a_row = QuotaWindow(), RefusalRow(), 0
        self._trial.end_trial()

    def record_failure(self) -> None:
        """Count a request that failed for another reason: where all do, none shows that the pace is accepted."""
        self._failures_in_a_row += 1

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
        self._doubt.record_reply(number, is_accepted=False)
        if self._noise_checks.record_refusal(number):
            return 0.0
        self._quota.record_refusal(number, sent_at, hint)
        trial = self._trial
        follows_refusal = self._row.record_refusal(number) and not trial.noise
        is_dense = self._row.is_dense(trial.expected_share)
        if number < self._epoch:
            self._hit_refusals += 1
            if not is_dense or self.refusals_in_a_row > 1:
                return 0.0
            self.refusals_in_a_row = 2
            trial.end_trial()
            if self._searches_left > 0 and self.pace is not None and not self._stated.get_usable(now):
                self._set_pace(self.pace * _MAX_CUT, now)  # most of what went out at this pace was too much
        elif trial.record_refusal(number) or is_dense:
            self.refusals_in_a_row = self.refusals_in_a_row + 1 if follows_refusal or is_dense else 1
            self._hit_refusals = 1 if self.refusals_in_a_row == 1 else self._hit_refusals + 1
            self._answer_signal(number, next_number, now, is_used_up=is_dense)
            self._epoch = next_number
        else:
            return 0.0
        if self.refusals_in_a_row <= 1:
            return 0.0 if trial.noise else min(_MAX_FIRST_PAUSE_SECONDS, 1.2 * self._round_trip)
        backoff = min(_MAX_BACKOFF_SECONDS, _FIRST_BACKOFF_SECONDS * 4.0 ** min(self.refusals_in_a_row, 9))
        if hint is None:
            return self._quota.limit_wait(backoff, now)
        pause = min(hint, backoff) if hint <= _MAX_UNSURE_HINT else hint
        self._last_short_pause = pause if pause < _MAX_SHORT_PAUSE_SECONDS else 0.0
        return pause

    def _check_noise(self, pace: float, number: int, now: float) -> None:
        """Lower the pace now and then while there is noise: what ends with that was no noise."""
        trial, checks = self._trial, self._noise_checks
        if checks.is_due(trial.noise, now):
            self._set_pace(checks.start(number, trial.noise, pace), now)
            self._growth.hold_requests = self._growth.hold_until = math.inf
        elif (verdict := checks.end(number, trial.noise, now)) is not None:
            is_refuted, pace = verdict
            if is_refuted:
                trial.forget_noise()
            self._set_pace(min(pace, self._stated.get_usable(now) or math.inf), now)

    def _answer_signal(self, number: int, next_number: int, now: float, *, is_used_up: bool) -> None:
        """Cut the pace, or go back to where it was when the cuts so far changed nothing."""
        trial, self._learned_at = self._trial, now
        pace = min(self.pace or math.inf, (1 if self.pace is None else 2) * self._request_rate.measure(now))
        self._searches_left -= pace < _SAME_PACE * self._signal_pace
        self._signal_pace = pace
        if is_used_up or self.refusals_in_a_row > max(2, count_run(self._trial.expected_share) - 3):
            trial.end_trial()
        is_settled = self.pace is not None and self._searches_left <= 0 and self.refusals_in_a_row <= 1
        is_settled = is_settled and not trial.noise
        is_foreign = self._shared.record_signal(
            now, pace / self._growth.base_pace, self._paced.count, is_settled=is_settled
        )
        hold, self._has_signal = (self._growth.hold_requests, self._growth.hold_until), True
        restored = self._find_noise(number, next_number, pace, now)
        if restored is not None:
            self._set_pace(restored, now)
            self._noise_checks.record_found(now)
            self._growth.hold_requests = 0.0
            self._growth.is_fast = self._searches_left > 0 or trial.noise >= _HIGH_NOISE
            return
        if self.refusals_in_a_row > 2:  # noqa: PLR2004 - a used-up window: wait for its end, same pace
            if self._accepted_total <= _FIRST_ACCEPTED and self._accepted_at is not None:
                seconds = max(self._round_trip, now - self._accepted_at, 1 / pace)
                pace = max(_MAX_FALL * pace, 1 / seconds)
            self._set_pace(min(self.pace or pace, pace), now)
            return
        wanted_cut = trial.share + trial.noise + _MIN_CUT if trial.noise else _CUT_SHARE * trial.share
        lowered = pace * (1 - max(_MIN_CUT, min(_MAX_CUT, wanted_cut)))
        if self.refusals_in_a_row > 1 and self._searches_left <= 0:
            lowered = max(lowered, _ROW_CUT * pace)  # the same event as the refusal before
        if self.pace is not None and pace > self._growth.base_pace and not trial.noise and self._searches_left <= 0:
            lowered = min(lowered, self._compute_fallback(pace, now))
        lowered = self._quota_pace.limit_cut(lowered, self.pace or pace, now)
        if (usable_limit := self._stated.get_usable(now)) is not None:
            lowered = min(max(lowered, usable_limit * _MEASURED_MARGIN), usable_limit)
        base_pace = self._growth.base_pace
        self._set_pace(lowered, now)
        if is_foreign:
            self._growth.hold_requests, self._growth.hold_until = hold
        elif lowered < _FALLEN_SHARE * base_pace and not trial.noise:
            self._growth.hold_requests = min(self._growth.hold_requests, _FALLEN_HOLD_REQUESTS)
        trial.record_cut(lowered + self._others)

    def _find_noise(self, number: int, next_number: int, pace: float, now: float) -> float | None:
        load, is_repeated = pace + self._others, self.refusals_in_a_row > 1
        restored = self._trial.judge_cuts(number, next_number, load, is_repeated=is_repeated)
        if restored is not None:
            return max(pace, restored - self._others)
        is_known = self._others or self._trial.noise or self._shared.is_shared(now)
        if is_known or (found := self._doubt.find_noise(pace)) is None:
            return None
        return self._trial.take_for_noise(*found, next_number)

    def _compute_fallback(self, pace: float, now: float) -> float:
        """The pace after growth that met a refusal at ``pace``."""
        base_pace = self._growth.base_pace
        if not self._trial.noise and self._shared.is_shared(now):
            return self._shared.compute_fallback(base_pace, pace)
        fallback = max(base_pace * (1 - _MIN_CUT), self._paced.measure_average(pace, base_pace))
        if pace < _SINGLE_TOKEN_PACE:
            fallback = max(fallback, ACCEPTED_MARGIN * (pace - _REFUSED_STEPS * self._growth.last_step))
        return fallback

    def _set_pace(self, pace: float, now: float) -> None:
        self.pace = self._growth.base_pace = max(_MIN_PACE, pace)
        self._paced = PacedRequests()
        self._quota_pace.end_growth()
        self._growth.is_fast = self._searches_left > 0
        if not self._trial.noise and self._shared.is_shared(now):
            self._growth.hold_for(self._shared.compute_hold(self.pace), now)
            return
        self._growth.hold(
            now,
            signals=self._hit_refusals * self._trial.signal_refusals,
            pause=0.0 if self._trial.noise else self._last_short_pause,
            experience=self._accepted_total,
            is_search=self._searches_left > 0,
        )

    def _raise_pace(self, pace: float, now: float) -> None:
        usable_limit, growth = self._stated.get_usable(now), self._growth
        seconds = limit_seconds(now - self._last_sent_at, pace)
        if usable_limit is not None and pace < usable_limit:
            pace = raise_to_stated(pace, seconds)
        else:
            if growth.count_request(now) or self._failures_in_a_row >= _OUTAGE_FAILURES:
                self._paced.hold()
                return
            pace = growth.raise_pace(pace, seconds, is_noisy=bool(self._trial.noise), is_fine=self._has_signal)
        pace = self._quota_pace.limit_growth(pace, growth.base_pace, now)
        self.pace = min(pace, usable_limit or pace)

    def share_pace(self, pace: float | None, limit_share: float, others: float) -> None:
        """Go on at a ``pace`` that leaves ``others`` their part of a limit, with ``limit_share`` of a stated one.

        It is no experiment: all that was learned is scaled, as if the requests so far had gone at their part.
        """
        self._stated.share, self._others = limit_share, others
        if pace is None:
            return
        if self.pace is None:
            self._set_pace(pace, 0.0)
            return
        factor = max(_MIN_PACE, pace) / self._noise_checks.get_pace(self.pace)
        self.pace *= factor
        self._growth.scale(factor)
        self._signal_pace *= factor
        self._paced.scale(factor)
        self._quota_pace.scale(factor)
        self._noise_checks.scale(factor)

    def export_state(self, now: float) -> dict[str, Any]:
        """What a later run starts from, as JSON, with its age in seconds: the pace of all runs together."""
        age = self._restored_age if self._learned_at is None else now - self._learned_at
        pace = None if self.claim is None else self.claim + self._others
        return {"pace": pace, "noise": self._trial.noise, "age": age}

    def restore_state(self, state: dict[str, Any], seconds_ago: float) -> None:
        """Start at the pace and noise an earlier run ended with, grow from there at once; what is old is forgotten."""
        pace, age = _parse_number(state.get("pace"), _MIN_PACE), _parse_number(state.get("age"), 0.0)
        if pace is None or age is None or age + seconds_ago > _MAX_REMEMBERED_SECONDS:
            return
        self._set_pace(pace, 0.0)
        self._restored_age = age + seconds_ago
        self._searches_left = 0
        self._trial.restore_noise(_parse_number(state.get("noise"), 0.0) or 0.0)


def _parse_number(value: object, minimum: float) -> float | None:
    if isinstance(value, (int, float)) and minimum <= value < float("inf"):
        return float(value)
    return None
