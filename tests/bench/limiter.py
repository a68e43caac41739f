"""What the limiter makes of limits and faults, in virtual time: ``python -m tests.bench.limiter [NAME...]``.

Each line is one server, and each cell the worst and the mean of several seeds: the share of what is possible that was
used and the share that the limit refused, both from the second minute on, and the refusals in the first minute. With
names, only lines are measured whose name contains one of them. MEDIAMILL_BENCH_SEEDS says how many seeds, and
MEDIAMILL_BENCH_FIRST_SEED the first: other seeds show which figures are the limiter's and which were tuned to.
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
from contextlib import suppress
from dataclasses import dataclass, field, replace

from mediamill.tasks.calls.pace_sharing import SHARE_SECONDS, PaceSharing, RunPace
from mediamill.tasks.calls.rate_limiter import Limiter, Permit
from mediamill.tasks.domain import Usage
from mediamill.tasks.wire import Quota
from tests.calls.virtual_time import SimulatedServer, run_virtual

_SEEDS = int(os.environ.get("MEDIAMILL_BENCH_SEEDS", "3"))
_FIRST_SEED = int(os.environ.get("MEDIAMILL_BENCH_FIRST_SEED", "0"))
_LATENCY = 0.2
_WAY_SECONDS, _REFUSAL_SECONDS = (0.002, 0.015), 0.03
_MEAN_WAY = sum(_WAY_SECONDS) / 2


@dataclass(frozen=True)
class Run:
    """When a run begins and ends, and how many requests a second it has; None for as many as are let through."""

    begin: float = 0.0
    end: float = math.inf
    rate: float | None = None


@dataclass(frozen=True)
class Case:
    """A server, and how long how many clients send to it. ``change``: a factor of the limit at a second.

    ``amounts``: what a request takes of the limit at the least and the most, one on average. ``second_limit``: of
    another model, to which the second run sends. ``is_sharing``: whether runs are on one machine.
    """

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
    amounts: tuple[float, float] = (1.0, 1.0)
    runs: tuple[Run, ...] = (Run(),)
    is_sharing: bool = False
    second_limit: float | None = None
    before: Case | None = None


@dataclass
class Course:
    """What happened: times since the start of all requests, by client; refusals by noise apart."""

    accepted: list[tuple[float, int]] = field(default_factory=list)
    refused: list[tuple[float, int]] = field(default_factory=list)
    noise: int = 0

    def rate(self, begin: float, end: float, client: int | None = None) -> float:
        """Requests accepted each second between two moments."""
        return sum(begin <= at < end and client in (None, who) for at, who in self.accepted) / (end - begin)

    def refused_share(self, begin: float, end: float, client: int | None = None) -> float:
        """The share of requests that the limit refused between two moments."""
        count = sum(begin <= at < end and client in (None, who) for at, who in self.refused)
        return count / max(1.0, count + self.rate(begin, end, client) * (end - begin))


class Simulation:
    """Sends as much as the limiters of a case let through."""

    def __init__(self, case: Case, seed: int, restored: Limiter | None = None) -> None:
        self.course = Course()
        self.limiters = [Limiter(Quota(concurrency=case.in_flight)) for _ in case.runs]
        self.limiters[0] = restored or self.limiters[0]
        self._case, self._rng = case, random.Random(seed)
        limits = [case.limit] if case.second_limit is None else [case.limit, case.second_limit]
        self._servers = [SimulatedServer(limit / 60, _LATENCY, case.kind, case.stated_on) for limit in limits]
        self._shown: dict[str, RunPace] = {}

    async def run(self) -> None:
        """Send until the case ends."""
        await asyncio.sleep(self._rng.uniform(0, 60))
        for server in self._servers:
            start_server(server, self._case)
        async with asyncio.TaskGroup() as group:
            for client in range(len(self.limiters)):
                group.create_task(self._run_client(client, asyncio.get_running_loop().time()))
        await asyncio.sleep(1)

    async def _run_client(self, client: int, began: float) -> None:
        run = self._case.runs[client]
        await asyncio.sleep(run.begin)
        sharing = asyncio.create_task(self._share(client)) if self._case.is_sharing else None
        await asyncio.sleep(0)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(began + min(run.end, self._case.seconds)):
                await self._send(client, began)
        if sharing is not None:
            sharing.cancel()

    async def _send(self, client: int, began: float) -> None:
        rate = self._case.runs[client].rate
        async with asyncio.TaskGroup() as group:
            while True:
                if rate is None:
                    await self._send_one(client, began)
                else:
                    await asyncio.sleep(self._rng.expovariate(rate))
                    group.create_task(self._send_one(client, began))

    async def _send_one(self, client: int, began: float) -> None:
        permit = await self.limiters[client].acquire(Usage())
        way = self._rng.uniform(*_WAY_SECONDS)
        asyncio.get_running_loop().call_later(way, self._arrive, client, permit, began)

    async def _share(self, client: int) -> None:
        name, sharing = str(client), PaceSharing(self.limiters[client])
        self._shown[name] = sharing.join(self._shown)
        try:
            while True:
                await asyncio.sleep(SHARE_SECONDS)
                others = {key: pace for key, pace in self._shown.items() if key != name}
                self._shown[name] = sharing.exchange(others, SHARE_SECONDS)
        finally:
            del self._shown[name]

    def _arrive(self, client: int, permit: Permit, began: float) -> None:
        loop, case, course, rng = asyncio.get_running_loop(), self._case, self.course, self._rng
        now, release = loop.time(), self.limiters[client].release
        if now - began < case.noise_ends and rng.random() < case.noise:
            course.noise += 1
            loop.call_later(_REFUSAL_SECONDS, release, permit, case.outcome, None, case.noise_hint)
            return
        server = self._servers[client % len(self._servers)]
        reply = server.reply_to(now, rng.uniform(*case.amounts))
        if reply[0] == "ok":
            course.accepted.append((now - began, client))
            loop.call_later(_LATENCY * rng.uniform(0.5, 1.5), release, permit, *reply)
        else:
            course.refused.append((now - began, client))
            loop.call_later(_REFUSAL_SECONDS, release, permit, *reply)


def simulate(case: Case, seed: int, restored: Limiter | None = None) -> tuple[Course, Limiter]:
    """What happens, and the limiter of the first run."""
    simulation = Simulation(case, seed, restored)
    run_virtual(simulation.run)
    return simulation.course, simulation.limiters[0]


def start_server(server: SimulatedServer, case: Case) -> None:
    """Begin with a full bucket, and plan the limit's change."""
    loop = asyncio.get_running_loop()
    server.updated_at, server.tokens = loop.time(), max(1.0, server.limit)
    if case.change is not None:
        at, factor = case.change
        loop.call_later(at, setattr, server, "limit", server.limit * factor)


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
    in_first = sum(at < 60 for at, _ in course.refused)
    if case.second_limit is not None:
        shares = [course.rate(60, end, who) * 60 / limit for who, limit in enumerate((case.limit, case.second_limit))]
        refused = max(course.refused_share(60, end, who) for who in range(2))
        return min(shares), refused, float(in_first), course.refused_share(0, 60)
    if len(case.runs) > 1:
        begin, end = max(run.begin for run in case.runs) + 60, min(end, *(run.end for run in case.runs))
        rates = [course.rate(begin, end, who) for who in range(len(case.runs))]
        smaller = min(rates) / sum(rates) * len(rates) / 2
        return smaller, sum(rates) / possible, course.refused_share(begin, end), course.refused_share(0, end)
    return course.rate(60, end) / possible, course.refused_share(60, end), float(in_first), course.refused_share(0, 60)


