"""The judge of pace: what the server's own rules made possible, and what it answered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.helpers.chaos.plan import SLOW_FACTOR, Limit, Plan
from tests.helpers.chaos.process import Request

MINUTE_SECONDS = 60.0
AFTER_OUTAGE_SECONDS = 10.0
"""How long a run may take after an outage to be at full rate again."""
AFTER_CHANGE_SECONDS = 30.0
"""How long it may take to find a limit that was raised or lowered."""
AFTER_KILL_SECONDS = 6.0
"""How long a process that takes the place of a killed one may need to start."""
MEAN_TOKENS = 21.0
_STEP_SECONDS = 0.5


@dataclass(frozen=True)
class Course:
    """A plan and what the test did meanwhile.

    Attributes:
        in_flight: the client's maximum of requests in flight.
        kills: when the client was killed, in seconds since the server's first request.
        model: whose limits count; None for those of all models together.
    """

    plan: Plan
    in_flight: int
    kills: Sequence[float] = ()
    model: str | None = None

    def compute_possible(self, begin: float, end: float) -> float:
        """Answers that a client which recovers in time gets from ``begin`` to ``end``."""
        total, now = 0.0, begin
        while now < end:
            step = min(_STEP_SECONDS, end - now)
            total += step * self.compute_rate(now)
            now += step
        return total

    def compute_rate(self, now: float) -> float:
        """Answers a second that are possible at ``now``; none while the client may still recover."""
        if any(p.is_outage and p.begin <= now < p.end + AFTER_OUTAGE_SECONDS for p in self.plan.phases):
            return 0.0
        if any(kill <= now < kill + AFTER_KILL_SECONDS for kill in self.kills):
            return 0.0
        moments = (now, max(0.0, now - AFTER_CHANGE_SECONDS / 2), max(0.0, now - AFTER_CHANGE_SECONDS))
        return min(self._compute_settled_rate(now, self.plan.find_limits(then, self.model)) for then in moments)

    def list_causes(self, begin: float, end: float) -> list[str]:
        """What the plan and the test did between ``begin`` and ``end`` that lowers the pace."""
        causes = [
            f"{p.kind} {p.share:.0%}"
            for p in self.plan.phases
            if p.begin < end and begin < p.end + AFTER_OUTAGE_SECONDS
        ]
        causes += [
            f"limit {limit.per_minute:g}" for limit in self.plan.limits if begin <= limit.begin < end and limit.begin
        ]
        return causes + ["kill"] * sum(begin <= kill < end for kill in self.kills)

    def _compute_settled_rate(self, now: float, limits: Sequence[Limit]) -> float:
        shares = self._find_shares(now)
        answered = max(0.0, 1 - sum(share for kind, share in shares.items() if kind != "slow"))
        seconds = self.plan.latency * (1 + (SLOW_FACTOR - 1) * shares.get("slow", 0.0))
        rates = [self.in_flight / seconds]
        rates += [
            limit.per_minute / MINUTE_SECONDS / (MEAN_TOKENS if limit.unit == "tokens" else 1.0) for limit in limits
        ]
        return min(rates) * answered

    def _find_shares(self, now: float) -> dict[str, float]:
        """Each fault's share at ``now``: what no phase takes is shared out as at other times."""
        left, shares = 1.0, dict[str, float]()
        for phase in self.plan.phases:
            if phase.begin <= now < phase.end:
                shares[phase.kind] = shares.get(phase.kind, 0.0) + left * phase.share
                left *= 1 - phase.share
        for kind, share in self.plan.shares.items():
            shares[kind] = shares.get(kind, 0.0) + left * share
        return shares


@dataclass(frozen=True)
class Minute:
    """One minute as the server saw it; ``causes`` are the plan's and the test's, ``said`` is from the run's log."""

    number: int
    answered: int
    possible: float
    requests: int
    refused: int
    causes: list[str]
    said: list[str] = field(default_factory=list)

    @property
    def is_below_half(self) -> bool:
        """Whether less than half of what was possible was answered."""
        return self.answered < self.possible / 2


def divide_into_minutes(course: Course, requests: Sequence[Request], until: float) -> list[Minute]:
    """The whole minutes before ``until``."""
    minutes = []
    for number in range(int(until // MINUTE_SECONDS)):
        begin, end = number * MINUTE_SECONDS, (number + 1) * MINUTE_SECONDS
        arrived = [request for request in requests if begin <= request.arrived_at < end]
        minutes.append(
            Minute(
                number + 1,
                count_answers(requests, begin, end),
                course.compute_possible(begin, end),
                len(arrived),
                sum(request.is_refused for request in arrived),
                course.list_causes(begin, end),
            )
        )
    return minutes


def count_answers(requests: Iterable[Request], begin: float, end: float) -> int:
    """Prompts whose first answer was sent between ``begin`` and ``end``."""
    first: dict[str, float] = {}
    for request in requests:
        if request.is_answered and request.ended_at is not None:
            first[request.prompt] = min(request.ended_at, first.get(request.prompt, request.ended_at))
    return sum(begin <= moment < end for moment in first.values())


def measure_refused_share(requests: Iterable[Request], begin: float, end: float) -> float:
    """The share of the requests that arrived between ``begin`` and ``end`` which a limit refused."""
    arrived = [request for request in requests if begin <= request.arrived_at < end]
    return sum(request.kind == "limit" for request in arrived) / max(1, len(arrived))


def measure_bulk_rate(requests: Sequence[Request], share: float = 0.95) -> float:
    """Answers a second until ``share`` of all were sent: without the last ones, which wait alone for their retries."""
    ends = sorted(request.ended_at for request in requests if request.is_answered and request.ended_at is not None)
    count = max(1, int(len(ends) * share))
    return count / ends[count - 1]


def measure_amplification(requests: Sequence[Request]) -> float:
    """Requests for each prompt."""
    return len(requests) / len({request.prompt for request in requests})
