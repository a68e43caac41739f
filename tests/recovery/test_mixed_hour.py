"""An hour of everything mixed, with a SIGKILL every five minutes.

    uv run pytest -m proof -n 0 -k hour

MEDIAMILL_PROOF_SECONDS and MEDIAMILL_PROOF_KILL_SECONDS make it shorter; the table of minutes goes where
MEDIAMILL_PROOF_FIGURES says (else to the folder ``mediamill-proof`` of the system's temporary ones).
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.chaos.figures import keep_figures, write_minutes
from tests.helpers.chaos.jobs import ChaosJob
from tests.helpers.chaos.money import Ledger, find_item_faults, find_money_faults
from tests.helpers.chaos.pace import MINUTE_SECONDS, Course, Minute, divide_into_minutes, measure_amplification
from tests.helpers.chaos.plan import Limit, Phase, Plan
from tests.helpers.chaos.process import Request, running_chaos_server

SECONDS = float(os.environ.get("MEDIAMILL_PROOF_SECONDS", "3600"))
KILL_SECONDS = float(os.environ.get("MEDIAMILL_PROOF_KILL_SECONDS", "300"))
PER_MINUTE = 1200
"""The hidden limit: so low that the machine is no excuse."""
FAULTS = {
    "rate_limit": 0.01,
    "rate_limit_hint": 0.01,
    "503": 0.02,
    "500": 0.01,
    "reset": 0.01,
    "reset_in_body": 0.01,
    "bad_json": 0.01,
    "empty": 0.005,
    "error_in_200": 0.005,
    "slow": 0.01,
    "hang": 0.0005,
}


def build_mixed_plan(seconds: float) -> Plan:
    """All faults all the time; four outages, a time of many faults, and a limit that is halved and doubled."""
    outage = min(60.0, seconds / 16)
    outages = {"refused": 0.1, "503": 0.25, "hang": 0.4, "reset": 0.9}
    phases = [Phase(seconds * share, seconds * share + outage, kind) for kind, share in outages.items()]
    phases.append(Phase(seconds * 0.5, seconds * 0.58, "503", 0.2))
    changes = {0.0: PER_MINUTE, 0.62: PER_MINUTE / 2, 0.7: PER_MINUTE, 0.75: PER_MINUTE * 2, 0.83: PER_MINUTE}
    limits = tuple(Limit(limit, begin=seconds * share) for share, limit in changes.items())
    return Plan(seed=15, latency=0.3, shares=FAULTS, phases=tuple(phases), limits=limits)


@pytest.mark.proof
@pytest.mark.usefixtures("alone")
def test_an_hour_of_everything_with_kills_ends_every_item(tmp_path: Path) -> None:
    course = Course(build_mixed_plan(SECONDS), in_flight=64)
    items = int(1.1 * course.compute_possible(0.0, SECONDS))  # more than can be done in that time
    with running_chaos_server(course.plan, tmp_path) as server:
        job = ChaosJob(tmp_path, server.origin, items, options=("--timeout", "120s", "--wait-for-provider", "10m"))
        kills, codes = run_with_kills(job)
        began_at = server.read_began_at()
    requests, ledger = server.read_requests(), Ledger.read(job.out)
    course = replace(course, kills=[kill - began_at for kill in kills])
    minutes = divide_into_minutes(course, requests, min(SECONDS, find_end_of_work(requests, items)))
    minutes = add_what_was_said(minutes, job, began_at)
    faults = find_item_faults(ledger, job.item_ids) + find_money_faults(ledger, requests)
    bill = sum(request.billed_usd for request in requests)
    summary = {
        "items": items,
        "results": len(ledger.results),
        "failures": len(ledger.failures),
        "kills": len(kills),
        "exits": str(codes),
        "requests": len(requests),
        "amplification": measure_amplification(requests),
        "bill": str(bill),
        "known_usd": str(ledger.known_usd),
        "unknown_usd": str(ledger.unknown_usd),
        "ended_after": max(request.arrived_at for request in requests),
        "answered_of_possible": sum(m.answered for m in minutes) / sum(m.possible for m in minutes),
        "minutes_below_half": [minute.number for minute in minutes if minute.is_below_half],
    }
    keep_figures("hour", seconds=SECONDS, **summary)
    write_minutes(f"hour-{SECONDS:.0f}", minutes, [f"{name}: {value}" for name, value in summary.items()] + faults)
    assert codes[-1] == 0, codes
    assert set(codes[:-1]) <= {-9}, "a run ended by itself before its items did"
    assert len(kills) >= SECONDS // KILL_SECONDS - 1
    assert not faults
    assert not ledger.failures
    assert not summary["minutes_below_half"]


def run_with_kills(job: ChaosJob) -> tuple[list[float], list[int]]:
    """Run the job until it ends, killed every KILL_SECONDS of the first SECONDS; the kills' times, the exit codes."""
    begin = time.monotonic()
    kills: list[float] = []
    codes: list[int] = []
    while True:
        with job.running() as process:
            next_kill = begin + KILL_SECONDS * (len(kills) + 1)
            is_last = next_kill >= begin + SECONDS
            try:
                codes.append(process.wait(2 * SECONDS if is_last else max(0.0, next_kill - time.monotonic())))
            except subprocess.TimeoutExpired:
                process.kill()
                kills.append(time.monotonic())
                codes.append(process.wait())
                if is_last:
                    return kills, codes
                continue
        if codes[-1] == 0 or len(codes) > len(kills) + 20:
            return kills, codes


