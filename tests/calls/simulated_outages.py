"""A provider with faults and outages in virtual time, and a run whose items are sent to it through gate and retries."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from mediamill.tasks.calls.hang_detector import HangDetector
from mediamill.tasks.calls.provider_gate import ProviderGate
from mediamill.tasks.calls.rate_limiter import Limiter
from mediamill.tasks.calls.retry import RetryableError, RetryBudget, RetryPolicy, send_with_retries
from mediamill.tasks.calls.transport_errors import ReplyLost
from mediamill.tasks.calls.transports import OnProgress
from mediamill.tasks.domain import Usage
from mediamill.tasks.errors import RunStopped
from mediamill.tasks.retry_after import MAX_WAIT
from mediamill.tasks.run.item_slots import ItemSlots
from mediamill.tasks.wire import Problem, Quota, Reply

LATENCY_SECONDS = 0.2
SEND_SECONDS = 0.001
"""What sending one request takes of the client's time: it does one after the other."""
_FAULT_SECONDS = {
    "reset": 0.002,
    "refused": 0.001,
    "overloaded": 0.005,
    "server_error": 0.005,
    "short_body": LATENCY_SECONDS,
    "deadline": 1.0,
    "rate_limit": 0.005,
    "hang": math.inf,
}
_STATUSES = {"overloaded": 503, "rate_limit": 429}
_LOST_KINDS = ("reset", "short_body", "deadline")
"""Kinds of requests that may have been billed."""


@dataclass
class SimulatedProvider:
    """Fails ``share`` of the requests at random, and all of them in ``outages`` (seconds from the start).

    An outage counts for requests from number ``first_failing`` on, from 0.
    """

    kind: str = "reset"
    share: float = 0.0
    outages: Sequence[tuple[float, float]] = ()
    latency: float = LATENCY_SECONDS
    hint: float | None = None
    first_failing: int = 0
    rng: random.Random = field(default_factory=lambda: random.Random(7))
    sent: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    in_outages: list[float] = field(default_factory=list)

    async def answer(self, at: float) -> Problem | None:
        """Answer a request sent ``at`` seconds from the start; the problem, if there is one."""
        self.sent.append(at)
        is_out = len(self.sent) > self.first_failing and any(begin <= at < end for begin, end in self.outages)
        if is_out:
            self.in_outages.append(at)
        if is_out or self.refuses(at) or self.rng.random() < self.share:
            if self.kind == "hang":
                await asyncio.get_running_loop().create_future()
            await asyncio.sleep(_FAULT_SECONDS[self.kind])
            is_lost = self.kind in _LOST_KINDS
            return Problem("retry", self.kind, f"simulated {self.kind}", wait=self.hint, billed=is_lost)
        seconds = self.latency * self.rng.uniform(0.5, 1.5)
        await asyncio.sleep(seconds)
        self.answered.append(at + seconds)
        return None

    def refuses(self, at: float) -> bool:
        """Whether a request that comes then is one too many."""
        return False

    def measure_rate(self, begin: float, end: float) -> float:
        """Answers a second between two moments."""
        return sum(begin <= at < end for at in self.answered) / (end - begin)


