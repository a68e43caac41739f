"""Virtual time: an event loop whose clock jumps to the next timer, and a rate-limited server that lives in it."""

from __future__ import annotations

import asyncio
import math
import random
import selectors
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mediamill.tasks.calls.rate_limiter import Limiter
from mediamill.tasks.domain import Usage
from mediamill.tasks.wire import RateLimits

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):
    """Never sleeps: where the event loop would wait, its clock moves on instead."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("everything waits and no timer is set")
        self.loop.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time."""

    def __init__(self) -> None:
        self.now = 1000.0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now


def run_virtual(main: Callable[[], Awaitable[T]]) -> T:
    async def start() -> T:
        return await main()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(start())


@dataclass
class SimulatedServer:
    """Accepts ``limit`` requests a second, counted by ``window_kind``; refuses the rest within 50 ms.

    ``window_kind``: ``bucket`` (a burst of one second), ``sliding`` or ``fixed`` (windows of a minute) or ``second``
    (fixed windows of a second). ``stated_on``: ``all`` states the limit on every reply, ``refusals`` on 429 only, with
    Retry-After; ``retry`` gives Retry-After alone. The share ``noise`` of all requests gets the outcome
    ``noise_outcome`` with ``noise_hint``, whatever the rate, until the clock shows ``noise_ends_at``.
    """

    limit: float
    latency: float
    window_kind: str = "bucket"
    stated_on: str = ""
    noise: float = 0.0
    noise_outcome: str = "rate_limit"
    noise_hint: float | None = None
    noise_ends_at: float = math.inf
    rng: random.Random = field(default_factory=lambda: random.Random(7))
    log: list[tuple[float, bool]] = field(default_factory=list)
    noise_log: list[float] = field(default_factory=list)
    accepted_times: deque[float] = field(default_factory=deque)
    tokens: float = 1.0
    updated_at: float = 0.0
    max_in_flight: int = 0
    in_flight: int = 0

    def admit(self, now: float, amount: float = 1.0) -> tuple[bool, float]:
        if math.isinf(self.limit):
            return True, 0.0
        if self.window_kind == "bucket":
            size = max(1.0, self.limit)
            self.tokens = min(size, self.tokens + (now - self.updated_at) * self.limit)
            self.updated_at = now
            if self.tokens >= amount:
                self.tokens -= amount
                return True, 0.0
            return False, (amount - self.tokens) / self.limit
        span = 1.0 if self.window_kind == "second" else 60.0
        max_requests = max(1, round(self.limit * span))
        while self.accepted_times and (
            self.accepted_times[0] <= now - span
            if self.window_kind == "sliding"
            else self.accepted_times[0] // span < now // span
        ):
            self.accepted_times.popleft()
        if len(self.accepted_times) < max_requests:
            self.accepted_times.append(now)
            return True, 0.0
        return False, self.accepted_times[0] + span - now if self.window_kind == "sliding" else (
            now // span + 1
        ) * span - now

    async def handle_request(self) -> tuple[str, RateLimits | None, float | None]:
        await asyncio.sleep(self.rng.uniform(0.005, 0.02))
        now = asyncio.get_running_loop().time()
        if now < self.noise_ends_at and self.noise and self.rng.random() < self.noise:
            self.noise_log.append(now)
            await asyncio.sleep(0.03)
            return self.noise_outcome, None, self.noise_hint
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        good, wait = self.admit(now)
        self.log.append((now, good))
        await asyncio.sleep(self.latency * self.rng.uniform(0.8, 1.2) if good else 0.03)
        self.in_flight -= 1
        return self.make_reply(good, wait)

    def reply_to(self, now: float, amount: float = 1.0) -> tuple[str, RateLimits | None, float | None]:
        """Decide on a request that arrives now and takes ``amount`` of the limit: outcome, stated limits and wait."""
        return self.make_reply(*self.admit(now, amount))

    def make_reply(self, good: bool, wait: float) -> tuple[str, RateLimits | None, float | None]:
        stated_limits = (
            RateLimits(requests_per_second=self.limit)
            if self.stated_on == "all" or (self.stated_on == "refusals" and not good)
            else None
        )
        hint = None if good or self.stated_on not in ("retry", "refusals") else float(int(wait) + 1)
        return ("ok" if good else "rate_limit"), stated_limits, hint

    def count_accepted(self, start: float, end: float) -> float:
        """Requests accepted each second between two moments."""
        return sum(good for at, good in self.log if start <= at < end) / (end - start)

    def measure_between(self, start: float, end: float) -> tuple[float, float]:
        """The share of the limit that was used and the share of requests refused, between two moments."""
        rows = [good for at, good in self.log if start <= at < end]
        return sum(rows) / (self.limit * (end - start)), 1 - sum(rows) / max(1, len(rows))


async def offer_load(limiter: Limiter, server: SimulatedServer, ends_at: float) -> None:
    """Send more than the server accepts until the clock shows ``ends_at``."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def send_request(permit: Any) -> None:
        outcome, stated_limits, hint = await server.handle_request()
        limiter.release(permit, outcome, stated_limits, hint)

    while loop.time() < ends_at:
        try:
            async with asyncio.timeout_at(ends_at):
                permit = await limiter.acquire(Usage())
        except TimeoutError:
            break
        task = asyncio.ensure_future(send_request(permit))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    while tasks:
        await asyncio.wait(tasks)
