"""The judge finds what is wrong: made logs and ledgers of bad clients, each beside that of a good one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.chaos.jobs import ChaosJob
from tests.helpers.chaos.money import Ledger, find_item_faults, find_money_faults
from tests.helpers.chaos.pace import (
    Course,
    count_answers,
    divide_into_minutes,
    measure_amplification,
    measure_bulk_rate,
    measure_refused_share,
)
from tests.helpers.chaos.plan import FAULTS, Limit, Phase, Plan, compute_price
from tests.helpers.chaos.process import Request, running_chaos_server

IDS = [f"item-{n:06d}" for n in range(5)]
MAX_USD = Decimal("0.0001")


def make_request(item_id: str, kind: str = "ok", nth: int = 1, at: float = 0.0) -> Request:
    prompt = f"question {item_id}"
    billed = compute_price(prompt) if kind in ("ok", "bad_json") else Decimal(0)
    return Request(at, at + 0.2, kind, prompt, "chaos", nth, billed)


def make_call(item_id: str, outcome: str = "replied", error_kind: str | None = None) -> dict[str, Any]:
    cost = {"replied": compute_price(f"question {item_id}"), "rejected": Decimal(0), "unknown": None}[outcome]
    return {
        "item_ids": [item_id],
        "outcome": outcome,
        "error_kind": error_kind,
        "cost_usd": cost,
        "cost_max_usd": cost if cost is not None else MAX_USD,
    }


def make_good_run() -> tuple[Ledger, list[Request]]:
    """Five items: one was refused first, one had a broken reply, one met a closed door."""
    requests = [*map(make_request, IDS), make_request(IDS[0], "503"), make_request(IDS[1], "bad_json")]
    calls = [*map(make_call, IDS), make_call(IDS[0], "rejected", "server_error")]
    calls += [make_call(IDS[1], "unknown", "bad_body"), make_call(IDS[2], "rejected", "refused")]
    return Ledger([{"item_id": item_id} for item_id in IDS], [], calls), requests


def test_a_good_run_has_no_faults() -> None:
    ledger, requests = make_good_run()
    assert find_item_faults(ledger, IDS) == []
    assert find_money_faults(ledger, requests) == []


BAD_RUNS: dict[str, tuple[str, Callable[[Ledger, list[Request]], tuple[Ledger, list[Request]]]]] = {
    "a lost item": ("without an end: 1", lambda run, log: (replace(run, results=run.results[1:]), log)),
    "a doubled item": ("ended twice", lambda run, log: (replace(run, failures=run.results[:1]), log)),
    "an item of nobody": ("nobody wanted", lambda run, log: (replace(run, failures=[{"item_id": "x"}]), log)),
    "a request off the books": ("more requests than", lambda run, log: (run, [*log, make_request(IDS[3], "503")])),
    "purchases off the books": ("more than the ledger", lambda run, log: (run, [*log, *map(make_request, IDS * 2)])),
    "a row off the books": ("more requests than", lambda run, log: (replace(run, calls=run.calls[1:]), log)),
    "an answer bought twice": (
        "bought again",
        lambda run, log: (replace(run, calls=[*run.calls, make_call(IDS[4])]), [*log, make_request(IDS[4], nth=2)]),
    ),
    "a cost that nobody billed": ("the bill is", lambda run, log: (run, log[1:])),
    "a broken reply booked as free": (
        "the bill has more than the ledger",
        lambda run, log: (
            replace(run, calls=[make_call(IDS[1], "rejected") if not row["cost_usd"] else row for row in run.calls]),
            log,
        ),
    ),
}


@pytest.mark.parametrize("name", BAD_RUNS)
def test_a_bad_run_is_found_out(name: str) -> None:
    fault, spoil = BAD_RUNS[name]
    ledger, requests = spoil(*make_good_run())
    assert fault in " ".join(find_item_faults(ledger, IDS) + find_money_faults(ledger, requests))


def test_an_answer_that_a_kill_lost_may_be_bought_again() -> None:
    ledger, requests = make_good_run()
    requests.append(make_request(IDS[4], nth=2))
    ledger = replace(ledger, calls=[*ledger.calls, make_call(IDS[4], "unknown", None)])
    assert find_money_faults(ledger, requests) == []


def make_steady_log(per_second: float, seconds: int, quiet: tuple[float, float] = (0.0, 0.0)) -> list[Request]:
    """Answers at an even pace, none in the ``quiet`` time."""
    count = int(per_second * seconds)
    times = [n / per_second for n in range(count)]
    return [make_request(f"item-{n:06d}", at=at) for n, at in enumerate(times) if not quiet[0] <= at < quiet[1]]


def test_a_minute_below_half_is_found() -> None:
    course = Course(Plan(limits=(Limit(600),)), in_flight=64)
    minutes = divide_into_minutes(course, make_steady_log(10, 180, quiet=(60.0, 95.0)), 180.0)
    assert [minute.number for minute in minutes if minute.is_below_half] == [2]
    assert [minute.possible for minute in minutes] == [pytest.approx(600)] * 3


@pytest.mark.parametrize("kind", ["refused", "503", "hang", "reset"])
def test_an_outage_explains_its_own_time_and_ten_seconds_more(kind: str) -> None:
    course = Course(Plan(limits=(Limit(600),), phases=(Phase(60.0, 90.0, kind),)), in_flight=64)
    back_in_time = divide_into_minutes(course, make_steady_log(10, 180, quiet=(60.0, 100.0)), 180.0)
    assert not [minute for minute in back_in_time if minute.is_below_half]
    too_late = divide_into_minutes(course, make_steady_log(10, 180, quiet=(60.0, 112.0)), 180.0)
    assert [minute.number for minute in too_late if minute.is_below_half] == [2]


def test_kills_and_changed_limits_explain_some_seconds() -> None:
    plan = Plan(limits=(Limit(600), Limit(1200, begin=60.0), Limit(600, begin=120.0)))
    assert Course(plan, 64).compute_possible(60.0, 120.0) == pytest.approx(30 * 10 + 30 * 20, rel=0.02)
    assert Course(plan, 64).compute_possible(120.0, 180.0) == pytest.approx(600)
    assert Course(plan, 64, kills=[10.0]).compute_possible(0.0, 60.0) == pytest.approx(540)
    assert Course(plan, 64, kills=[10.0]).list_causes(0.0, 60.0) == ["kill"]
    assert Course(plan, 64).list_causes(60.0, 120.0) == ["limit 1200"]


@pytest.mark.parametrize(
    ("plan", "per_second"),
    [
        (Plan(), 320.0),
        (Plan(shares={"503": 0.3}), 224.0),
        (Plan(shares={"slow": 0.1}), 64 / (0.9 * 0.2 + 0.1 * 4.0)),
        (Plan(shares={"rate_limit": 0.02, "bad_json": 0.08}, limits=(Limit(1200),)), 18.0),
        (Plan(shares={"500": 0.5}, phases=(Phase(0.0, 9.0, "reset", 0.2),)), 320 * 0.8 * 0.5),
        (Plan(limits=(Limit(12_600, unit="tokens"),)), 10.0),
    ],
)
def test_what_is_possible_follows_from_the_plan(plan: Plan, per_second: float) -> None:
    assert Course(plan, in_flight=64).compute_rate(0.0) == pytest.approx(per_second)


def test_only_the_first_answer_to_a_prompt_counts() -> None:
    requests = [make_request("a", at=1.0), make_request("a", nth=2, at=2.0), make_request("b", at=3.0)]
    assert count_answers(requests, 0.0, 10.0) == 2
    assert count_answers(requests, 2.0, 3.0) == 0
    assert measure_amplification(requests) == 1.5


def test_the_rate_of_the_bulk_leaves_out_the_last_few() -> None:
    late = make_request("late", at=100.0)
    assert measure_bulk_rate([*make_steady_log(10, 10), late]) == pytest.approx(10, rel=0.05)


def test_refusals_at_random_are_not_those_of_a_limit() -> None:
    requests = [make_request("a", "limit"), make_request("b", "rate_limit"), make_request("c"), make_request("d")]
    assert measure_refused_share(requests, 0.0, 1.0) == 0.25


@pytest.mark.long
def test_a_mix_of_faults_and_a_kill_pass_the_judge(tmp_path: Path) -> None:
    plan = Plan(latency=0.05, shares={kind: 0.01 if kind in ("slow", "hang") else 0.02 for kind in FAULTS})
    with running_chaos_server(plan, tmp_path) as server:
        job = ChaosJob(tmp_path, server.origin, 300, options=("--timeout", "5s"))
        with job.running() as process:
            while len(server.read_requests()) < 100:
                assert process.poll() is None
            process.kill()
        assert job.run(timeout=120) == 0
    requests, ledger = server.read_requests(), Ledger.read(job.out)
    assert find_item_faults(ledger, job.item_ids) == []
    assert find_money_faults(ledger, requests) == []
    assert find_money_faults(replace(ledger, calls=ledger.calls[:-1]), requests)
