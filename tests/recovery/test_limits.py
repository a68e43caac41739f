"""Limits that the server has and does not say: used nearly whole, rarely overrun, followed when they change."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack, suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from tests.helpers.chaos.figures import keep_figures
from tests.helpers.chaos.jobs import ChaosJob
from tests.helpers.chaos.money import Ledger, find_money_faults
from tests.helpers.chaos.pace import MEAN_TOKENS, MINUTE_SECONDS, count_answers, measure_refused_share
from tests.helpers.chaos.plan import Limit, Plan
from tests.helpers.chaos.process import ChaosProcess, Request, running_chaos_server

MINUTES = 4
ZERO = Decimal(0)
LOW_LIMITS = (20, 60, 120, 300, 600)
START_SECONDS = 30.0
"""What a process needs at most on a busy machine until its first request."""
FIRST_SECONDS = 10.0
"""The first burst: what is refused in these seconds."""
MIN_USED, MAX_REFUSED = 0.95, 0.01


def test_shares_of_a_limit_are_computed_from_the_log() -> None:
    answered = [Request(n * 0.1, n * 0.1 + 0.05, "ok", f"question {n}", "chaos", 1, ZERO) for n in range(1200)]
    refused = [Request(n * 1.0, n * 1.0, "limit", f"question {n}", "chaos", 2, ZERO) for n in range(120)]
    used, share, burst = measure_limit([*answered, *refused], 600.0, minutes=2)
    assert (round(used, 2), round(share, 3), burst) == (1.0, round(60 / 660, 3), 10)


@pytest.mark.proof
@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("window", ["bucket", "sliding"])
def test_low_limits_are_used_whole(window: str, tmp_path: Path) -> None:
    """All at once, each with a server and a run of its own: together they are not half a machine's work."""
    plans = {limit: Plan(limits=(Limit(limit, window=window),)) for limit in LOW_LIMITS}
    requests = run_side_by_side(plans, tmp_path)
    misses = []
    for limit in LOW_LIMITS:
        used, refused, burst = measure_limit(requests[limit], limit)
        keep_figures(f"limit-{window}-{limit}", used=used, refused=refused, burst=burst)
        misses += [f"{limit} a minute: {miss}" for miss in list_misses(used, refused)]
    assert not misses


@pytest.mark.proof
@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("window", ["bucket", "sliding", "fixed", "second"])
@pytest.mark.parametrize("limit", [3000, 6000])
def test_high_limits_are_used_whole(limit: int, window: str, tmp_path: Path) -> None:
    plans = {limit: Plan(limits=(Limit(limit, window=window),))}
    requests = run_side_by_side(plans, tmp_path)[limit]
    used, refused, burst = measure_limit(requests, limit)
    keep_figures(f"limit-{window}-{limit}", used=used, refused=refused, burst=burst)
    assert not list_misses(used, refused)


@pytest.mark.proof
@pytest.mark.usefixtures("alone")
def test_stated_limits_are_used_whole(tmp_path: Path) -> None:
    plans = {limit: Plan(limits=(Limit(limit),), is_stated=True) for limit in LOW_LIMITS}
    requests = run_side_by_side(plans, tmp_path)
    misses = []
    for limit in LOW_LIMITS:
        used, refused, burst = measure_limit(requests[limit], limit)
        keep_figures(f"limit-stated-{limit}", used=used, refused=refused, burst=burst)
        misses += [f"{limit} a minute: {miss}" for miss in list_misses(used, refused)]
    assert not misses


@pytest.mark.proof
@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(("before", "after"), [(1200, 600), (600, 1200)], ids=["halved", "doubled"])
def test_a_limit_that_changes_is_followed_within_30_seconds(before: int, after: int, tmp_path: Path) -> None:
    changed_at = 2 * MINUTE_SECONDS
    plans = {after: Plan(limits=(Limit(before), Limit(after, begin=changed_at)))}
    requests = run_side_by_side(plans, tmp_path, items=6000)[after]
    begin = changed_at + 30.0
    used = count_answers(requests, begin, begin + MINUTE_SECONDS) / after
    refused = measure_refused_share(requests, begin, begin + MINUTE_SECONDS)
    keep_figures(f"limit-changed-{before}-{after}", used=used, refused=refused)
    assert used >= 0.9
    assert refused <= 0.05


