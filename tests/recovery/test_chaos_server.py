"""The chaos server keeps to its plan: shares, limits and bills are as stated, and the same in every run."""

from __future__ import annotations

import asyncio
import io
import json
from collections import Counter
from decimal import Decimal

import pytest

from tests.helpers.chaos.plan import BILLED_FAULTS, FAULTS, Limit, Phase, Plan, compute_price
from tests.helpers.chaos.server import ChaosServer
from tests.helpers.chaos.windows import LimitWindows

PROMPTS = [f"question item-{n:06d}" for n in range(2000)]


@pytest.mark.parametrize("kind", FAULTS)
def test_a_share_of_all_requests_meets_a_fault(kind: str) -> None:
    met = Counter(Plan(shares={kind: 0.2}).choose_fault(prompt, 1, 0.0) for prompt in PROMPTS)
    assert 0.17 <= met[kind] / len(PROMPTS) <= 0.23
    assert {*met} == {kind, "ok"}


def test_a_request_meets_the_same_fault_whatever_was_before() -> None:
    plan = Plan(shares=dict.fromkeys(FAULTS, 0.08))
    forward = {(prompt, nth): plan.choose_fault(prompt, nth, 0.0) for prompt in PROMPTS for nth in (1, 2)}
    backward = {(p, nth): plan.choose_fault(p, nth, 0.0) for nth in (2, 1) for p in reversed(PROMPTS)}
    assert forward == backward
    other = Plan(seed=2, shares=plan.shares)
    assert any(other.choose_fault(*request, 0.0) != kind for request, kind in forward.items())


def test_a_phase_comes_before_the_shares_and_ends() -> None:
    plan = Plan(shares={"500": 0.5}, phases=(Phase(10.0, 20.0, "hang"),))
    kinds = {now: {plan.choose_fault(prompt, 1, now) for prompt in PROMPTS} for now in (9.9, 10.0, 19.9, 20.0)}
    assert kinds == {9.9: {"ok", "500"}, 10.0: {"hang"}, 19.9: {"hang"}, 20.0: {"ok", "500"}}


@pytest.mark.parametrize("window", ["bucket", "sliding", "fixed", "second"])
@pytest.mark.parametrize("unit", ["requests", "tokens"])
def test_a_limit_accepts_what_it_says_and_no_more(window: str, unit: str) -> None:
    windows, limit = LimitWindows(), Limit(120, window=window, unit=unit)
    amounts = {"requests": 1.0, "tokens": 2.0}
    offered = 2400  # 20 a second, for two minutes
    accepted = sum(windows.accept([limit], n / 20, amounts) for n in range(offered))
    burst = 120 / 60 if window == "bucket" else 0
    assert accepted * amounts[unit] == pytest.approx(240 + burst, abs=2.1 * amounts[unit])


def test_a_refused_request_counts_under_no_limit() -> None:
    windows, limits = LimitWindows(), [Limit(60, window="fixed"), Limit(6, window="fixed", model="chaos")]
    assert sum(windows.accept(limits, 1.0, {"requests": 1}) for _ in range(20)) == 6
    assert sum(windows.accept(limits[:1], 1.0, {"requests": 1}) for _ in range(100)) == 54


def test_a_changed_limit_takes_the_place_of_the_one_before() -> None:
    plan = Plan(limits=(Limit(600), Limit(300, begin=60.0), Limit(10, model="other")))
    assert [limit.per_minute for limit in plan.find_limits(59.0, "chaos")] == [600]
    assert [limit.per_minute for limit in plan.find_limits(60.0, "chaos")] == [300]
    assert {limit.per_minute for limit in plan.find_limits(60.0, "other")} == {300, 10}


def test_a_plan_survives_its_way_to_the_server() -> None:
    plan = Plan(shares={"500": 0.1}, phases=(Phase(1.0, 2.0, "refused"),), limits=(Limit(60, unit="tokens"),))
    assert Plan.from_json(plan.to_json()) == plan
    with pytest.raises(ValueError, match="no such faults"):
        Plan(shares={"504": 0.1})


async def test_the_log_has_every_request_and_what_it_cost() -> None:
    kinds = [kind for kind in FAULTS if kind != "hang"]
    log = io.StringIO()
    server = ChaosServer(Plan(latency=0.001, shares=dict.fromkeys(kinds, 1 / (len(kinds) + 1))), log)
    port = await server.open()
    statuses = await asyncio.gather(*(post(port, prompt) for prompt in PROMPTS[:150]))
    await server.close()
    records = {record["prompt"]: record for record in map(json.loads, log.getvalue().splitlines())}
    assert len(records) == 150
    assert {record["kind"] for record in records.values()} == {*kinds, "ok"}
    for prompt, status in zip(PROMPTS, statuses, strict=False):
        kind = records[prompt]["kind"]
        is_billed = kind in (*BILLED_FAULTS, "ok", "slow")
        assert Decimal(records[prompt]["billed_usd"]) == (compute_price(prompt) if is_billed else 0)
        assert status == {"rate_limit": 429, "rate_limit_hint": 429, "503": 503, "500": 500, "reset": 0}.get(kind, 200)


async def post(port: int, prompt: str) -> int:
    """Post one prompt without ado; the reply's status, 0 for none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"model": "chaos", "messages": [{"role": "user", "content": prompt}]}).encode()
    writer.write(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    try:
        return int((await reader.readline()).split()[1])
    except ConnectionError:
        return 0
    finally:
        writer.close()
