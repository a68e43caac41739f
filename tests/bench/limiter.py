"""What the limiter makes of limits and faults, in virtual time: ``python -m tests.bench.limiter [NAME...]``.

Each line is one server, and each cell the worst and the mean of several seeds: the share of what is possible that was
used and the share that the limit refused, both from the second minute on, and the refusals in the first minute. With
names, only lines are measured whose name contains one of them.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace

from mediamill.tasks.calls.rate_limiter import Limiter, Permit
from mediamill.tasks.domain import Usage
from mediamill.tasks.wire import Quota
from tests.calls.virtual_time import SimulatedServer, run_virtual

_SEEDS = int(os.environ.get("MEDIAMILL_BENCH_SEEDS", "3"))
_LATENCY = 0.2
_WAY_SECONDS, _REFUSAL_SECONDS = (0.002, 0.015), 0.03
_MEAN_WAY = sum(_WAY_SECONDS) / 2


@dataclass(frozen=True)
class Case:
    """A server, and how long how many clients send to it. ``changes``: a factor of the limit at a second."""

    limit: float = math.inf
    kind: str = "bucket"
    stated_on: str = ""
    noise: float = 0.0
    outcome: str = "rate_limit"
    noise_hint: float | None = None
    noise_ends: float = math.inf
    seconds: float = 240.0
    in_flight: int = 64
    change: tuple[float, float] | None = None
    second_client: float | None = None
    before: Case | None = None


@dataclass
class Course:
    """What happened: times since the start of all requests, by client; refusals by noise apart."""

    accepted: list[tuple[float, int]] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    noise: int = 0

    def rate(self, begin: float, end: float, client: int | None = None) -> float:
        """Requests accepted each second between two moments."""
        return sum(begin <= at < end and client in (None, who) for at, who in self.accepted) / (end - begin)

    def refused_share(self, begin: float, end: float) -> float:
        """The share of requests that the limit refused between two moments."""
        count = sum(begin <= at < end for at in self.refused)
        return count / max(1.0, count + self.rate(begin, end) * (end - begin))


def simulate(case: Case, seed: int, restored: Limiter | None = None) -> tuple[Course, Limiter]:
    """Send as much as the limiter lets through."""
    course, rng = Course(), random.Random(seed)
    limiters = [restored or Limiter(Quota(concurrency=case.in_flight))]
    server = SimulatedServer(case.limit / 60, _LATENCY, case.kind, case.stated_on)

    async def send_from(client: int, began: float) -> None:
        loop, limiter = asyncio.get_running_loop(), limiters[client]

        def arrive(permit: Permit) -> None:
            now = loop.time()
            if now - began < case.noise_ends and rng.random() < case.noise:
                course.noise += 1
                loop.call_later(_REFUSAL_SECONDS, limiter.release, permit, case.outcome, None, case.noise_hint)
                return
            reply = server.reply_to(now)
            if reply[0] == "ok":
                course.accepted.append((now - began, client))
                loop.call_later(_LATENCY * rng.uniform(0.5, 1.5), limiter.release, permit, *reply)
            else:
                course.refused.append(now - began)
                loop.call_later(_REFUSAL_SECONDS, limiter.release, permit, *reply)

        try:
            async with asyncio.timeout_at(began + case.seconds):
                while True:
                    loop.call_later(rng.uniform(*_WAY_SECONDS), arrive, await limiter.acquire(Usage()))
        except TimeoutError:
            return

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(rng.uniform(0, 60))
        began = server.updated_at = loop.time()
        server.tokens = max(1.0, server.limit)
        if case.change is not None:
            at, factor = case.change
            loop.call_at(began + at, setattr, server, "limit", server.limit * factor)
        async with asyncio.TaskGroup() as group:
            group.create_task(send_from(0, began))
            if case.second_client is not None:
                await asyncio.sleep(case.second_client)
                limiters.append(Limiter(Quota(concurrency=case.in_flight)))
                group.create_task(send_from(1, began))
        await asyncio.sleep(1)

    run_virtual(main)
    return course, limiters[0]


def compute_possible(case: Case, *, at_end: bool = False) -> float:
    """Accepted requests a second that are possible."""
    noise = 0.0 if at_end and case.noise_ends < case.seconds else case.noise
    held = (1 - noise) * (_LATENCY + _MEAN_WAY) + noise * (_REFUSAL_SECONDS + _MEAN_WAY)
    limit = case.limit * (case.change[1] if case.change and at_end else 1) / 60
    return min(limit, case.in_flight * (1 - noise) / held)


def measure(case: Case, seed: int) -> tuple[float, ...]:
    """The figures of one line: each kind of case has its own."""
    restored = None
    if case.before is not None:
        restored = Limiter(Quota(concurrency=case.in_flight))
        restored.restore_state(simulate(case.before, seed)[1].export_state(), 1.0)
    course, _ = simulate(case, seed, restored)
    end, possible = case.seconds, compute_possible(case, at_end=True)
    changed_at = 0.0 if case.before else case.change[0] if case.change else min(case.noise_ends, case.seconds)
    if changed_at < case.seconds:
        seconds = (s for s in range(5, int(end - changed_at) + 1))
        back = next((s for s in seconds if course.rate(changed_at + s - 5, changed_at + s) >= 0.9 * possible), math.inf)
        return back, course.rate(changed_at + 30, end) / possible, course.refused_share(changed_at + 30, end)
    if case.second_client is not None:
        begin = case.second_client + 60
        first, both = course.rate(begin, end, 0), course.rate(begin, end)
        return min(first, both - first) / both, both / possible, course.refused_share(begin, end)
    in_first = sum(at < 60 for at in course.refused)
    return course.rate(60, end) / possible, course.refused_share(60, end), float(in_first), course.refused_share(0, 60)


def make_noise_cases() -> Iterator[tuple[str, Case]]:
    """Faults at random, without a limit."""
    for share, hint in itertools.product((0.005, 0.01, 0.02, 0.04, 0.1, 0.2, 0.3), (None, 2.0)):
        told = f" {share:.1%}, hint {hint:.0f} s" if hint else f" {share:.1%}"
        case = Case(noise=share, noise_hint=hint, seconds=180)
        yield f"noise 429{told}", case
        if share >= 0.1:
            yield f"noise 503{told}", replace(case, outcome="overloaded")
    yield "noise 503 30.0%, 256 in flight", replace(case, outcome="overloaded", in_flight=256, seconds=90)
    for share, hint in ((0.005, None), (0.04, None), (0.04, 5.0), (0.3, 2.0)):
        yield f"healthy after {share:.1%} {hint}", Case(noise=share, noise_hint=hint, noise_ends=100, seconds=170)
    for rpm in (20, 600):
        yield f"healthy run after {rpm}", Case(seconds=70, before=Case(rpm, seconds=120))


def make_limit_cases() -> Iterator[tuple[str, Case]]:
    """Limits of all kinds and sizes."""
    sizes = (20, 60, 120, 300, 600, 3000, 6000)
    for kind, rpm, stated in itertools.product(("bucket", "sliding", "fixed", "second"), sizes, ("", "retry")):
        if kind != "second" or rpm >= 300:
            case = Case(rpm, kind, stated, in_flight=256, seconds=180 if rpm > 600 else 300)
            yield f"limit {kind} {rpm}{', hint' if stated else ''}", case
    for rpm, stated in itertools.product((20, 600, 3000), ("all", "refusals")):
        yield f"stated {rpm} on {stated}", Case(rpm, "bucket", stated, in_flight=256, seconds=180)
    for rpm, factor in itertools.product((20, 60, 120, 300, 600, 3000), (0.5, 2.0)):
        yield f"changed {rpm} x {factor}", Case(rpm, seconds=300, change=(150, factor), in_flight=256)
    for rpm, share, hint in itertools.product((600, 3000), (0.01, 0.04), (None, 2.0)):
        case = Case(rpm, stated_on="retry" if hint else "", noise=share, noise_hint=hint, seconds=240)
        yield f"mixed {rpm} with {share:.0%}{', hint' if hint else ''}", case
    for rpm, delay in itertools.product((120, 600, 3000), (0.0, 60.0)):
        yield f"two {rpm}, {delay:.0f} s apart", Case(rpm, second_client=delay, seconds=420)


CASES = dict(itertools.chain(make_noise_cases(), make_limit_cases()))


def format_line(name: str, rows: list[tuple[float, ...]]) -> str:
    """One line of the table."""
    columns = list(zip(*rows, strict=True))
    mean = [sum(column) / len(column) for column in columns]
    if name.startswith("two"):
        return (
            f"smaller share {min(columns[0]):.2f} ({mean[0]:.2f}) | used {mean[1]:.2f} | refused {max(columns[2]):.1%}"
        )
    if name.startswith(("changed", "healthy")):
        return (
            f"back {max(columns[0]):.0f} s ({mean[0]:.0f}) | used {min(columns[1]):.2f} | refused {max(columns[2]):.1%}"
        )
    first = "" if name.startswith("noise") else f" | first minute {max(columns[2]):.0f} ({max(columns[3]):.1%})"
    return f"used {min(columns[0]):.2f} ({mean[0]:.2f}) | refused {max(columns[1]):.1%} ({mean[1]:.1%}){first}"


def main(names: list[str]) -> None:
    """Print a table."""
    cases = [(name, case) for name, case in CASES.items() if not names or any(part in name for part in names)]
    with ProcessPoolExecutor(2) as pool:
        results = [(name, [pool.submit(measure, case, seed) for seed in range(_SEEDS)]) for name, case in cases]
        for name, futures in results:
            sys.stdout.write(f"| {name} | {format_line(name, [future.result() for future in futures])} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
