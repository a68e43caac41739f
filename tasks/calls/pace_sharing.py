"""How runs on one machine share a limit: each shows the others its pace, and they move towards the mean of all.

Limiters that know nothing of each other cannot tell a neighbour from a limit, and the slower run may stay slow.
What all have together was accepted, so it stays as it is: who is above the mean gives what the others get. A run with
less work keeps what it uses. What a run leaves when it ends, or needs no more, goes to the others at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from mediamill.tasks.calls.rate_limiter import Limiter

SHARE_SECONDS = 2.0
"""Seconds between two exchanges."""
_STEP = 0.15
"""The part of its way to the mean that a pace goes in one exchange: nine tenths in half a minute."""
_FIRST_SHARE = 0.3
"""The part of its share with which a run begins: the others leave it theirs only from the next exchange on."""
_MIN_KEPT = 0.5
"""The part of its pace that a run keeps in one exchange, whatever the others take."""
_MEMORY = 0.5
"""Weight of what was before in the averages of exchanges."""
_SPARE_FACTOR = 1.5
"""How much more a run with little work keeps than it uses: its requests do not come evenly."""
_SPARE_SHARE = 0.1
"""The part of the mean that a run without work keeps, to begin with."""


@dataclass(frozen=True, slots=True)
class RunPace:
    """What a run shows to others on its limit.

    Attributes:
        pace: requests a second that it claims; None while it knows of no limit.
        rate: requests a second that it sends.
        is_held_back: whether it would take more.
        noise: the share of its requests that is refused whatever the pace.
    """

    pace: float | None
    rate: float
    is_held_back: bool
    noise: float = 0.0

    @property
    def claim(self) -> float:
        """Requests a second that are not there for others."""
        if self.pace is None:
            return 0.0
        return self.pace if self.is_held_back else min(self.pace, _SPARE_FACTOR * self.rate)

    def to_json(self) -> dict[str, Any]:
        """As JSON, for :meth:`from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: object) -> RunPace | None:
        """What a run wrote; None when it is no such thing."""
        if not isinstance(value, dict):
            return None
        try:
            pace = None if value["pace"] is None else float(value["pace"])
            rate, noise = float(value["rate"]), float(value["noise"])
        except (KeyError, TypeError, ValueError):
            return None
        is_valid = 0 <= noise <= 1 and 0 <= rate < math.inf and (pace is None or 0 < pace < math.inf)
        return cls(pace, rate, value.get("is_held_back") is True, noise) if is_valid else None


class PaceSharing:
    """Moves the pace of a limiter with those of others. Used on the limiter's event loop, every ``SHARE_SECONDS``."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._peers: dict[str, RunPace] = {}
        self._owed: dict[str, float] = {}  # requests a second that we have of others
        self._waiting = 1.0  # how often it was held back of late
        self._rate = 0.0  # requests a second of late
        self._sent = limiter.sent

    def join(self, peers: Mapping[str, RunPace]) -> RunPace:
        """Begin with a part of what others have, and with the noise that they found; what to show to them."""
        self._peers = dict(peers)
        held = _list_held(peers)
        others, share = sum(pace for pace, _ in held), 1.0
        if held:
            pace = _FIRST_SHARE * others / (len(held) + 1)
            noise = min(noise for _, noise in held)
            self._limiter.restore_state({"rate": {"pace": pace, "noise": noise, "age": 0.0}})
            share = pace / (pace + sum(peer.claim for peer in peers.values()))
        self._limiter.share_pace(None, share, others)
        return RunPace(self._limiter.pace, 0.0, is_held_back=True, noise=self._limiter.noise)

    def exchange(self, peers: Mapping[str, RunPace], seconds: float) -> RunPace:
        """Take in what others show, and move the pace.

        Args:
            peers: what the runs that are alive show now, by names that stay the same.
            seconds: since the exchange before.

        Returns:
            What to show to them.
        """
        own = self._describe(seconds)
        held = _list_held(peers)
        count = len(held) + 1
        taken_over = self._take_over(peers, count)
        self._peers = dict(peers)
        others = sum(pace for pace, _ in held)
        pace = own.pace
        if pace is None:
            self._limiter.share_pace(None, 1.0, others)
            return own
        mean = (pace + sum(other for other, _ in held)) / count
        if own.is_held_back:
            pace = max(_MIN_KEPT * pace, pace + _STEP * (mean - pace) + taken_over)
        elif held:
            pace = min(pace, max(_SPARE_FACTOR * own.rate, _SPARE_SHARE * mean))
        claims = sum(peer.claim for peer in peers.values())
        self._limiter.share_pace(pace, pace / (pace + claims), others)
        return replace(own, pace=pace)

    def _describe(self, seconds: float) -> RunPace:
        limiter = self._limiter
        sent, self._sent = limiter.sent - self._sent, limiter.sent
        self._rate += (1 - _MEMORY) * (sent / seconds - self._rate)
        self._waiting += (1 - _MEMORY) * (limiter.is_held_back - self._waiting)
        is_held_back, pace = self._waiting > _MEMORY, limiter.pace
        return RunPace(pace, self._rate, is_held_back, limiter.noise)

    def _take_over(self, peers: Mapping[str, RunPace], count: int) -> float:
        """Our part, as one of ``count``, of what others leave since the exchange before, less what we give back.

        Others get back no more than we have of theirs: where no limit holds, their growth costs us nothing. Only a run
        that begins gets what it begins with.
        """
        taken = 0.0
        for name in self._peers.keys() | peers.keys():
            before, now = self._peers.get(name), peers.get(name)
            if before is not None and now is not None:
                both_held = before.is_held_back and now.is_held_back
                if both_held or before.pace is None or now.pace is None:
                    continue  # its pace, as ours, changes with what it learns
            part = ((before.claim if before else 0.0) - (now.claim if now else 0.0)) / count
            owed = self._owed.get(name, math.inf if before is None else 0.0)
            part = max(part, -owed)
            self._owed[name] = max(0.0, (0.0 if math.isinf(owed) else owed) + part)
            taken += part
        return taken


def _list_held(peers: Mapping[str, RunPace]) -> list[tuple[float, float]]:
    """The paces of those that are held back, and their noise."""
    return [(peer.pace, peer.noise) for peer in peers.values() if peer.is_held_back and peer.pace is not None]
