"""The plan: every item once, in a shard for good; what ended stays ended until its input changes."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import orjson
import pytest
from sqlalchemy import select

from tasks.item import Failure, Item, Outcome, Result
from tasks.journal.journal import Journal
from tasks.journal.planning import PlanCounts
from tasks.journal.tables import items
from tests.journal.opened import item, opened


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    one = await opened(tmp_path, "run-1")
    yield one
    one.close()


async def plan(journal: Journal, *planned: Item, refresh: bool = False, size: int = 4) -> PlanCounts:
    """Plan a batch."""
    return await journal.items.plan(planned, size, refresh=refresh)


async def end(journal: Journal, one: Item, how: str, **more: object) -> None:
    """Make an item end."""
    outcome: Outcome = (
        Result(one.item_id, {})
        if how == "done"
        else Failure(one.item_id, how, "m", transient=bool(more.pop("transient", 0)))
    )
    await journal.items.outcome(one, 0, outcome, {"item_id": one.item_id, "how": how, **more})


async def told(journal: Journal) -> tuple[list[str], list[str]]:
    """What results and failures hold: how each ended."""
    return tuple([orjson.loads(r)["how"] for r in rows(0)] for rows in (journal.items.results, journal.items.failures))  # type: ignore[return-value]


def shard_of(journal: Journal) -> dict[str, int]:
    """Each item's shard."""
    rows = journal.read_now(lambda c: c.execute(select(items.c.item_id, items.c.shard)).all())
    return {str(name): int(shard) for name, shard in rows}


async def test_new_items_fill_shards(journal: Journal) -> None:
    counts = await plan(journal, *(item(n) for n in range(6)))
    more = await plan(journal, *(item(n) for n in range(6, 10)))
    assert (counts.new, more.new, counts.kept) == (6, 4, 0)
    assert sorted(Counter(shard_of(journal).values()).values()) == [2, 4, 4]
    assert [(w.shard, w.pending) for w in await journal.items.shards()] == [(0, 4), (1, 4), (2, 2)]
    assert [i.index for i in await journal.items.pending(1)] == [4, 5, 6, 7]


async def test_shards_stay_and_new_items_get_new_ones(journal: Journal) -> None:
    await plan(journal, *(item(n) for n in range(6)))
    before = shard_of(journal)
    await journal.runs.start("run-2")
    counts = await plan(journal, *(item(n) for n in range(9)))
    assert (counts.new, counts.retried) == (3, 6)
    after = shard_of(journal)
    assert {name: after[name] for name in before} == before
    assert {after[name] for name in after.keys() - before.keys()} == {2}


async def test_what_a_rerun_does_and_leaves(journal: Journal) -> None:
    await plan(journal, *(item(n) for n in range(5)), size=10)
    await end(journal, item(0), "done")
    await end(journal, item(1), "bad_input")
    await end(journal, item(2), "network", transient=True)
    await end(journal, item(3), "done")
    await journal.runs.start("run-2")
    now = [item(n, fingerprint="2" if n == 3 else "1") for n in range(5)]
    counts = await plan(journal, *now)
    assert counts == PlanCounts(new=0, changed=1, retried=2, kept=2, duplicates=[])
    assert [i.index for i in await journal.items.pending(0)] == [2, 3, 4]
    finished = journal.items.finished([i.item_id for i in now])
    assert finished == {item(0).item_id: "1", item(1).item_id: "1"}


async def test_refresh_buys_everything_anew(journal: Journal) -> None:
    await plan(journal, item(0), item(1))
    await end(journal, item(0), "done")
    await journal.runs.start("run-2")
    counts = await plan(journal, item(0), item(1), refresh=True)
    assert (counts.retried, counts.kept) == (2, 0)
    assert [i.sample for i in await journal.items.pending(0)] == [1, 1]


async def test_an_id_that_comes_twice_is_told_with_both_places(journal: Journal) -> None:
    counts = await plan(journal, item(0, item_id="a"), item(1, item_id="b"), item(2, item_id="a"))
    assert counts.duplicates == [("a", 0, 2)]
    counts = await plan(journal, item(3, item_id="b"), item(4, item_id="c"))
    assert (counts.duplicates, counts.new) == ([("b", 1, 3)], 1)
    await journal.runs.start("run-2")
    assert (await plan(journal, item(0, item_id="a"))).duplicates == []
    assert (await plan(journal, item(1, item_id="a"))).duplicates == [("a", 0, 1)]


async def test_items_that_are_gone_from_the_source_are_not_done(journal: Journal) -> None:
    await plan(journal, item(0), item(1))
    await journal.runs.start("run-2")
    await plan(journal, item(1))
    assert [i.index for i in await journal.items.pending(0)] == [1]


async def test_an_item_comes_back_as_it_was_planned(journal: Journal) -> None:
    one = Item(
        "ä\u2028 \U0001f3a7",
        0,
        "s",
        "https://e.org/a",
        {"n": 1.5, "none": None, "list": ["x"]},
        {"language": "de"},
        "f",
        0,
        "bad",
    )
    await plan(journal, one)
    assert await journal.items.pending(0) == [one]


async def test_a_failure_never_replaces_a_result_for_unchanged_input(journal: Journal) -> None:
    await plan(journal, item(0))
    await end(journal, item(0), "done")
    await journal.runs.start("run-2")
    await plan(journal, item(0), refresh=True)
    await end(journal, item(0), "network", transient=True)
    assert await told(journal) == (["done"], [])
    assert journal.items.counts_now() == {("done", None): 1}


async def test_a_failure_of_changed_input_takes_the_results_place(journal: Journal) -> None:
    await plan(journal, item(0))
    await end(journal, item(0), "done")
    await journal.runs.start("run-2")
    await plan(journal, item(0, fingerprint="2"))
    await end(journal, item(0, fingerprint="2"), "bad_input")
    assert await told(journal) == ([], ["bad_input"])


async def test_a_result_wins_over_a_failure(journal: Journal) -> None:
    await plan(journal, item(0))
    await end(journal, item(0), "network", transient=True)
    await end(journal, item(0), "done")
    assert await told(journal) == (["done"], [])


@pytest.mark.parametrize(
    ("kinds", "samples"), [(None, [0, 1, 1]), ({"unknown"}, [1]), ({"network", "bad_reply"}, [0, 1]), ({"nothing"}, [])]
)
async def test_retry_makes_failures_pending(journal: Journal, kinds: set[str] | None, samples: list[int]) -> None:
    await plan(journal, *(item(n) for n in range(4)))
    for n, how in enumerate(["network", "unknown", "bad_reply", "done"]):
        await end(journal, item(n), how)
    await journal.runs.start("run-2")
    assert await journal.items.retry(kinds) == len(samples)
    assert sorted(i.sample for i in await journal.items.pending(0)) == samples


async def batches(count: int, size: int) -> AsyncIterator[Sequence[Item]]:
    """A large source."""
    for start in range(0, count, size):
        yield [item(n) for n in range(start, start + size)]


async def test_a_large_plan_needs_little_memory(journal: Journal) -> None:
    counts, peaks = Counter[str](), []
    tracemalloc.start()
    async for batch in batches(50_000, 1000):
        made = await journal.items.plan(batch, 500)
        counts.update(new=made.new, twice=len(made.duplicates))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.reset_peak()
    tracemalloc.stop()
    assert counts == {"new": 50_000, "twice": 0}
    assert len(await journal.items.shards()) == 100
    assert max(peaks[5:]) < 12_000_000
    assert max(peaks[-5:]) < max(peaks[5:10]) * 1.2
