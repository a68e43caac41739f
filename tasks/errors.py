"""Every error mediamill raises on purpose, in one tree.

    MediamillError
    ├── UsageError            the command, the job, a key or the source is wrong   exit 2
    │   ├── NoSuchOption      an unknown name, with the nearest known one
    │   └── EmptySource       the source has no items, or is not there
    ├── OutputBusy            another run holds OUT                                exit 5
    ├── StorageError          the disk or the journal failed                       exit 1
    ├── RunStopped            the run cannot go on; what was paid is kept          exit 4
    │   ├── AccountStopped    key refused, no credits left, spending cap reached
    │   ├── BudgetReached     the next Ask could cost more than the budget has left
    │   ├── ProviderDown      the provider does not answer, for longer than the run waits
    │   └── TooManyFailures   so many requests failed in a row that the provider is to blame, and not the items
    ├── RunFailed             a run ended with failures or was stopped, and its caller asked for an error
    └── ItemError             one Item fails, the run goes on                      exit 3
        ├── BadInput          the item's bytes or row are unusable; nothing was sent
        ├── Unpriced          a budget is set and the Ask's maximum cost is not known
        ├── CallFailed        the provider or the network refused; says whether a later run may succeed
        ├── UnknownOutcome    it may have been carried out and billed; not repeated without consent
        └── BadReply          the reply is kept, but it is not what the operation returns

An ItemError becomes the item's Failure: its ``kind`` is the ``error_kind`` column.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from decimal import Decimal

EXIT_CODES = {
    0: "all is done",
    1: "a bug, the disk or the journal",
    2: "the command, the job, a key or the source is wrong; nothing was started",
    3: "finished, and some items failed",
    4: "stopped by the account, the budget, a deadline or a provider that is gone or turned bad; run it again to go on",
    5: "another run holds OUT",
    129: "stopped by SIGHUP, as when its terminal closed; run it again to go on",
    130: "stopped by Ctrl-C; run it again to go on",
    143: "stopped by SIGTERM; run it again to go on",
}
"""What the exit code of ``mediamill`` says."""


class MediamillError(Exception):
    """Base of all errors raised on purpose. ``hint`` is the next step for the person who reads it."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(MediamillError):
    """The command line, the job file, a key or the source is wrong; nothing was started."""

    exit_code = 2


class NoSuchOption(UsageError):
    """An unknown name, with the nearest known one as its hint."""

    def __init__(self, what: str, name: str, known: Iterable[str], *, where: str = "") -> None:
        known = sorted(known)
        nearest = difflib.get_close_matches(name, [other for other in known if other != name], n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(known)}"
        super().__init__(f"{where + ': ' if where else ''}unknown {what} {name!r}", hint=hint)


class JobFileError(UsageError):
    """Several mistakes of a job file; ``mistakes`` has a line of text for each."""

    def __init__(self, message: str, mistakes: Sequence[str]) -> None:
        super().__init__(message, hint="; ".join(mistakes))
        self.mistakes = tuple(mistakes)


class EmptySource(UsageError):
    """The source has no items, or is not there (``is_missing``). Scheduled runs take it for one that fills later."""

    def __init__(self, message: str, *, hint: str | None = None, is_missing: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.is_missing = is_missing


class OutputBusy(MediamillError):
    """Another run holds OUT."""

    exit_code = 5


class StorageError(MediamillError):
    """The disk or the journal failed."""

    exit_code = 1


class RunStopped(MediamillError):
    """The run cannot go on; everything paid for is kept and a later run continues."""

    exit_code = 4
    kind = "stopped"


class AccountStopped(RunStopped):
    """The key was refused, credits are used up, or a spending cap was reached."""

    kind = "account"


class BudgetReached(RunStopped):
    """The next Ask could cost more than the budget has left; ``max_usd`` is the most that it can cost."""

    kind = "budget"
    max_usd: Decimal | None = None


class ProviderDown(RunStopped):
    """The provider does not answer, for longer than the run waits."""

    kind = "provider_gone"


class TooManyFailures(RunStopped):
    """So many requests failed in a row that the provider is to blame, and not the items."""

    kind = "failures_in_a_row"


class RunFailed(MediamillError):
    """A run from Python ended with failures or was stopped, and ``raise_on_failure`` asked for an error.

    Args:
        message: what failed, or what stopped it.
        hint: the next step.
        run: the run; what it did is in its results.
        exit_code: the command line's.
    """

    exit_code = 3

    def __init__(self, message: str, *, hint: str | None, run: Any, exit_code: int) -> None:
        super().__init__(message, hint=hint)
        self.run = run
        self.exit_code = exit_code


class RunWarning(UserWarning):
    """A run from Python ended with failures or was stopped, or it waits. Silence it with :mod:`warnings`."""


class ItemError(MediamillError):
    """One Item fails; the run goes on.

    Args:
        message: one line that names the cause.
        kind: short stable word for the ``error_kind`` column.
        transient: True when a later run may succeed without any change to the input.
        status: last HTTP status, where there was one.
        hint: the next step.
    """

    exit_code = 3
    default_kind = "error"

    def __init__(
        self,
        message: str,
        *,
        kind: str | None = None,
        transient: bool = False,
        status: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.kind = kind or self.default_kind
        self.transient = transient
        self.status = status
        self.attempts = 0
        self.request: str | None = None  # the key of the request that was sent in vain


class BadInput(ItemError):
    """The item's bytes or row are unusable; nothing was sent and nothing was paid."""

    default_kind = "bad_input"


def build_memory_error(message: str) -> BadInput:
    """The error of an item for which memory is short; a later run may succeed."""
    hint = "free some memory or lower --max-memory, then run again"
    return BadInput(message, kind="memory", transient=True, hint=hint)


class Unpriced(ItemError):
    """A budget is set and the maximum cost of this Ask is not known, so it is not sent."""

    default_kind = "unpriced"


class CallFailed(ItemError):
    """The provider or the network refused the request.

    ``max_seconds`` is the longest recording that the provider takes, where it refused a longer one and said so.
    """

    default_kind = "call_failed"
    max_seconds: float | None = None


class UnknownOutcome(ItemError):
    """The request may have been carried out and billed; it is not repeated without consent."""

    default_kind = "unknown"


class BadReply(ItemError):
    """The reply is kept in the journal, but it is not what the operation returns."""

    default_kind = "bad_reply"
