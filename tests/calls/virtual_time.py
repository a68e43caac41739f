"""Virtual time: an event loop whose clock jumps to the next timer, and a rate-limited server that lives in it."""

from __future__ import annotations

import asyncio
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
    """Never sleeps: where the loop would wait, its clock moves on instead."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("everything waits and nothing will wake it")
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
    """Takes ``limit`` requests a second as ``how`` counts them; refuses the rest within 50 ms.

    ``how``: ``bucket`` (a second's worth of burst), ``sliding`` or ``fixed`` (windows of a minute) or
    ``second`` (fixed windows of one). ``tells``: ``all`` states the limit on every reply, ``refusals`` on
    429 only, with Retry-After; ``retry`` gives Retry-After alone.
    """

    limit: float
    latency: float
    how: str = "bucket"
    states: str = ""
    rng: random.Random = field(default_factory=lambda: random.Random(7))
    log: list[tuple[float, bool]] = field(default_factory=list)
    taken: deque[float] = field(default_factory=deque)
    tokens: float = 1.0
    at: float = 0.0
    busiest: int = 0
    inside: int = 0

    def admits(self, now: float) -> tuple[bool, float]:
        if self.how == "bucket":
            size = max(1.0, self.limit)
            self.tokens = min(size, self.tokens + (now - self.at) * self.limit)
            self.at = now
            if self.tokens >= 1:
                self.tokens -= 1
                return True, 0.0
            return False, (1 - self.tokens) / self.limit
        span = 1.0 if self.how == "second" else 60.0
        most = max(1, round(self.limit * span))
        while self.taken and (
            self.taken[0] <= now - span if self.how == "sliding" else self.taken[0] // span < now // span
        ):
            self.taken.popleft()
        if len(self.taken) < most:
            self.taken.append(now)
            return True, 0.0
        return False, self.taken[0] + span - now if self.how == "sliding" else (now // span + 1) * span - now

    async def call(self) -> tuple[str, RateLimits | None, float | None]:
        await asyncio.sleep(self.rng.uniform(0.005, 0.02))
        now = asyncio.get_running_loop().time()
        self.inside += 1
        self.busiest = max(self.busiest, self.inside)
        good, wait = self.admits(now)
        self.log.append((now, good))
        await asyncio.sleep(self.latency * self.rng.uniform(0.8, 1.2) if good else 0.03)
        self.inside -= 1
        stated_limits = (
            RateLimits(requests_per_second=self.limit)
            if self.states == "all" or (self.states == "refusals" and not good)
            else None
        )
        hint = None if good or self.states not in ("retry", "refusals") else float(int(wait) + 1)
        return ("ok" if good else "rate_limit"), stated_limits, hint

    def since(self, start: float, end: float) -> tuple[float, float]:
        """(share of the limit that was used, share of requests refused) between two moments."""
        rows = [good for at, good in self.log if start <= at < end]
        return sum(rows) / (self.limit * (end - start)), 1 - sum(rows) / max(1, len(rows))


async def offer_load(limiter: Limiter, server: SimulatedServer, until: float) -> None:
    """Offer more than can be taken until the clock shows ``until``."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def send_request(permit: Any) -> None:
        outcome, stated_limits, hint = await server.call()
        limiter.release(permit, outcome, stated_limits, hint)

    while loop.time() < until:
        try:
            async with asyncio.timeout_at(until):
                permit = await limiter.acquire(Usage())
        except TimeoutError:
            break
        task = asyncio.ensure_future(send_request(permit))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    while tasks:
        await asyncio.wait(tasks)