@pytest.mark.proof
@pytest.mark.usefixtures("alone")
def test_two_runs_share_one_key_fairly(tmp_path: Path) -> None:
    limit = 600
    with running_chaos_server(Plan(limits=(Limit(limit),)), tmp_path) as server:
        jobs = [ChaosJob(tmp_path, server.origin, limit * (MINUTES + 2), name=name) for name in ("first", "second")]
        run_for(jobs, MINUTES * MINUTE_SECONDS)
    requests = server.read_requests()
    used, refused, burst = measure_limit(requests, limit)
    answers = [
        count_answers([r for r in requests if job.name in r.prompt], MINUTE_SECONDS, MINUTES * MINUTE_SECONDS)
        for job in jobs
    ]
    keep_figures("two-runs", used=used, refused=refused, burst=burst, less=min(answers) / sum(answers))
    assert not list_misses(used, refused)
    assert min(answers) >= 0.35 * sum(answers)


@pytest.mark.proof
@pytest.mark.usefixtures("alone")
def test_two_models_have_limits_of_their_own(tmp_path: Path) -> None:
    limits = {"chaos-a": 600, "chaos-b": 120}
    plan = Plan(limits=tuple(Limit(limit, model=model) for model, limit in limits.items()))
    with running_chaos_server(plan, tmp_path) as server:
        shared = ("--journal", str(tmp_path / "shared.sqlite"))
        jobs = [ChaosJob(tmp_path, server.origin, 600 * (MINUTES + 2), name=m, model=m, options=shared) for m in limits]
        run_for(jobs, MINUTES * MINUTE_SECONDS)
    misses = []
    for model, limit in limits.items():
        used, refused, burst = measure_limit([r for r in server.read_requests() if r.model == model], limit)
        keep_figures(f"two-models-{model}", used=used, refused=refused, burst=burst)
        misses += [f"{model}: {miss}" for miss in list_misses(used, refused)]
    assert not misses


@pytest.mark.proof
@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("is_stated", [False, True], ids=["hidden", "stated"])
def test_a_limit_by_tokens_is_used_whole(is_stated: bool, tmp_path: Path) -> None:
    """A stated one is kept by what requests may use at most, so how much of it they use depends on `--max-tokens`."""
    per_minute = 12_600
    plans = {600: Plan(limits=(Limit(per_minute, unit="tokens"),), is_stated=is_stated)}
    requests = run_side_by_side(plans, tmp_path)[600]
    used, refused, burst = measure_limit(requests, per_minute / MEAN_TOKENS)
    keep_figures(f"limit-tokens-{'stated' if is_stated else 'hidden'}", used=used, refused=refused, burst=burst)
    assert refused <= MAX_REFUSED
    if not is_stated:
        assert used >= MIN_USED


def run_side_by_side(plans: dict[int, Plan], folder: Path, items: int | None = None) -> dict[int, list[Request]]:
    """Run each plan's server and a job on it for some minutes, all at the same time; what the servers saw."""
    servers: dict[int, ChaosProcess] = {}
    jobs = []
    with ExitStack() as stack:
        for limit, plan in plans.items():
            place = folder / str(limit)
            place.mkdir()
            servers[limit] = stack.enter_context(running_chaos_server(replace(plan, seed=limit), place))
            jobs.append(ChaosJob(place, servers[limit].origin, items or limit * (MINUTES + 2)))
        run_for(jobs, MINUTES * MINUTE_SECONDS)
    for (_, server), job in zip(servers.items(), jobs, strict=True):
        assert not find_money_faults(Ledger.read(job.out), server.read_requests())
    return {limit: server.read_requests() for limit, server in servers.items()}


def run_for(jobs: list[ChaosJob], seconds: float) -> None:
    """Run jobs side by side for that long from their first request, then end them in an orderly way."""
    with ExitStack() as stack:
        processes = [stack.enter_context(job.running()) for job in jobs]
        with suppress(subprocess.TimeoutExpired):
            processes[0].wait(seconds + START_SECONDS)
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(60)


def measure_limit(requests: list[Request], limit: float, minutes: int = MINUTES) -> tuple[float, float, int]:
    """From minute 2 on the share of the limit that was used and of requests refused; refusals of the first burst."""
    begin, end = MINUTE_SECONDS, minutes * MINUTE_SECONDS
    used = count_answers(requests, begin, end) / (limit * (minutes - 1))
    burst = sum(request.kind == "limit" and request.arrived_at < FIRST_SECONDS for request in requests)
    return used, measure_refused_share(requests, begin, end), burst


def list_misses(used: float, refused: float) -> list[str]:
    """What is less than promised from the second minute on."""
    misses = [] if used >= MIN_USED else [f"{used:.1%} used"]
    return misses if refused <= MAX_REFUSED else [*misses, f"{refused:.1%} refused"]