def make_noise_cases() -> Iterator[tuple[str, Case]]:
    """Faults at random, without a limit."""
    for share, hint in itertools.product((0.005, 0.01, 0.02, 0.04, 0.1, 0.2, 0.3), (None, 2.0)):
        told = f" {share:.1%}, hint {hint:.0f} s" if hint else f" {share:.1%}"
        case = Case(noise=share, noise_hint=hint, seconds=180)
        yield f"noise 429{told}", case
        if share >= 0.1:
            yield f"noise 503{told}", replace(case, outcome="overloaded")
    yield "noise 429 2.0%, 2 in flight", Case(noise=0.02, in_flight=2, seconds=300)
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


def make_shared_cases() -> Iterator[tuple[str, Case]]:
    """Runs that share a limit: on two machines, and on one."""
    runs = {
        "two {}": (Run(), Run()),
        "two {}, 60 s apart": (Run(), Run(60)),
        "three {}, one late, one short": (Run(), Run(60), Run(end=240)),
        "two {}, one with little work": (Run(), Run(60)),
    }
    for (name, who), rpm, is_sharing in itertools.product(runs.items(), (120, 600, 3000), (False, True)):
        rates = (None, rpm / 60 * 0.2) if "little" in name else (None,) * len(who)
        case = Case(rpm, runs=tuple(map(_with_rate, who, rates)), is_sharing=is_sharing, seconds=420)
        yield name.format(rpm) + (", on one machine" if is_sharing else ""), case
    case = Case(600, stated_on="all", runs=runs["two {}, 60 s apart"], seconds=420)
    yield "two 600, stated", case
    yield "two 600, stated, on one machine", replace(case, is_sharing=True)


def _with_rate(run: Run, rate: float | None) -> Run:
    return replace(run, rate=rate)


def make_other_cases() -> Iterator[tuple[str, Case]]:
    """A limit by tokens, of which requests take different amounts, and two models with a limit each."""
    for rpm, spread in itertools.product((120, 600, 3000), (0.3, 0.8)):
        yield f"tokens {rpm}, {spread:.0%} apart", Case(rpm, amounts=(1 - spread, 1 + spread), seconds=300)
    for limits in ((600, 120), (3000, 60)):
        case = Case(limits[0], runs=(Run(), Run()), second_limit=limits[1], seconds=300)
        yield f"models {limits[0]} and {limits[1]}", case


CASES = dict(itertools.chain(make_noise_cases(), make_limit_cases(), make_shared_cases(), make_other_cases()))


def format_line(name: str, rows: list[tuple[float, ...]]) -> str:
    """One line of the table."""
    columns = list(zip(*rows, strict=True))
    mean = [sum(column) / len(column) for column in columns]
    if name.startswith(("two", "three")):
        return (
            f"smaller share {min(columns[0]):.2f} ({mean[0]:.2f}) | used {min(columns[1]):.2f} ({mean[1]:.2f}) "
            f"| refused {max(columns[2]):.1%} ({mean[2]:.1%}), from the start {mean[3]:.1%}"
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
        results = [
            (name, [pool.submit(measure, case, seed) for seed in range(_FIRST_SEED, _FIRST_SEED + _SEEDS)])
            for name, case in cases
        ]
        for name, futures in results:
            sys.stdout.write(f"| {name} | {format_line(name, [future.result() for future in futures])} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
