"""What a paid call needs of its run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from mediamill.tasks.calls.client import Client
from mediamill.tasks.calls.hang_detector import HangDetector
from mediamill.tasks.calls.job_poller import JobPoller
from mediamill.tasks.calls.provider_gate import ProviderGate
from mediamill.tasks.calls.rate_limiter import Limiter
from mediamill.tasks.calls.retry import RetryPolicy
from mediamill.tasks.calls.server_deaths import ServerDeaths
from mediamill.tasks.domain import Ask, Usage
from mediamill.tasks.errors import RunStopped
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.money.budget import Budget
from mediamill.tasks.money.cost import Pricing
from mediamill.tasks.wire import Provider, Wire

REQUEST_ID_HEADERS = ("x-request-id", "x-together-request-id", "x-together-traceid", "cf-ray")


@dataclass(slots=True)
class CallStats:
    """Counts of this run's calls so far, for progress.

    ``retried`` requests were sent again after a failure; ``rate_limited`` is the number of replies with 429.
    ``running_jobs`` are at work at the provider; ``job_seconds`` is the total time of the ``jobs_ended``.
    ``claimed_by_others`` are requests that another run has claimed: its answers are waited for.
    """

    in_flight: int = 0
    sent: int = 0
    retried: int = 0
    rate_limited: int = 0
    cache_hits: int = 0
    claimed_by_others: int = 0
    running_jobs: int = 0
    job_seconds: float = 0.0
    jobs_ended: int = 0
    engine: str | None = None
    simulated: bool = False

    def estimate_seconds_left(self, items: int, elapsed: float) -> float | None:
        """Seconds that ``items`` which become jobs will take: until the last is created, plus the mean time of a job.

        None while no job has ended. ``elapsed`` is in seconds.
        """
        if not self.jobs_ended:
            return None
        waiting = max(items - self.running_jobs, 0)
        created = self.running_jobs + self.jobs_ended
        return waiting * elapsed / created + self.job_seconds / self.jobs_ended


@dataclass(frozen=True, slots=True)
class CallContext:
    """Everything a call needs besides the Ask itself.

    ``resolve_origin`` gives the address that a Wire's request really goes to, ``limiter_for`` the limiter of an Ask's
    model and operation. ``slots`` bound the requests on the wire at once. Paid requests go through ``gate``, look-ups
    of jobs through ``lookup_gate``: they hold them back while the provider is out. ``request_stop`` ends the run;
    ``check_stop`` raises RunStopped once it is to end. ``timeout`` in seconds replaces the Wire's. ``hang_detector``
    abandons requests that hang before that. ``server_deaths`` is there for the built-in provider only. The key is held
    here and nowhere else.
    """

    provider: Provider
    journal: Journal
    client: Client
    budget: Budget
    pricing: Pricing
    policy: RetryPolicy
    resolve_origin: Callable[[Wire], Awaitable[str]]
    limiter_for: Callable[[Ask], Limiter]
    slots: asyncio.Semaphore
    gate: ProviderGate
    lookup_gate: ProviderGate
    check_stop: Callable[[], None]
    request_stop: Callable[[RunStopped], None]
    run_id: str
    out_id: str
    key: str | None = field(default=None, repr=False)
    timeout: float | None = None
    poller: JobPoller = field(default_factory=JobPoller)
    hang_detector: HangDetector = field(default_factory=HangDetector)
    server_deaths: ServerDeaths | None = None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    stats: CallStats = field(default_factory=CallStats)


def now_us() -> int:
    """Microseconds since the epoch, UTC."""
    return time.time_ns() // 1000


def parse_request_id(headers: Mapping[str, str]) -> str | None:
    """The provider's own id of a request (provider docs: x-request-id and relatives)."""
    return next((headers[name] for name in REQUEST_ID_HEADERS if headers.get(name)), None)


def sum_usages(usages: Iterable[Usage]) -> Usage:
    """The sum of several usages; a quantity that one of them does not state is None."""
    usages = list(usages)
    if len(usages) == 1:
        return usages[0]
    sums: dict[str, int | Decimal | None] = {}
    for name in Usage.__slots__:
        values = [getattr(u, name) for u in usages]
        sums[name] = None if any(v is None for v in values) else sum(values)
    return Usage(**sums)  # type: ignore[arg-type]
