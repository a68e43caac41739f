"""Large journals: memory stays flat, and no statement scans a whole table."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from sqlalchemy import event

from tests.journal.stores import Store, make_item
from tests.journal.test_items import count_pending, plan, record_result


@pytest.mark.long
async def test_planning_100_000_items_needs_little_memory(sqlite_store: Store) -> None:
    journal = await sqlite_store.open()
    batches = [range(start, start + 1000) for start in range(0, 100_000, 1000)]
    tracemalloc.start()
    try:
        for batch in batches:
            await journal.items.plan([make_item(n) for n in batch], 500)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * 2**20
    assert sum((await count_pending(journal)).values()) == 100_000


async def test_no_statement_scans_a_whole_table(sqlite_store: Store) -> None:
    journal = await sqlite_store.open()
    statements: dict[str, Any] = {}

    def record_statement(_c: Any, _cursor: Any, statement: str, parameters: Any, _x: Any, many: bool) -> None:
        statements[statement] = parameters[0] if many else parameters

    await plan(journal, [make_item(0)])
    journal = await sqlite_store.open()
    for engine in (journal._engine, journal._readers):
        event.listen(engine, "before_cursor_execute", record_statement)
    await plan(journal, [make_item(0), make_item(1)])
    await journal.items.retry({"bad_input"})
    await journal.items.find_shards_with_work()
    await journal.items.load_pending(0)
    await record_result(journal, 0)
    journal.outcomes.count_by_state()
    list(journal.outcomes.stream_results(0))
    list(journal.outcomes.stream_failures(0))
    await journal.asks.renew(journal.run_id)
    await journal.asks.recover()
    recorded = dict(statements)
    query_plans = {}
    with journal._readers.connect() as connection:
        for statement, parameters in recorded.items():
            if statement.startswith(("SELECT", "UPDATE", "DELETE")):
                steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
                query_plans[statement] = [str(step[3]) for step in steps]
    full_scans = tuple(f"SCAN {table}" for table in ("items", "asks", "attempts"))
    scanned = {s: steps for s, steps in query_plans.items() if any(step in full_scans for step in steps)}
    assert len(query_plans) > 10
    assert scanned == {}