def find_end_of_work(requests: Sequence[Request], items: int) -> float:
    """When so few items were left that the last of them could not fill a run."""
    ends = sorted(request.ended_at for request in requests if request.is_answered and request.ended_at is not None)
    return ends[min(len(ends), int(0.97 * items)) - 1]


def add_what_was_said(minutes: Sequence[Minute], job: ChaosJob, began_at: float) -> list[Minute]:
    """The minutes with what the run's log says in them: of the provider, and how often limits were changed."""
    wall_began_at = time.time() - (time.monotonic() - began_at)
    said: dict[int, list[dict[str, Any]]] = {}
    for record in job.read_log():
        number = int((read_time(record) - wall_began_at) // MINUTE_SECONDS) + 1
        if record["level"] == "WARNING" and record.get("event") != "retry":
            said.setdefault(number, []).append(record)
    return [replace(minute, said=shorten(said.get(minute.number, []))) for minute in minutes]


def shorten(records: Sequence[dict[str, Any]], count: int = 4) -> list[str]:
    """The first messages that are not of limits, and the range of each limit."""
    messages = [record["message"][:120] for record in records if record.get("event") != "limit"]
    more = [f"{len(messages) - count} more"] if len(messages) > count else []
    for limit in ("rate", "concurrency"):
        values = [record["new"] for record in records if record.get("limit") == limit and record.get("new")]
        more += [f"{limit} {min(values):g} to {max(values):g}"] if values else []
    return messages[:count] + more


def read_time(record: dict[str, Any]) -> float:
    """A log record's time in Unix seconds."""
    return datetime.fromisoformat(record["time"]).astimezone(UTC).timestamp()


def test_limits_are_told_by_their_range_and_work_ends_before_its_last_items() -> None:
    records = [{"event": "limit", "limit": "rate", "new": new, "message": ""} for new in (20.0, 5.0, 9.0)]
    records += [{"event": "provider_out", "message": f"no answer {n}"} for n in range(6)]
    assert shorten(records, 2) == ["no answer 0", "no answer 1", "4 more", "rate 5 to 20"]
    answers = [Request(n, n + 0.5, "ok", f"question {n}", "chaos", 1, Decimal(0)) for n in range(100)]
    assert find_end_of_work(answers, 100) == 96.5
