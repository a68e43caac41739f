"""The circuit breaker of one endpoint: whether a provider is out, judged by what became of the requests to it.

It has no clock and waits for nothing; :mod:`mediamill.tasks.calls.provider_gate` does both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import count

from mediamill.tasks.calls.failure_streak import (
    NO_REPLY_KINDS,
    UNREACHABLE_KINDS,
    FailureStreak,
    RecentShare,
    count_for_chance,
)

OPENING_RULES = ((128, 0.1), (64, 3.0), (16, 10.0), (12, 20.0))
"""Failures in a row, and the seconds over which they came, that open the breaker. A provider that fails nine requests
in ten at random has 128 in a row once in 700,000 requests; one that fails three in ten never has 16."""
_HANGING_RULE = (5, 20.0)
"""The same where all of them hung, and all that is out hangs as well: they come slowly."""
REOPENING_FAILURES = 16
"""Failures in a row that open it again while the load is still growing after an outage."""

REFUSED_SECONDS = 61.0
"""Refusals in a row over so long are no answer to our pace: no quota for a minute is used up for longer."""
LONG_WAIT_SECONDS = 60.0
"""A provider that wants to be left alone for longer than this refuses everything until then."""
_MIN_LONG_REFUSALS = 4

_MIN_REQUESTS = 5
"""Failures of kinds that a request can cause must come from this many different requests: one that crashes the server
each time is no outage. Where some were found to be to blame themselves, it takes more than come by chance."""
_CHANCE = 1e-4
_SUSPECT_STREAKS, _SUSPECT_STREAKS_WITHOUT_REPLY = 1, 3
"""A request that has failed in so many streaks which a success ended, and fails again, may be to blame itself: others
are answered, and it is not. It does not speak for an outage. Where no reply begins, chance and outages are likelier."""
_MIN_CONFIRMED_FAILURES = 12
_MIN_LAST_FAILURES, _MIN_LAST_REQUESTS = 6, 2
"""The same for the last requests of a run, which are too few for the numbers above."""
_MIN_LOST = 8
"""Requests in a row whose replies were lost, from which on few are sent: each of them may have been billed."""
_MIN_FAILED_SHARE = 0.95
_SLOW_FACTOR, _SLOW_SECONDS = 2.0, 0.005
_HANGING_FACTOR = 3.0
_SLOWEST_DECAY = 0.98


class CircuitBreaker:
    """Closed while the provider answers; open from when nearly everything fails until something succeeds.

    Requests that are still out and may yet succeed speak against an outage: where failures are quick and answers slow,
    many failures can come before the first answer.

    Args:
        list_overdue: the requests that are out for longer than any of their kind that was answered.
    """

    def __init__(self, list_overdue: Callable[[], Collection[str]] = tuple) -> None:
        self.streak: FailureStreak | None = None
        self.refusals: FailureStreak | None = None  # in a row, with no success between them
        self.is_recovering = False
        self._list_overdue = list_overdue
        self._numbers = count()
        self._out: dict[int, tuple[float, str]] = {}  # when it was sent, and its request
        self.slowest_success = 0.0
        self._failed_in: dict[str, tuple[FailureStreak | None, int]] = {}  # its last streak, how many ended before
        self._suspects: set[str] = set()
        self._answered = 0
        self._failed_share, self._refused_share = RecentShare(), RecentShare()
        self._answered_sent_at = float("-inf")  # when the latest of the requests that succeeded had been sent

    @property
    def is_open(self) -> bool:
        """Whether the provider is out."""
        return self.streak is not None and self.streak.is_outage

    @property
    def out(self) -> int:
        """Requests that were sent and have not ended."""
        return len(self._out)

    def is_out(self, number: int) -> bool:
        """Whether that request was sent and has not ended."""
        return number in self._out

    @property
    def _has_answered(self) -> bool:
        return self._answered_sent_at > float("-inf")

    @property
    def _min_requests(self) -> int:
        """How many different requests must fail, where some fail by themselves."""
        own_share = len(self._suspects) / max(1, self._answered + len(self._suspects))
        return count_for_chance(own_share, _CHANCE)

    def start(self, now: float, request: str = "") -> int:
        """A request goes out; its number."""
        number = next(self._numbers)
        self._out[number] = now, request
        return number

    def forget(self, number: int) -> None:
        """A request ended in a way that says nothing of the provider."""
        self._out.pop(number, None)

    def is_suspect(self, request: str) -> bool:
        """Whether a request may be to blame itself for its failures: it fails while others are answered."""
        return request in self._suspects

    def succeed(self, number: int, now: float, request: str | None = None) -> None:
        """The provider answered a request as one that works does: the breaker closes.

        Answers to requests from before the failures say nothing of now, but the first of all says that those which seem
        to hang are only slow.
        """
        if request is not None:
            self._failed_in.pop(request, None)
            self._suspects.discard(request)
        sent_at = self._pop_sent_at(number, now)
        self._answered += 1
        self._failed_share.add(is_so=False)
        self._refused_share.add(is_so=False)
        self.slowest_success = max(now - sent_at, self.slowest_success * _SLOWEST_DECAY)
        if self.refusals is not None and sent_at >= self.refusals.first_sent_at:
            if self.refusals.is_outage:
                self._refused_share.value = self.refusals.share_before
            self.refusals = None
        self._end_streak(sent_at)

    def refuse(
        self, number: int, now: float, *, request: str, message: str, status: int | None, wait: float | None
    ) -> FailureStreak:
        """The provider refused a request as one too many; the refusals in a row that it belongs to.

        It is there, so failures of other kinds have ended. Refusals that no pace of ours explains are an outage, too.
        """
        sent_at = self._pop_sent_at(number, now)
        if self.refusals is None:
            self.refusals = FailureStreak(now, sent_at, self._refused_share.value)
        refusals = self.refusals
        self._refused_share.add(is_so=True)
        refusals.add(request, "rate_limit", message, status, sent_at, now, wait=wait)
        if not refusals.is_outage:
            self._end_streak(sent_at)
            is_long = sent_at - refusals.first_sent_at >= REFUSED_SECONDS and self._few_may_succeed(refusals, now)
            if is_long or (refusals.failures >= _MIN_LONG_REFUSALS and self.judge_refusals(now)):
                self.open(refusals)
        return refusals

    @property
    def is_sent_away(self) -> bool:
        """Whether the provider refuses requests, and wants to be left alone for long."""
        return self.refusals is not None and (self.refusals.wait or 0.0) > LONG_WAIT_SECONDS

    def judge_refusals(self, now: float) -> bool:
        """Whether it means that for all requests, and so many refusals in a row did not come by chance."""
        refusals = self.refusals
        if refusals is None or not self.is_sent_away:
            return False
        is_chance = refusals.failures < count_for_chance(refusals.share_before, _CHANCE)
        return not is_chance and self._few_may_succeed(refusals, now)

    def fail(
        self,
        number: int,
        now: float,
        *,
        request: str,
        kind: str,
        message: str = "",
        status: int | None = None,
        wait: float | None = None,
        is_lost: bool = False,
    ) -> FailureStreak | None:
        """A request failed in a way that another may not; the streak it belongs to, which may be an outage now.

        None where one that was sent later has succeeded: it says nothing of now.
        """
        sent_at = self._pop_sent_at(number, now)
        share_before = self._failed_share.value
        self._failed_share.add(is_so=True)
        if sent_at < self._answered_sent_at and not self.is_open:
            self._note_failure(request, None, kind)
            return None
        if self.streak is None:
            self.streak = FailureStreak(now, sent_at, share_before)
        is_suspect = self._note_failure(request, self.streak, kind)
        self.streak.add(
            None if is_suspect else request,
            kind,
            message,
            status,
            sent_at,
            now,
            wait=wait,
            is_lost=is_lost and not is_suspect,
        )
        if not self.streak.is_outage:
            self.streak.is_outage = self._is_outage(self.streak, now)
        return self.streak

    def loses_requests(self, now: float) -> bool:
        """Whether the replies of many requests in a row were lost, so that few should be sent until one is answered."""
        streak = self.streak
        if streak is None or streak.is_outage or streak.lost < _MIN_LOST:
            return False
        if streak.lost < count_for_chance(streak.share_before, _CHANCE) or not self._is_the_providers(streak, 0):
            return False
        return self._few_may_succeed(streak, now, sent_from=streak.first_sent_at)

    def _pop_sent_at(self, number: int, now: float) -> float:
        return self._out.pop(number, (now, ""))[0]

    def _end_streak(self, sent_at: float) -> None:
        """A request that was sent then was answered: failures of those sent since are over."""
        is_first, streak = not self._has_answered, self.streak
        self._answered_sent_at = max(self._answered_sent_at, sent_at)
        if streak is not None and (sent_at >= streak.first_sent_at or (is_first and streak.has_hung)):
            if streak.is_outage:
                self._failed_share.value = streak.share_before
            self.streak = None

    def _note_failure(self, request: str, streak: FailureStreak | None, kind: str) -> bool:
        """Note in which streak a request fails, None for beside answers; whether it may be to blame itself."""
        ended = 0
        if request in self._failed_in:
            last, ended = self._failed_in[request]
            ended += last is None or (last is not streak and not last.is_outage)
        self._failed_in[request] = streak, ended
        is_suspect = ended >= (_SUSPECT_STREAKS_WITHOUT_REPLY if kind in NO_REPLY_KINDS else _SUSPECT_STREAKS)
        if is_suspect:
            self._suspects.add(request)
        return is_suspect

    def confirm(self, first: FailureStreak, now: float) -> bool:
        """Whether an outage may have used up a request's retries; ``first`` is the streak in which it failed first.

        It may when nothing sent since has succeeded and the failures are the provider's. Then the breaker opens, unless
        too much may still succeed: another attempt shows.
        """
        if first is self.refusals and not first.is_outage:
            return True
        if first is not self.streak:
            return False
        unreachable = first.only_provider_kinds and first.kind in UNREACHABLE_KINDS
        silent = self._count_silent(first)
        is_plain = self._is_the_providers(first, silent) and first.failures + silent >= _MIN_CONFIRMED_FAILURES
        if unreachable or is_plain or self._is_outage_of_few(first):
            first.is_outage = first.is_outage or self._few_may_succeed(first, now)
            return True
        return first.is_outage

    def open(self, streak: FailureStreak) -> None:
        """The failures are an outage: it is known from elsewhere that the provider does not answer."""
        streak.is_outage = True
        self.streak = streak

    def _is_the_providers(self, streak: FailureStreak, silent: int) -> bool:
        return streak.is_the_providers(silent, max(_MIN_REQUESTS, self._min_requests))

    def _is_outage_of_few(self, streak: FailureStreak) -> bool:
        """Whether a provider that answered before fails all that a run has left.

        Several requests at once are not to blame, nor is one whose failures speak of the provider. Where nothing was
        answered, they may be: a run of what failed in another has nothing else.
        """
        if streak.failures < _MIN_LAST_FAILURES:
            return False
        are_several = len(streak.requests) >= max(_MIN_LAST_REQUESTS, self._min_requests)
        signs = are_several + streak.only_provider_kinds + self._has_answered
        return signs >= 2  # noqa: PLR2004

    def _is_outage(self, streak: FailureStreak, now: float) -> bool:
        silent = self._count_silent(streak)
        if not self._is_the_providers(streak, silent):
            return False
        lasted, signs = now - streak.lasts_from, streak.failures + silent
        rules = (*OPENING_RULES, _HANGING_RULE) if streak.only_hung else OPENING_RULES
        is_long = any(signs >= failures and lasted >= seconds for failures, seconds in rules)
        if not is_long and not (self.is_recovering and streak.failures >= REOPENING_FAILURES):
            return False
        return self._few_may_succeed(streak, now)

    def _count_silent(self, streak: FailureStreak) -> int:
        """Requests that are out and hang with those that hung.

        Before the first answer they are those that were sent before one that hung, afterwards those that are overdue.
        """
        if not streak.has_hung:
            return 0
        overdue = self._list_overdue()
        if self._has_answered:
            return len(overdue)
        return max(len(overdue), sum(sent_at <= streak.hung_sent_at for sent_at, _ in self._out.values()))

    def _few_may_succeed(self, streak: FailureStreak, now: float, sent_from: float = float("-inf")) -> bool:
        """Whether even the success of all that may still succeed would leave nearly all as failures.

        A request out for less time than the failures took may still fail like them. One out for far longer than any
        answer took hangs, and so does one that is overdue. Only those sent from ``sent_from`` on count.
        """
        youngest = now - (_SLOW_FACTOR * streak.seconds / streak.failures + _SLOW_SECONDS)
        oldest = max(sent_from, now - _HANGING_FACTOR * self.slowest_success if self.slowest_success else sent_from)
        hung = float("-inf") if self._has_answered else streak.hung_sent_at
        overdue = set(self._list_overdue()) if streak.has_hung else set()
        allowed = streak.failures * (1 - _MIN_FAILED_SHARE) / _MIN_FAILED_SHARE
        hopeful = 0
        for sent_at, request in self._out.values():
            if sent_at > youngest:
                break  # they are in the order of sending
            hopeful += sent_at >= oldest and sent_at > hung and request not in overdue
            if hopeful > allowed:
                return False
        return True
