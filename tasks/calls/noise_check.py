"""Whether refusals that were taken for noise still are: the load falls for a moment, and noise does not.

Another run on the same key brings refusals about that our own cuts do not end. Two runs that take each other's requests
for noise would both go on too fast, and a quarter of what they send would be refused.
"""

from __future__ import annotations

import math

_MIN_NOISE = 0.04
"""Less noise costs less than the check."""
_CHECK_SECONDS, _NEW_CHECK_SECONDS, _KNOWN_NOISE = 60.0, 8.0, 1.5
"""Seconds between checks, and after noise was found, or rose to more than this factor of what was checked."""
_CHECK_SHARE = 0.6
"""Share of the pace while it is checked."""
_REFUTED_SHARE = 0.75
"""Share of the pace that is used after the noise was refuted."""
_LOW_CHECK, _HIGH_CHECK, _HIGH_NOISE = (6, 1), (20, 10), 0.1
"""Refusals that a check expects, and those up to which there is no noise: where it is low, and from this noise on. With
six expected, two noises in a hundred are refuted by mistake and found again."""


class NoiseChecks:
    """Checks the noise now and then. Paces are requests a second, moments the event loop's seconds."""

    def __init__(self) -> None:
        self._checked_at = 0.0
        self._checked_noise = 0.0
        self._pace: float | None = None  # before the check that is under way
        self._requests = (0, 0)  # the number of its first request, and that after its last
        self._refused, self._max_refuting = 0, 0

    def record_found(self, now: float) -> None:
        """Noise was found: it is checked soon."""
        self._checked_at = now

    def record_refusal(self, number: int) -> bool:
        """Count the refusal of request ``number``; False while no check is under way."""
        begin, end = self._requests
        self._refused += begin <= number < end
        return self._pace is not None

    def is_due(self, noise: float, now: float) -> bool:
        """Whether a share of ``noise`` is to be checked."""
        seconds = _CHECK_SECONDS if noise <= _KNOWN_NOISE * self._checked_noise else _NEW_CHECK_SECONDS
        return self._pace is None and noise >= _MIN_NOISE and now >= self._checked_at + seconds

    def start(self, number: int, noise: float, pace: float) -> float:
        """Begin with request ``number`` to check a share of ``noise``; the pace to use meanwhile."""
        expected, self._max_refuting = _LOW_CHECK if noise < _HIGH_NOISE else _HIGH_CHECK
        self._pace, self._refused, self._requests = pace, 0, (number, number + math.ceil(expected / noise))
        return _CHECK_SHARE * pace

    def get_pace(self, pace: float) -> float:
        """The pace that holds beside checks: ``pace``, or that from before the one that is under way."""
        return pace if self._pace is None else self._pace

    def scale(self, factor: float) -> None:
        """Go on at ``factor`` times the pace after the check that is under way."""
        if self._pace is not None:
            self._pace *= factor

    def end(self, number: int, noise: float, now: float) -> tuple[bool, float] | None:
        """End the check that is under way, if request ``number`` is beyond it or noise was seen.

        Returns:
            Whether the ``noise`` is none, and the pace to go on with; None if nothing ends.
        """
        is_refuted = self._refused <= self._max_refuting
        if self._pace is None or (number < self._requests[1] and is_refuted):
            return None
        pace, self._pace = self._pace, None
        self._checked_at, self._checked_noise = now, 0.0 if is_refuted else noise
        return is_refuted, _REFUTED_SHARE * pace if is_refuted else pace
