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
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.chaos.figures import keep_figures, write_minutes
from tests.helpers.chaos.jobs import ChaosJob
from tests.helpers.chaos.money import Ledger, find_item_faults, find_money_faults
from tests.helpers.chaos.pace import MINUTE_SECONDS, Course, Minute, divide_into_minutes, measure_amplification
from tests.helpers.chaos.plan import Limit, Phase, Plan
from tests.helpers.chaos.process import running_chaos_server

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
    items = int(course.compute_possible(0.0, SECONDS))
    with running_chaos_server(course.plan, tmp_path) as server:
        job = ChaosJob(tmp_path, server.origin, items, options=("--timeout", "120s", "--wait-for-provider", "10m"))
        kills, codes = run_with_kills(job)
        began_at = server.read_began_at()
    requests, ledger = server.read_requests(), Ledger.read(job.out)
    course = replace(course, kills=[kill - began_at for kill in kills])
    minutes = divide_into_minutes(course, requests, SECONDS)
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


def add_what_was_said(minutes: Sequence[Minute], job: ChaosJob, began_at: float) -> list[Minute]:
    """The minutes with what the run's log says in them beside single retries."""
    wall_began_at = time.time() - (time.monotonic() - began_at)
    said: dict[int, list[str]] = {}
    for record in job.read_log():
        number = int((read_time(record) - wall_began_at) // MINUTE_SECONDS) + 1
        if record["level"] == "WARNING" and record.get("event") != "retry":
            said.setdefault(number, []).append(record["message"])
    return [replace(minute, said=shorten(said.get(minute.number, []))) for minute in minutes]


def shorten(messages: list[str], count: int = 3) -> list[str]:
    """The first messages, and how many more there are."""
    more = [f"{len(messages) - count} more"] if len(messages) > count else []
    return [message[:160] for message in messages[:count]] + more


def read_time(record: dict[str, Any]) -> float:
    """A log record's time in Unix seconds."""
    return datetime.fromisoformat(record["time"]).astimezone(UTC).timestamp()
