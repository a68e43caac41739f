"""An admission through a provider's gate: one request's, from the gate until it is known what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from mediamill.tasks.calls.failure_streak import FailureStreak
from mediamill.tasks.wire import Problem

_ANSWER_KINDS = frozenset({"conflict", "too_early", "too_large"})
"""Kinds that may be tried again and still come from a provider that works."""


class Gate(Protocol):
    """What an admission tells its gate."""

    def may_go(self, admission: Admission) -> bool:
        """Whether an admitted request may still go."""

    def start(self, admission: Admission) -> int:
        """A request goes out; its number."""

    def succeed(self, admission: Admission, number: int) -> None:
        """The provider answered."""

    def refuse(self, admission: Admission, number: int, problem: Problem, status: int | None) -> FailureStreak:
        """The provider refused a request as one too many."""

    def fail(self, admission: Admission, number: int, problem: Problem, status: int | None) -> FailureStreak | None:
        """A request failed in a way that another may not."""

    def abandon(self, admission: Admission, number: int | None) -> None:
        """A request was not sent, or ended in a way that says nothing of the provider."""


@dataclass(eq=False, slots=True)
class Admission:
    """One request's way through the gate: ``with await gate.admit(key) as admission``.

    It is given back where the block ends without :meth:`report`.

    Attributes:
        gate: that admitted it.
        request: what tells its request from others.
        work_seconds: how long its work may take by itself, beside what any answer may take; 0 where that is not known.
        is_ready: True once it was found that it may still go; as the probe it is not replaced by another then.
    """

    gate: Gate
    request: str
    is_ready: bool = False
    work_seconds: float = 0.0
    _number: int | None = None
    _is_open: bool = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        if self._close():
            self.gate.abandon(self, self._number)

    def may_go(self) -> bool:
        """Whether it may still go: an outage may have begun since it was admitted."""
        self.is_ready = self.gate.may_go(self)
        return self.is_ready

    def start(self, work_seconds: float = 0.0) -> None:
        """It goes out now; its work may take that long by itself."""
        self.work_seconds = work_seconds
        self._number = self.gate.start(self)

    def report(self, problem: Problem | None, status: int | None = None) -> FailureStreak | None:
        """What became of it; the failures in a row that it belongs to, if it speaks against the provider.

        An error that says something of the request or of the account alone is an answer like any other.
        """
        if self._number is None or not self._close():
            return None
        if problem is None or problem.verdict in ("fail", "stop") or problem.kind in _ANSWER_KINDS:
            self.gate.succeed(self, self._number)
            return None
        if problem.kind == "rate_limit":
            return self.gate.refuse(self, self._number, problem, status)
        return self.gate.fail(self, self._number, problem, status)

    def _close(self) -> bool:
        was_open, self._is_open = self._is_open, False
        return was_open
