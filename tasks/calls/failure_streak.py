"""Failures in a row of the requests to one provider, and what kinds of failure say of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

UNREACHABLE_KINDS = frozenset({"dns", "refused", "tls", "connect_timeout"})
"""Kinds of failure before anything was sent: they say nothing of the request itself."""
PROVIDER_KINDS = UNREACHABLE_KINDS | {"overloaded"}
"""Kinds that no request can cause."""
HANGING_KINDS = frozenset({"overdue", "deadline"})
"""Kinds of requests that nothing came for."""
UNANSWERED_KINDS = UNREACHABLE_KINDS | HANGING_KINDS | {"reset"}
"""Kinds of requests that no reply came to."""
NO_REPLY_KINDS = HANGING_KINDS | {"reset", "protocol"}
"""Kinds of requests that were sent, and whose reply never came or never began."""
_MAX_REQUESTS = 128
_SHARE_STEP = 0.01


@dataclass(eq=False, slots=True)
class FailureStreak:
    """Failures in a row, with no success between them.

    Attributes:
        began_at: when the first came.
        first_sent_at: when the first had been sent.
        failures: how many.
        lost: how many of them may have been billed, of requests that are not to blame themselves.
        requests: the different requests that failed and are not to blame themselves, up to as many as it takes.
        is_outage: True once the breaker opened because of them.
        kind, message, status: of the last one; the message is the provider's own, and may repeat what was sent.
        hung_sent_at: when the latest of those that hung had been sent.
        only_unanswered: True where no reply came to any of them.
        wait, back_at: the seconds that the provider wants to be left alone by its last word, and their end; None
            without one.
        share_before: the share of all requests that failed before them.
    """

    began_at: float
    first_sent_at: float
    share_before: float = 0.0
    failures: int = 0
    lost: int = 0
    requests: set[str] = field(default_factory=set)
    is_outage: bool = False
    kind: str = ""
    message: str = ""
    status: int | None = None
    seconds: float = 0.0
    only_provider_kinds: bool = True
    hung_sent_at: float = float("-inf")
    only_unanswered: bool = True
    only_hung: bool = True
    wait: float | None = None
    back_at: float | None = None

    def add(
        self,
        request: str | None,
        kind: str,
        message: str,
        status: int | None,
        sent_at: float,
        now: float,
        *,
        wait: float | None = None,
        is_lost: bool = False,
    ) -> None:
        """Take in one more failure; ``request`` is None for one that may be to blame itself.

        ``wait`` is in seconds, by the provider's own word; ``is_lost`` says that it may have been billed.
        """
        self.failures += 1
        self.lost += is_lost
        self.seconds += now - sent_at
        if kind in HANGING_KINDS:
            self.hung_sent_at = max(self.hung_sent_at, sent_at)
        self.kind, self.message, self.status = kind, message, status
        self.wait, self.back_at = wait, None if wait is None else now + wait
        self.only_provider_kinds = self.only_provider_kinds and kind in PROVIDER_KINDS
        self.only_unanswered = self.only_unanswered and kind in UNANSWERED_KINDS
        self.only_hung = self.only_hung and kind in HANGING_KINDS
        if request is not None and len(self.requests) < _MAX_REQUESTS:
            self.requests.add(request)

    @property
    def has_hung(self) -> bool:
        """Whether one of them hung."""
        return self.hung_sent_at > float("-inf")

    @property
    def is_refusal(self) -> bool:
        """Whether the provider answers, and refuses every request as one too many."""
        return self.kind == "rate_limit"

    @property
    def lasts_from(self) -> float:
        """From when on nothing was answered: a request that hung says so from when it was sent."""
        return self.first_sent_at if self.only_hung else self.began_at

    def is_the_providers(self, silent: int, min_requests: int) -> bool:
        """Whether the failures, and so many requests that hang, cannot be the fault of fewer requests than that."""
        return self.only_provider_kinds or len(self.requests) + silent >= min_requests


class RecentShare:
    """Which share of the latest hundred requests or so ended in one way."""

    def __init__(self) -> None:
        self.value = 0.0
        self._requests = 0

    def add(self, *, is_so: bool) -> None:
        """Count a request."""
        self._requests += 1
        self.value += (is_so - self.value) * max(_SHARE_STEP, 1 / self._requests)


def count_for_chance(share: float, chance: float) -> int:
    """How many failures in a row come by chance once in ``1 / chance``, where that share of all fails."""
    return math.ceil(math.log(chance) / math.log(min(0.99, share))) if share > 0 else 1
