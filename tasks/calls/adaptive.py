"""How fast and how many at once, learned from what the server refuses.

Both sides work like TCP on a link of unknown width: a little more while all is well, a share less when refused.
The rate remembers where it was last refused (as CUBIC does), returns there quickly, stays just below for
a while, and then looks further in growing steps.
"""

from __future__ import annotations

from typing import Any

_BELOW = 0.96
"""Where the rate settles after a lone refusal, as a share of the rate that was refused."""
_MARGIN = 0.985
"""Share of a stated limit that is used: clocks differ and requests bunch on their way."""
_CYCLE_REQUESTS = 200.0
_CYCLE_SECONDS = 12.0
_CYCLE_PAUSES = 40.0
_EAGERNESS = 3.0
_RETURN_SECONDS = 2.0
_FASTEST_STEP = 1.15
_SLOWEST = 1 / 60
_LONGEST_BACKOFF = 15.0
_FIRST_BACKOFF = 0.25
_SPACED = 4
"""Requests between two refusals that make them separate events rather than one series."""
_LONG_BLOCK = 3.0


class AdaptiveRate:
    """Requests per second that the server was found to take; ``pace`` None until it has refused or stated one."""

    def __init__(self) -> None:
        self.pace: float | None = None
        self.refused_at: float | None = None  # the pace that was last refused, in requests a second
        self.stated: float | None = None
        self._epoch = 0  # requests numbered below this were sent before the last change of pace
        self._pause = 0.0  # the last pause, in seconds: dear pauses make rare probes
        self._series = 0
        self._block_began: float | None = None
        self._cycle_began: float | None = None
        self._granted = 0
        self._refused = 0
        self._second = (0.0, 0, 0)  # start of this second, requests in it, in the one before

    def state_limit(self, per_second: float) -> None:
        """The server said its limit."""
        if per_second != self.stated:
            self.stated = per_second
            self.pace = self.refused_at = per_second * _MARGIN

    def granted(self, now: float, *, paced: bool) -> None:
        """Count a request that goes out; grow when the pace was what held it back."""
        self._granted += 1
        if self._cycle_began is None:
            self._cycle_began = now
        start, current, before = self._second
        if now - start >= 1.0:
            self._second = (now, 1, current if now - start < 2.0 else 0)  # noqa: PLR2004 - the second before
        else:
            self._second = (start, current + 1, before)
        if paced and self.pace is not None:
            self._grow(self.pace)

    def _grow(self, pace: float) -> None:
        known = self.refused_at or pace
        share = pace / known
        if share < _BELOW:
            pace = min(pace * min(_FASTEST_STEP, 2 ** (1 / (_RETURN_SECONDS * pace))), max(pace, known * _BELOW))
        else:
            cycle = max(_CYCLE_REQUESTS, _CYCLE_SECONDS * pace, _CYCLE_PAUSES * self._pause * pace)
            step = (1 - _BELOW + _EAGERNESS * max(0.0, share - 1)) / cycle
            pace += known * min(step, _FASTEST_STEP - 1)
        self.pace = pace if self.stated is None else min(pace, self.stated * _MARGIN)

    def accepted(self, number: int, now: float) -> None:
        """The server took request ``number``; after a long block this tells what it takes on the whole."""
        if number < self._epoch or not self._series:
            return
        if self._block_began is not None and now - self._block_began >= _LONG_BLOCK and self._cycle_began is not None:
            taken = (self._granted - self._refused) / max(now - self._cycle_began, 1.0)
            self.pace = max(self.pace or 0.0, taken * _BELOW)
            self.refused_at = max(taken, self.pace)
            self._cycle_began, self._granted, self._refused = now, 0, 0
            self._series = 0
            self._block_began = None

    def refused(self, number: int, next_number: int, now: float, hint: float | None, *, paced: bool) -> float:
        """The server refused request ``number`` for its rate; seconds during which nothing is sent."""
        self._refused += 1
        if number < self._epoch:
            return hint or 0.0
        between = number - self._epoch
        sending = self._sending(now)
        pace = sending if self.pace is None else self.pace if paced else min(self.pace, sending)
        self.refused_at = pace
        if between >= _SPACED or not self._series:
            self._series, self._block_began = 0, now
        self._series += 1
        share = between / (between + 1) if self._series > 1 or self.pace is None else _BELOW
        self.pace = max(_SLOWEST, pace * min(_BELOW, max(0.5, share)))
        self._epoch = next_number
        blocked = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2.0**self._series) if self._series > 1 else 0.0
        pause = blocked if hint is None else hint
        self._pause = pause
        return pause

    def _sending(self, now: float) -> float:
        start, current, before = self._second
        share = min(1.0, max(0.0, now - start))
        return max(1.0, current + before * (1 - share))

    def state(self) -> dict[str, Any]:
        """What is worth remembering between runs."""
        return {"pace": self.pace, "refused_at": self.refused_at, "stated": self.stated}

    def restore(self, state: dict[str, Any]) -> None:
        """Begin where an earlier run left off; growth finds out what has changed since."""
        self.pace = _number(state.get("pace"), _SLOWEST)
        self.refused_at = _number(state.get("refused_at"), _SLOWEST)
        self.stated = _number(state.get("stated"), _SLOWEST)


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
