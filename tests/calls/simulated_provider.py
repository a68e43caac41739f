"""A provider in virtual time: when it answers, and which requests to it were abandoned."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from mediamill.tasks.calls.hang_detector import HangDetector
from mediamill.tasks.calls.transport_errors import ReplyLost
from mediamill.tasks.calls.transports import OnProgress
from mediamill.tasks.wire import Reply

HOUR = 3600.0
TIMEOUT_SECONDS = 300.0


@dataclass
class SimulatedProvider:
    """Answers after ``take(sent_at)`` seconds, both from the start; a request ends after ``TIMEOUT_SECONDS``.

    Unless it ``is_watched`` nothing else ends it.
    """

    take: Callable[[float], float]
    detector: HangDetector = field(default_factory=HangDetector)
    is_watched: bool = True
    estimated_seconds: float | None = None
    answered: list[tuple[float, float]] = field(default_factory=list)
    abandoned: int = 0
    sent: int = 0
    began_at: float = 0.0

    def now(self) -> float:
        return asyncio.get_running_loop().time() - self.began_at

    async def send(self, report: OnProgress, seconds: float | None = None) -> Reply:
        sent_at = self.now()
        self.sent += 1
        report("connected")
        seconds = self.take(sent_at) if seconds is None else seconds
        await asyncio.sleep(min(TIMEOUT_SECONDS, seconds))
        if seconds > TIMEOUT_SECONDS:
            raise ReplyLost("deadline", "h: no complete reply")
        self.answered.append((sent_at, self.now()))
        return Reply(200, {}, b"")

    async def call(self, key: str, size: float = 1.0, seconds: float | None = None) -> None:
        """Send a request until it is answered."""
        while (lost := await self.try_once(key, size, seconds)) is not None:
            self.abandoned += lost.kind == "overdue"

    async def try_once(self, key: str, size: float, seconds: float | None) -> ReplyLost | None:
        try:
            if self.is_watched:
                await self.detector.watch(
                    lambda report: self.send(report, seconds),
                    key=key,
                    size=size,
                    host="h",
                    estimated_seconds=self.estimated_seconds,
                )
            else:
                await self.send(lambda _: None, seconds)
        except ReplyLost as lost:
            return lost
        return None

    async def call_all(self, requests: int, concurrency: int) -> None:
        """Keep ``concurrency`` requests in flight until all are answered."""
        self.began_at = asyncio.get_running_loop().time()
        left = deque(str(number) for number in range(requests))

        async def work() -> None:
            while left:
                await self.call(left.popleft())

        await asyncio.gather(*(work() for _ in range(concurrency)))

    def count_answers(self, start: float, end: float) -> int:
        return sum(start <= at < end for _, at in self.answered)


def lognormal(median: float, sigma: float, seed: int = 5) -> Callable[[float], float]:
    rng = random.Random(seed)
    return lambda _: median * rng.lognormvariate(0, sigma)


def with_hole(take: Callable[[float], float], start: float, end: float) -> Callable[[float], float]:
    return lambda at: HOUR if start <= at < end else take(at)
