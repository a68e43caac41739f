"""What a run that begins mends: documents whose content the journal has, parts by size and time, calls."""

from __future__ import annotations

import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.parts import Part
from mediamill.tasks.out.damage import Damage, mend_at_start
from mediamill.tasks.sinks.calls import CALLS_SCHEMA
from mediamill.tasks.sinks.documents import describe_file
from mediamill.tasks.sinks.parts import part_path, write_part
from tests.journal.stores import Store, make_item

CALL = b'{"call_id": "c1"}'


async def commit(journal: Journal, part: Part) -> None:
    await journal.parts.commit([part], 1)


async def test_a_document_is_restored_and_the_report_is_built_again(store: Store) -> None:
    journal, out = await store.open(), store.root / "a"
    for name in ("report.html", "runs/r1.json"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text(f"what {name} says")
    await journal.documents.record([describe_file(out, "report.html")])
    await journal.documents.keep(describe_file(out, "runs/r1.json"), (out / "runs" / "r1.json").read_bytes())
    assert await mend_at_start(out, journal, "r2") == Damage()
    (out / "runs" / "r1.json").unlink()
    assert await mend_at_start(out, journal, "r2") == Damage()
    assert (out / "runs" / "r1.json").read_text() == "what runs/r1.json says"
    (out / "report.html").write_text("half")
    assert await mend_at_start(out, journal, "r2") == Damage(report=True)


async def test_the_calls_of_a_damaged_part_are_written_again(store: Store) -> None:
    journal, out = await store.open(), store.root / "a"
    for run in ("r1", "r2", "r3"):
        await commit(journal, write_part(out, "calls", run, [CALL], CALLS_SCHEMA))
    assert await mend_at_start(out, journal, "r4") == Damage()
    path = part_path(out, "calls", "r1")
    path.write_bytes(path.read_bytes()[:40] + b"\0" + path.read_bytes()[41:])
    part_path(out, "calls", "r2").unlink()
    assert await mend_at_start(out, journal, "r4") == Damage(calls=frozenset({"r1", "r2"}))


async def test_a_part_that_was_copied_is_hashed_once(store: Store) -> None:
    journal, out = await store.open(), store.root / "a"
    await journal.items.plan([make_item(0)], 10)
    await store.record_paid(journal, make_item(0), "c1", Decimal(1))
    await journal.parts.commit([write_part(out, "results", "000000", [CALL], CALLS_SCHEMA)], 1, shard=0)
    os.utime(part_path(out, "results", "000000"), ns=(7, 7))
    await mend_at_start(out, journal, "r1")
    assert [part.mtime_ns for part in journal.parts.load_all()] == [7]
    assert await journal.items.find_shards_with_work() == []


async def test_a_part_of_an_older_program_has_no_time_and_is_left_alone(store: Store) -> None:
    journal, out = await store.open(), store.root / "a"
    written = write_part(out, "calls", "r1", [CALL], CALLS_SCHEMA)
    await commit(journal, replace(written, mtime_ns=None))
    assert await mend_at_start(out, journal, "r2") == Damage()
    Path(part_path(out, "calls", "r1")).write_bytes(b"")
    assert await mend_at_start(out, journal, "r2") == Damage(calls=frozenset({"r1"}))
