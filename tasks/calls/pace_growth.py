"""How a pace grows: by time and by requests, after a hold, and from a base that a refusal leads back to."""

from __future__ import annotations

import math
from dataclasses import dataclass

_HOLD_REQUESTS = 90.0
"""Requests before the pace grows again, for each refusal at the limit: so growth costs less than 1 % of refusals."""
_HOLD_EXPERIENCE = 3.0
"""The hold is no longer than this many times the requests so far: at first, a limit is hardly known."""
_SEARCH_HOLD_REQUESTS = 10.0
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
_FINE_GROWTH, _MAX_FINE_STEP = 0.3, 0.03
"""What one request adds at most, until the pace has grown by so much: small limits are passed in small steps."""
_STATED_GROWTH = 0.05
"""Growth a second back to a stated limit."""
_MAX_STEP_SECONDS = 3.0
"""Growth that one request may bring, in seconds: longer gaps come from pauses, or from little work."""


@dataclass(slots=True)
class PaceGrowth:
    """Growth from one pace that was set to the next.

    Attributes:
        base_pace: the pace that it began from, in requests a second.
        last_step: what the pace grew by last.
        hold_requests: requests still to be sent before the pace grows.
        hold_until: or this moment, if it comes first.
        is_fast: whether no limit is known.
    """

    base_pace: float = 1.0
    last_step: float = 0.0
    hold_requests: float = 0.0
    hold_until: float = 0.0
    is_fast: bool = False

    def hold(self, now: float, *, signals: float, pause: float, experience: int, is_search: bool) -> None:
        """Hold the pace after a signal, for as long as it is known what it is worth.

        Args:
            now: the moment.
            signals: refusals at the limit, each by how many it stands for.
            pause: the short pause that the server wanted, in seconds.
            experience: the requests that were accepted so far.
            is_search: whether the limit is still searched for.
        """
        self.hold_requests = min(
            max(_HOLD_REQUESTS * signals, _HOLD_PAUSES * pause * self.base_pace),
            _HOLD_EXPERIENCE * experience,
            _SEARCH_HOLD_REQUESTS if is_search else math.inf,
        )
        self.hold_until = now + (_SLOW_HOLD_SECONDS if self.base_pace < _SLOW_PACE else _MAX_HOLD_SECONDS)

    def hold_for(self, requests: float, now: float) -> None:
        """Hold the pace for so many requests."""
        self.hold_requests, self.hold_until = requests, now + _MAX_HOLD_SECONDS

    def count_request(self, now: float) -> bool:
        """Count a request; whether the pace is held."""
        self.hold_requests -= 1
        return self.hold_requests > 0 and now < self.hold_until

    def raise_pace(self, pace: float, seconds: float, *, is_noisy: bool, is_fine: bool) -> float:
        """The pace after a request that came so many seconds after the one before.

        Args:
            pace: now.
            seconds: see :func:`limit_seconds`.
            is_noisy: whether some requests are refused at random.
            is_fine: whether small limits are to be passed in small steps.
        """
        if self.is_fast:
            return pace * (1 + _FAST_GROWTH * min(1.0, seconds))
        first = _NOISY_FIRST_GROWTH if is_noisy else _FIRST_GROWTH
        grown = pace / self.base_pace - 1
        step = (first + _GROWTH * max(0.0, grown)) * seconds
        if grown < _FINE_GROWTH and is_fine:
            step = min(step, _MAX_FINE_STEP)
        self.last_step = self.base_pace * step
        return pace + self.last_step

    def scale(self, factor: float) -> None:
        """Go on as if all had been at ``factor`` times the pace."""
        self.base_pace *= factor
        self.last_step *= factor


def limit_seconds(seconds: float, pace: float) -> float:
    """The seconds of growth that a request brings: longer gaps come from pauses, or from little work."""
    return min(seconds, max(_MAX_STEP_SECONDS, 1.5 / pace))


def raise_to_stated(pace: float, seconds: float) -> float:
    """The pace on its way back to a limit that the server stated."""
    return pace * (1 + _STATED_GROWTH * min(1.0, seconds))
