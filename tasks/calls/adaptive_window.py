"""How many requests may be in flight: a gentle start, and less where the server has no capacity for more."""

from __future__ import annotations

import math

from mediamill.tasks.calls.refusal_trial import RefusalTrial

FIRST_SIZE = 2
"""Requests in flight at first, unless a provider's configuration has another number."""
_DOUBLING_SECONDS = 0.25
"""So 256 requests are in flight after 1.75 s, and a limit of unknown size refuses few."""
_RESTORED_DOUBLING_SECONDS = 2.0
_GROWTH_SHARE = 0.05
"""Growth in one round trip."""
_HOLD_REQUESTS = 90
"""Requests after a cut from which it grows again: those before show what the cut has changed."""
_HOLD_ROUND_TRIPS = 15
"""Round trips from which it grows in any case: with few in flight, so many requests would take minutes."""
_USELESS_CUTS = 3
_CUT_SHARE = 0.5
_MAX_CUT = 0.5


class AdaptiveWindow:
    """Starts small and doubles by time until it is full, or the server has no capacity for more.

    Then it grows by replies and shrinks by half the share that was refused, as in DCTCP: a full server halves it every
    round trip. Refusals that no cut changes are noise, and the cuts are undone.
    """

    def __init__(self, start: int, max_size: int) -> None:
        self.size = float(min(start, max_size))
        self._max_size = float(max_size)
        self._trial = RefusalTrial(_USELESS_CUTS)
        self._ramp: tuple[float, float, float] | None = None  # since when, from which size, doubling in which time
        self._is_started = False

    def get_size(self, now: float) -> int:
        """The requests that may be in flight now."""
        if not self._is_started:
            self._is_started = True
            self._ramp = now, self.size, _DOUBLING_SECONDS
        if self._ramp is not None:
            began_at, start, doubling = self._ramp
            self.size = min(self._max_size, start * 2 ** ((now - began_at) / doubling))
            if self.size >= self._max_size:
                self._ramp = None
        return int(self.size)

    def grows_at(self) -> float | None:
        """When there is room for one more request, if time alone brings it; None otherwise."""
        if self._ramp is None:
            return None
        began_at, start, doubling = self._ramp
        return began_at + doubling * math.log2((int(self.size) + 1) / start) + 1e-6

    def record_accepted(self, number: int) -> None:
        """Count a request that the server accepted."""
        if self._ramp is None and self.size < self._max_size and not self._is_held(number):
            self.size = min(self._max_size, self.size + max(1.0, _GROWTH_SHARE * self.size) / self.size)

    def record_overload(self, number: int, next_number: int, now: float) -> bool:
        """Take in that the server had no capacity for request ``number``; True when it is a signal of its capacity."""
        trial = self._trial
        if not trial.record_refusal(number):
            return False
        restored = trial.judge_cuts(number, next_number, self.size)
        if restored is not None:
            self.size = restored
            self._ramp = now, restored, _RESTORED_DOUBLING_SECONDS
            return False
        self._ramp = None
        self.size = max(1.0, self.size * (1 - min(_MAX_CUT, _CUT_SHARE * trial.share)))
        trial.record_cut(self.size)
        return not trial.noise

    def restore_size(self, size: float) -> None:
        """Go back to a size from before an outage."""
        self.size = size
        self._trial.end_trial()

    def _is_held(self, number: int) -> bool:
        hold = min(_HOLD_REQUESTS * self._trial.signal_refusals, _HOLD_ROUND_TRIPS * self.size)
        return number < self._trial.signal_number + hold
