"""Items: their shards, their outcomes, and which of them the next run does again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest

from mediamill.tasks.domain import Failure, Item, Result
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.planning import PlanCounts
from tests.journal.stores import Store, make_item


async def plan(journal: Journal, items: Sequence[Item], **options: Any) -> PlanCounts:
    return await journal.items.plan(items, 10, **options)


async def record_result(journal: Journal, number: int, shard: int = 0, **columns: Any) -> None:
    planned = make_item(number)
    await journal.outcomes.record(planned, shard, Result(planned.item_id, {}), {"item_id": planned.item_id, **columns})


async def record_failure(
    journal: Journal, number: int, shard: int = 0, *, kind: str = "bad_input", transient: bool = False
) -> None:
    planned = make_item(number)
    failure = Failure(planned.item_id, kind, "why", transient=transient)
    await journal.outcomes.record(planned, shard, failure, {"item_id": planned.item_id, "error_kind": kind})


async def count_pending(journal: Journal) -> dict[int, int]:
    return {w.shard: w.pending for w in await journal.items.find_shards_with_work()}


async def commit_all_parts(journal: Journal) -> None:
    """Commit the part of every shard, so that none is dirty."""
    for shard in await count_pending(journal):
        await journal.parts.commit([], 1, shard=shard)


def parse_rows(encoded: Any) -> list[dict[str, Any]]:
    return [orjson.loads(getattr(each, "row", each)) for each in encoded]


async def test_shards_fill_up_and_a_later_runs_items_get_new_shards(store: Store) -> None:
    first = await store.open()
    assert (await plan(first, [make_item(n) for n in range(25)])).new == 25
    assert await count_pending(first) == {0: 10, 1: 10, 2: 5}
    second = await store.open()
    counts = await plan(second, [make_item(n) for n in range(28)])
    assert (counts.new, counts.retried) == (3, 25)
    assert await count_pending(second) == {0: 10, 1: 10, 2: 5, 3: 3}
    assert [i.item_id for i in await second.items.load_pending(3)] == ["i000025", "i000026", "i000027"]


async def test_batches_of_one_run_fill_the_same_shard(store: Store) -> None:
    journal = await store.open()
    for start in range(0, 12, 3):
        await plan(journal, [make_item(n) for n in range(start, start + 3)])
    assert await count_pending(journal) == {0: 10, 1: 2}


async def test_a_batch_is_planned_when_another_waiting_operation_fails(store: Store) -> None:
    journal = await store.open()

    def fail(_: object) -> None:
        raise ValueError("mine alone")

    results = await asyncio.gather(
        plan(journal, [make_item(n) for n in range(3)]), journal.write(fail), return_exceptions=True
    )
    assert isinstance(results[0], PlanCounts)
    await plan(journal, [make_item(n) for n in range(3, 12)])
    assert await count_pending(journal) == {0: 10, 1: 2}


async def test_a_rerun_does_new_changed_and_transiently_failed_items(store: Store) -> None:
    first = await store.open()
    await plan(first, [make_item(n) for n in range(6)])
    await record_result(first, 0)
    await record_result(first, 1)
    await record_failure(first, 2)
    await record_failure(first, 3)
    await record_failure(first, 4, kind="rate_limit", transient=True)
    await commit_all_parts(first)
    second = await store.open()
    now = [
        make_item(0),
        make_item(1, fingerprint="g"),
        make_item(2),
        make_item(3, fingerprint="g"),
        make_item(4),
        make_item(5),
        make_item(6),
    ]
    assert await plan(second, now) == PlanCounts(new=1, changed=2, retried=2, kept=2, duplicates=[])
    assert await count_pending(second) == {0: 4, 1: 1}
    assert [i.index for i in await second.items.load_pending(0)] == [1, 3, 4, 5]


async def test_an_item_gone_from_the_source_keeps_its_outcome_and_is_not_run(store: Store) -> None:
    first = await store.open()
    await plan(first, [make_item(0), make_item(1)])
    await record_result(first, 0)
    await commit_all_parts(first)
    second = await store.open()
    await plan(second, [make_item(2)])
    assert await count_pending(second) == {1: 1}
    assert [row["item_id"] for row in parse_rows(second.outcomes.stream_results(0))] == ["i000000"]


async def test_duplicate_ids_are_reported_within_and_between_batches(store: Store) -> None:
    journal = await store.open()
    within = await plan(journal, [make_item(0), make_item(1), make_item(2, item_id="i000000")])
    assert within.duplicates == [("i000000", 0, 2)]
    between = await plan(journal, [make_item(3, item_id="i000001"), make_item(4)])
    assert between.duplicates == [("i000001", 1, 3)]
    assert await count_pending(journal) == {0: 3}


async def test_refresh_makes_finished_items_pending_with_a_new_sample(store: Store) -> None:
    first = await store.open()
    await plan(first, [make_item(0)])
    await record_result(first, 0)
    second = await store.open()
    await plan(second, [make_item(0)], refresh=True)
    assert [i.sample for i in await second.items.load_pending(0)] == [1]


async def test_a_planned_item_is_read_back_unchanged(store: Store) -> None:
    journal = await store.open()
    planned = Item(
        "日本/ä.wav",
        7,
        "ä.wav",
        location="/data/\udcff\udc80.wav",
        row={"who": "Zoë", "n": 3},
        params={"language": "de"},
        fingerprint="f",
        sample=2,
        problem="row 7: two ids",
    )
    await plan(journal, [planned])
    assert await journal.items.load_pending(0) == [planned]


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (Decimal("0.10"), "0.10"),
        (datetime(2026, 11, 21, 1, 2, 3, 456789, tzinfo=UTC), 1795222923456789),
        (10**30, str(10**30)),
        ("a\udcffb", "a\\udcffb"),
        ([1.5, {"x": Decimal(1)}], [1.5, {"x": "1"}]),
    ],
)
async def test_payloads_store_types_that_json_lacks(store: Store, value: Any, stored: Any) -> None:
    journal = await store.open()
    await plan(journal, [make_item(0)])
    await record_result(journal, 0, value=value)
    assert parse_rows(journal.outcomes.stream_results(0))[0]["value"] == stored


async def test_an_outcome_makes_its_shard_dirty(store: Store) -> None:
    journal = await store.open()
    await plan(journal, [make_item(n) for n in range(12)])
    await commit_all_parts(journal)
    for n in range(12):
        await record_result(journal, n, n // 10)
    await journal.parts.commit([], 1, shard=0)
    assert await count_pending(await store.open()) == {1: 0}


async def test_results_and_failures_come_in_the_sources_order(store: Store) -> None:
    journal = await store.open()
    await plan(journal, [make_item(n) for n in range(6)])
    await asyncio.gather(
        *(record_result(journal, n) if n % 2 else record_failure(journal, n) for n in (5, 3, 4, 0, 1, 2))
    )
    assert [row["item_id"][-1] for row in parse_rows(journal.outcomes.stream_results(0))] == ["1", "3", "5"]
    assert [row["item_id"][-1] for row in parse_rows(journal.outcomes.stream_failures(0))] == ["0", "2", "4"]
    assert journal.outcomes.count_by_state() == {("done", None): 3, ("failed", "bad_input"): 3}


async def test_a_failure_never_replaces_a_result_for_unchanged_input(store: Store) -> None:
    first = await store.open()
    await plan(first, [make_item(0)])
    await record_result(first, 0)
    second = await store.open()
    await plan(second, [make_item(0)], refresh=True)
    await record_failure(second, 0)
    assert second.outcomes.count_by_state() == {("done", None): 1}
    third = await store.open()
    await plan(third, [make_item(0, fingerprint="g")])
    await record_failure(third, 0)
    assert third.outcomes.count_by_state() == {("failed", "bad_input"): 1}
    assert parse_rows(third.outcomes.stream_results(0)) == []


async def test_a_result_replaces_a_failure(store: Store) -> None:
    journal = await store.open()
    await plan(journal, [make_item(0)])
    await record_failure(journal, 0)
    await record_result(journal, 0)
    assert journal.outcomes.count_by_state() == {("done", None): 1}
    assert parse_rows(journal.outcomes.stream_failures(0)) == []


async def test_after_replace_a_failure_removes_the_old_models_result(store: Store) -> None:
    first = await store.open()
    await plan(first, [make_item(0), make_item(1)])
    await record_result(first, 0)
    await record_result(first, 1)
    second = await store.open(model="another", replace=True)
    await plan(second, [make_item(0), make_item(1)])
    assert await count_pending(second) == {0: 2}
    await record_failure(second, 0, kind="rate_limit", transient=True)
    await record_result(second, 1)
    assert second.outcomes.count_by_state() == {("failed", "rate_limit"): 1, ("done", None): 1}


async def test_retry_takes_failures_of_the_given_kinds(store: Store) -> None:
    first = await store.open()
    await plan(first, [make_item(n) for n in range(4)])
    for n, kind in enumerate(("unknown", "bad_reply", "too_large", "too_large")):
        await record_failure(first, n, kind=kind)
    second = await store.open()
    assert await second.items.retry({"unknown", "bad_reply"}) == 2
    assert [(i.index, i.sample) for i in await second.items.load_pending(0)] == [(0, 1), (1, 1)]
    third = await store.open()
    await third.items.retry({"too_large"})
    assert [(i.index, i.sample) for i in await third.items.load_pending(0)] == [(2, 0), (3, 0)]


async def test_a_crashed_retry_is_continued_with_the_same_sample(store: Store) -> None:
    first = await store.open()
    await plan(first, [make_item(0)])
    await record_failure(first, 0, kind="unknown")
    await (await store.open()).items.retry(None)
    third = await store.open()
    assert await third.items.retry(None) == 1
    assert [i.sample for i in await third.items.load_pending(0)] == [1]


async def test_a_rerun_keeps_the_sample_set_by_retry(store: Store) -> None:
    first = await store.open()
    await plan(first, [make_item(0)])
    await record_failure(first, 0, kind="unknown")
    await (await store.open()).items.retry(None)
    third = await store.open()
    await plan(third, [make_item(0)])
    assert [i.sample for i in await third.items.load_pending(0)] == [1]


async def test_outs_of_one_journal_keep_their_items_apart(store: Store) -> None:
    mine, other = await store.open("a"), await store.open("b")
    await plan(mine, [make_item(0)])
    await plan(other, [make_item(0), make_item(1)])
    await record_result(mine, 0)
    assert other.outcomes.count_by_state() == {("pending", None): 2}
    assert other.outcomes.find_finished(["i000000"]) == {}
    assert mine.outcomes.find_finished(["i000000"])["i000000"][:2] == ("f", False)


async def test_the_last_run_is_the_one_that_began_last_whatever_the_clock_said(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as ahead:
        later = time.time_ns() + 2 * 3600 * 10**9
        ahead.setattr("mediamill.tasks.journal.runs.time.time_ns", lambda: later)
        first = await store.open()
        await first.runs.finish("done", {})
    second = await store.open()
    last = second.runs.load_last()
    assert last is not None
    assert (last["run_id"], last["finished_at"]) == (second.run_id, None)
