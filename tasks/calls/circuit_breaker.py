"""The circuit breaker of one endpoint: whether a provider is out, judged by what became of the requests to it.

It has no clock and waits for nothing; :mod:`mediamill.tasks.calls.provider_gate` does both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

OPENING_RULES = ((128, 0.1), (64, 3.0), (16, 10.0), (12, 20.0))
"""Failures in a row, and the seconds over which they came, that open the breaker. A provider that fails nine requests
in ten at random has 128 in a row once in 700,000 requests; one that fails three in ten never has 16."""
REOPENING_FAILURES = 16
"""Failures in a row that open it again while the load is still growing after an outage."""

UNREACHABLE_KINDS = frozenset({"dns", "refused", "tls", "connect_timeout"})
"""Kinds of failure before anything was sent: they say nothing of the request itself."""
PROVIDER_KINDS = UNREACHABLE_KINDS | {"overloaded"}
"""Kinds that no request can cause."""
_MIN_REQUESTS = 5
"""Failures of other kinds must come from this many different requests: one that crashes the server each time is no
outage."""
_MIN_CONFIRMED_FAILURES = 12
_MIN_LAST_FAILURES, _MIN_LAST_REQUESTS = 6, 2
"""The same for the last requests of a run, which are too few for the numbers above."""
_MIN_FAILED_SHARE = 0.95
_SLOW_FACTOR, _SLOW_SECONDS = 2.0, 0.005
_HANGING_FACTOR = 3.0
_SLOWEST_DECAY = 0.98


@dataclass(eq=False, slots=True)
class FailureStreak:
    """Failures in a row, with no success between them.

    Attributes:
        began_at: when the first came.
        first_sent_at: when the first had been sent.
        failures: how many.
        requests: the different requests that failed, up to as many as it takes.
        is_outage: True once the breaker opened because of them.
        kind, message, status: of the last one; the message is the provider's own, and may repeat what was sent.
    """

    began_at: float
    first_sent_at: float
    failures: int = 0
    requests: set[str] = field(default_factory=set)
    is_outage: bool = False
    kind: str = ""
    message: str = ""
    status: int | None = None
    seconds: float = 0.0
    only_provider_kinds: bool = True

    def add(self, request: str, kind: str, message: str, status: int | None, seconds: float) -> None:
        """Take in one more failure, of a request that took ``seconds``."""
        self.failures += 1
        self.seconds += seconds
        self.kind, self.message, self.status = kind, message, status
        self.only_provider_kinds = self.only_provider_kinds and kind in PROVIDER_KINDS
        if len(self.requests) < _MIN_REQUESTS:
            self.requests.add(request)

    @property
    def is_the_providers(self) -> bool:
        """Whether the failures cannot be the fault of single requests."""
        return self.only_provider_kinds or len(self.requests) >= _MIN_REQUESTS


class CircuitBreaker:
    """Closed while the provider answers; open from when nearly everything fails until something succeeds.

    Requests that are still out and may yet succeed speak against an outage: where failures are quick and answers slow,
    many failures can come before the first answer.
    """

    def __init__(self) -> None:
        self.streak: FailureStreak | None = None
        self.is_recovering = False
        self._numbers = count()
        self._sent_at: dict[int, float] = {}
        self._slowest_success = 0.0
        self._answered_sent_at = float("-inf")  # when the latest of the requests that succeeded had been sent

    @property
    def is_open(self) -> bool:
        """Whether the provider is out."""
        return self.streak is not None and self.streak.is_outage

    @property
    def _has_answered(self) -> bool:
        return self._answered_sent_at > float("-inf")

    def start(self, now: float) -> int:
        """A request goes out; its number."""
        number = next(self._numbers)
        self._sent_at[number] = now
        return number

    def forget(self, number: int) -> None:
        """A request ended in a way that says nothing of the provider."""
        self._sent_at.pop(number, None)

    def succeed(self, number: int, now: float) -> None:
        """The provider answered a request as one that works does: the breaker closes.

        Answers to requests from before the failures say nothing of now.
        """
        sent_at = self._sent_at.pop(number, now)
        seconds = now - sent_at
        self._answered_sent_at = max(self._answered_sent_at, sent_at)
        self._slowest_success = max(seconds, self._slowest_success * _SLOWEST_DECAY)
        if self.streak is not None and sent_at >= self.streak.first_sent_at:
            self.streak = None

    def fail(
        self, number: int, now: float, *, request: str, kind: str, message: str = "", status: int | None = None
    ) -> FailureStreak | None:
        """A request failed in a way that another may not; the streak it belongs to, which may be an outage now.

        None where one that was sent later has succeeded: it says nothing of now.
        """
        sent_at = self._sent_at.pop(number, now)
        if sent_at < self._answered_sent_at and not self.is_open:
            return None
        if self.streak is None:
            self.streak = FailureStreak(now, sent_at)
        self.streak.add(request, kind, message, status, now - sent_at)
        if not self.streak.is_outage:
            self.streak.is_outage = self._is_outage(self.streak, now)
        return self.streak

    def confirm(self, first: FailureStreak, now: float) -> bool:
        """Whether an outage may have used up a request's retries; ``first`` is the streak in which it failed first.

        It may when nothing sent since has succeeded and the failures are the provider's. Then the breaker opens, unless
        too much may still succeed: another attempt shows.
        """
        if first is not self.streak:
            return False
        unreachable = first.only_provider_kinds and first.kind in UNREACHABLE_KINDS
        is_plain = first.is_the_providers and first.failures >= _MIN_CONFIRMED_FAILURES
        if unreachable or is_plain or self._is_outage_of_few(first):
            first.is_outage = first.is_outage or self._few_may_succeed(first, now)
            return True
        return first.is_outage

    def _is_outage_of_few(self, streak: FailureStreak) -> bool:
        """Whether a provider that answered before fails all that a run has left.

        Several requests at once are not to blame, nor is one whose failures speak of the provider. Where nothing was
        answered, they may be: a run of what failed in another has nothing else.
        """
        if streak.failures < _MIN_LAST_FAILURES:
            return False
        signs = (len(streak.requests) >= _MIN_LAST_REQUESTS) + streak.only_provider_kinds + self._has_answered
        return signs >= 2  # noqa: PLR2004

    def _is_outage(self, streak: FailureStreak, now: float) -> bool:
        if not streak.is_the_providers:
            return False
        lasted = now - streak.began_at
        is_long = any(streak.failures >= failures and lasted >= seconds for failures, seconds in OPENING_RULES)
        if not is_long and not (self.is_recovering and streak.failures >= REOPENING_FAILURES):
            return False
        return self._few_may_succeed(streak, now)

    def _few_may_succeed(self, streak: FailureStreak, now: float) -> bool:
        """Whether even the success of all that may still succeed would leave nearly all as failures.

        A request out for less time than the failures took may still fail like them. One out for far longer than any
        answer took hangs.
        """
        youngest = now - (_SLOW_FACTOR * streak.seconds / streak.failures + _SLOW_SECONDS)
        oldest = now - _HANGING_FACTOR * self._slowest_success if self._slowest_success else float("-inf")
        allowed = streak.failures * (1 - _MIN_FAILED_SHARE) / _MIN_FAILED_SHARE
        hopeful = 0
        for sent_at in self._sent_at.values():
            if sent_at > youngest:
                break  # they are in the order of sending
            hopeful += sent_at >= oldest
            if hopeful > allowed:
                return False
        return True
