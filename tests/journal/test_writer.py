"""Group commit: one transaction for many operations; a bad one fails alone, a disk error fails all, none is lost."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, select, text

from mediamill.tasks import fault_injection
from mediamill.tasks.errors import StorageError
from mediamill.tasks.journal import database
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.tables import ceilings
from mediamill.tasks.journal.writer import JournalWriter
from tests.journal.stores import Store

pytestmark = pytest.mark.usefixtures("disarm_faults")


def insert_name(name: str) -> Callable[[Connection], int]:
    def insert_row(connection: Connection) -> int:
        connection.execute(insert(ceilings).values(name=name, state="{}"))
        return 1

    return insert_row


def read_names(journal: Journal) -> list[str]:
    statement = select(ceilings.c.name).order_by(ceilings.c.name)
    return list(journal.read_blocking(lambda connection: connection.execute(statement).scalars().all()))


class BusyWriter:
    """Keeps the writer busy while the block runs, so that operations submitted in it wait together."""

    def __init__(self, journal: Journal) -> None:
        self.may_continue = threading.Event()
        self.started = threading.Event()
        self.task = asyncio.create_task(journal.write(self._wait))

    def _wait(self, _: Connection) -> None:
        self.started.set()
        assert self.may_continue.wait(30)

    async def __aenter__(self) -> None:
        await asyncio.to_thread(self.started.wait, 30)

    async def __aexit__(self, *_: object) -> None:
        for _turn in range(3):
            await asyncio.sleep(0)
        self.may_continue.set()


async def run_together(journal: Journal, *operations: Any) -> list[Any]:
    async with BusyWriter(journal):
        tasks = [asyncio.create_task(operation) for operation in operations]
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_waiting_operations_share_one_commit(store: Store) -> None:
    journal = await store.open()
    commits: list[object] = []
    event.listen(journal._engine, "commit", commits.append)
    assert await run_together(journal, *(journal.write(insert_name(f"n{n:03d}")) for n in range(100))) == [1] * 100
    assert len(commits) == 1, "the operation that kept the writer busy had nothing to commit"
    assert len(read_names(journal)) == 100


async def test_a_bad_operation_fails_alone(store: Store) -> None:
    journal = await store.open()

    def fail_halfway(connection: Connection) -> None:
        insert_name("half")(connection)
        raise ValueError("mine alone")

    results = await run_together(
        journal,
        journal.write(insert_name("a")),
        journal.write(fail_halfway),
        journal.write(insert_name("b")),
        journal.write(insert_name("a")),
    )
    assert results[0] == results[2] == 1
    assert isinstance(results[1], ValueError)
    assert "ceilings" in str(results[3]), "a second row of the same name"
    assert read_names(journal) == ["a", "b"]
    assert await journal.write(insert_name("c")) == 1, "the writer lives on"


@pytest.mark.parametrize(("action", "words"), [("enospc", "the disk is full"), ("erofs", "mounted read-only")])
async def test_a_disk_error_fails_every_waiting_operation_with_its_reason(
    sqlite_store: Store, action: str, words: str
) -> None:
    journal = await sqlite_store.open()
    async with BusyWriter(journal):
        tasks = [asyncio.create_task(journal.write(insert_name(f"n{n}"))) for n in range(20)]
        for _ in range(3):
            await asyncio.sleep(0)
        fault_injection.arm(f"journal.commit.before:2:{action}")
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(error) for error in errors} == {StorageError}
    assert words in str(errors[0])
    assert journal.where in str(errors[0])
    assert "\n" not in str(errors[0])
    assert read_names(journal) == []
    assert await journal.write(insert_name("later")) == 1


async def test_a_database_that_cannot_grow_says_the_disk_is_full(sqlite_store: Store) -> None:
    journal = await sqlite_store.open()
    await journal.write(lambda c: c.execute(text("PRAGMA max_page_count=1")))
    with pytest.raises(StorageError, match="the disk is full"):
        await journal.write(lambda c: c.execute(insert(ceilings).values(name="large", state="x" * 10_000_000)))


async def test_a_database_that_turns_read_only_says_so(sqlite_store: Store) -> None:
    journal = await sqlite_store.open()
    await journal.write(lambda c: c.execute(text("PRAGMA query_only=ON")))
    with pytest.raises(StorageError, match="cannot be written"):
        await journal.write(insert_name("a"))


async def test_an_error_after_the_commit_does_not_repeat_the_operations(store: Store) -> None:
    journal = await store.open()
    runs: list[str] = []

    def insert_and_count(name: str) -> Callable[[Connection], int]:
        def insert_row(connection: Connection) -> int:
            runs.append(name)
            return insert_name(name)(connection)

        return insert_row

    async with BusyWriter(journal):
        tasks = [asyncio.create_task(journal.write(insert_and_count(name))) for name in "ab"]
        for _ in range(3):
            await asyncio.sleep(0)
        fault_injection.arm("journal.commit.after:2:raise")
    await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(runs) == read_names(journal) == ["a", "b"]


async def test_close_writes_what_waits_and_closing_twice_is_harmless(store: Store) -> None:
    journal, witness = await store.open(), await store.open("b")
    tasks = [asyncio.create_task(journal.write(insert_name(f"n{n:03d}"))) for n in range(200)]
    await asyncio.sleep(0)
    await asyncio.to_thread(journal.close)
    journal.close()
    assert await asyncio.gather(*tasks) == [1] * 200
    assert len(read_names(witness)) == 200
    with pytest.raises(StorageError, match="closed"):
        await journal.write(insert_name("too late"))


async def test_several_event_loops_and_blocking_code_may_write(store: Store) -> None:
    journal = await store.open()

    async def insert_ten(prefix: str) -> None:
        await asyncio.gather(*(journal.write(insert_name(f"{prefix}{n}")) for n in range(10)))

    await asyncio.gather(*(asyncio.to_thread(asyncio.run, insert_ten(prefix)) for prefix in "abc"), insert_ten("d"))
    await asyncio.to_thread(journal.write_blocking, insert_name("e"))
    assert len(read_names(journal)) == 41


async def test_a_periodic_operation_runs_by_itself(store: Store) -> None:
    journal = await store.open()
    renewed = threading.Event()
    parameters_done: list[Any] = []

    def handler(_: Connection, parameters: Any) -> list[None]:
        parameters_done.extend(parameters)
        renewed.set()
        return [None] * len(parameters)

    journal._writer.repeat_every(0.01, handler, "lease")
    assert await asyncio.to_thread(renewed.wait, 30), "the writer does it by itself"
    assert parameters_done[0] == "lease"
    assert await journal.write(insert_name("a")) == 1


async def test_journals_may_be_opened_concurrently(store: Store) -> None:
    journals = await asyncio.gather(
        *(asyncio.to_thread(Journal.open, store.root / f"o{n}", store.url) for n in range(6))
    )
    store.journals.extend(journals)
    assert [read_names(journal) for journal in journals] == [[]] * 6


@pytest.mark.parametrize("is_freed", [True, False])
async def test_a_lock_that_another_process_holds_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_freed: bool
) -> None:
    """A process that is stopped within a transaction holds it; each try waits for the busy timeout."""
    monkeypatch.setattr(database, "_BUSY_TIMEOUT_MS", 1)
    commit, tries = JournalWriter._commit, list[int]()
    with closing(Journal.open(tmp_path / "a", str(tmp_path / "J"))) as journal:
        holder = sqlite3.connect(tmp_path / "J" / "journal.sqlite", isolation_level=None, check_same_thread=False)
        holder.execute("BEGIN IMMEDIATE")

        def count_tries(writer: JournalWriter, batch: Any) -> None:
            tries.append(1)
            if is_freed and len(tries) == 3:
                holder.execute("ROLLBACK")
            commit(writer, batch)

        monkeypatch.setattr(JournalWriter, "_commit", count_tries)
        if is_freed:
            await journal.write(insert_name("x"))
            assert (read_names(journal), len(tries)) == (["x"], 3)
        else:
            with pytest.raises(StorageError, match="keeps the journal locked"):
                await journal.write(insert_name("x"))
            assert len(tries) == 5
        holder.close()