@dataclass
class SimulatedRun:
    """A run that sends ``items`` to a provider, with ``concurrency`` in flight; what became of it."""

    provider: SimulatedProvider
    items: int = 10**9
    concurrency: int = 64
    wait_seconds: float | None = None
    max_retries: int = 5
    has_life: bool = True
    stop: RunStopped | None = None
    stopped_at: float = 0.0
    attempts: Counter[int] = field(default_factory=Counter)
    done: int = 0
    failed: list[str] = field(default_factory=list)
    max_in_flight_while_out: int = 0
    gate: ProviderGate = field(init=False)

    async def run(self, seconds: float = 10**9) -> None:
        """Send the items until all have ended, the run is stopped, or the time is up."""
        loop = asyncio.get_running_loop()
        self._began_at = loop.time()
        self._limiter = Limiter(Quota(concurrency=self.concurrency))
        self._hang_detector = HangDetector()
        slots = ItemSlots(2 * self.concurrency + 16)
        self.gate = ProviderGate(
            "simulated",
            check_stop=self._check_stop,
            request_stop=self._request_stop,
            wait_seconds=self.wait_seconds,
            on_outage=lambda streak: self._limiter.forget_outage(by_refusals=streak.is_refusal),
            has_life=self._look_for_life,
            list_overdue=self._hang_detector.list_overdue,
        )
        self._policy = RetryPolicy(
            max_retries=self.max_retries,
            budget=RetryBudget(),
            gate=self.gate,
            step_aside=slots.step_aside,
            measure_room=slots.measure_room,
            jitter=self.provider.rng.random,
        )
        self._in_flight, self._client_free_at = 0, 0.0
        tasks: set[asyncio.Task[None]] = set()
        try:
            async with asyncio.timeout(seconds):
                for item in range(self.items):
                    await slots.acquire()
                    if self.stop is not None:
                        break
                    task = asyncio.ensure_future(self._do_item(item))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                    task.add_done_callback(lambda _: slots.release())
                while tasks:
                    await asyncio.wait(tasks)
        except TimeoutError:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self.gate.close()

    async def _look_for_life(self) -> bool:
        await asyncio.sleep(0.0 if self.has_life else 10.0)
        return self.has_life

    def _check_stop(self) -> None:
        if self.stop is not None:
            raise self.stop

    def _request_stop(self, reason: RunStopped) -> None:
        self.stop, self.stopped_at = reason, asyncio.get_running_loop().time() - self._began_at

    async def _do_item(self, item: int) -> None:
        try:
            await send_with_retries(lambda: self._send_until_admitted(item), self._policy)
            self.done += 1
        except RetryableError as error:
            self.failed.append(error.problem.kind)
        except RunStopped:
            return

    async def _send_until_admitted(self, item: int) -> None:
        while not await self._send(item):
            pass

    async def _exchange(self, key: str) -> Problem | None:
        problem: Problem | None = None

        async def send(report: OnProgress) -> Reply:
            nonlocal problem
            report("connected")
            problem = await self.provider.answer(asyncio.get_running_loop().time() - self._began_at)
            return Reply(500 if problem else 200, {}, b"")

        try:
            await self._hang_detector.watch(send, key=key, size=1.0, host="simulated", estimated_seconds=70.0)
        except ReplyLost as lost:
            return Problem("unknown", lost.kind, lost.message, billed=True, wait=0.0)
        return problem

    async def _use_client(self) -> None:
        now = asyncio.get_running_loop().time()
        self._client_free_at = max(now, self._client_free_at) + SEND_SECONDS
        await asyncio.sleep(self._client_free_at - now)

    async def _send(self, item: int) -> bool:
        with await self.gate.admit(str(item)) as admission:
            permit = await self._limiter.acquire(Usage())
            await self._use_client()
            if not admission.may_go():
                self._limiter.release(permit, "unused")
                return False
            admission.start()
            self.attempts[item] += 1
            was_out, self._in_flight = self.gate.is_out, self._in_flight + 1
            if was_out:
                self.max_in_flight_while_out = max(self.max_in_flight_while_out, self._in_flight)
            problem = await self._exchange(str(item))
            self._in_flight -= 1
            status = _STATUSES.get(problem.kind) if problem else 200
            streak = admission.report(problem, status)
            is_out = self.gate.is_out  # as tasks/calls/attempt.py does it
            outcome = "ok" if problem is None else "error" if is_out else problem.kind
            wait = min(problem.wait, MAX_WAIT) if problem and problem.wait is not None and not is_out else None
            self._limiter.release(permit, outcome, wait=wait)
            if problem is not None:
                raise RetryableError(problem, status, streak, is_alone=self.gate.is_suspect(str(item)))
            return True
