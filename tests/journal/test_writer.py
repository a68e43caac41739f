"""Group commit: many operations, one transaction; a bad one fails alone, a bad disk fails all, none is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, select, text

from mediamill.tasks import fault_injection
from mediamill.tasks.errors import StorageError
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.tables import ceilings
from tests.journal.stores import Store

pytestmark = pytest.mark.usefixtures("disarm_faults")


def put(name: str) -> Callable[[Connection], int]:
    def op(connection: Connection) -> int:
        connection.execute(insert(ceilings).values(name=name, state="{}"))
        return 1

    return op


def names(journal: Journal) -> list[str]:
    statement = select(ceilings.c.name).order_by(ceilings.c.name)
    return list(journal.read_blocking(lambda connection: connection.execute(statement).scalars().all()))


class Held:
    """Keeps the writer busy until told, so that what is submitted meanwhile waits together."""

    def __init__(self, journal: Journal) -> None:
        self.go = threading.Event()
        self.begun = threading.Event()
        self.task = asyncio.create_task(journal.write(self._wait))

    def _wait(self, _: Connection) -> None:
        self.begun.set()
        assert self.go.wait(30)

    async def __aenter__(self) -> None:
        await asyncio.to_thread(self.begun.wait, 30)

    async def __aexit__(self, *_: object) -> None:
        for _turn in range(3):
            await asyncio.sleep(0)
        self.go.set()


async def together(journal: Journal, *operations: Any) -> list[Any]:
    async with Held(journal):
        tasks = [asyncio.create_task(operation) for operation in operations]
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_waits_together_is_committed_once(store: Store) -> None:
    journal = await store.open()
    commits: list[object] = []
    event.listen(journal._engine, "commit", commits.append)
    assert await together(journal, *(journal.write(put(f"n{n:03d}")) for n in range(100))) == [1] * 100
    assert len(commits) == 1, "the one that kept the writer busy had nothing to commit"
    assert len(names(journal)) == 100


async def test_a_bad_operation_fails_alone(store: Store) -> None:
    journal = await store.open()

    def bad(connection: Connection) -> None:
        put("half")(connection)
        raise ValueError("mine alone")

    told = await together(
        journal, journal.write(put("a")), journal.write(bad), journal.write(put("b")), journal.write(put("a"))
    )
    assert told[0] == told[2] == 1
    assert isinstance(told[1], ValueError)
    assert "ceilings" in str(told[3]), "a second row of the same name"
    assert names(journal) == ["a", "b"]
    assert await journal.write(put("c")) == 1, "the writer lives on"


@pytest.mark.parametrize(("action", "words"), [("enospc", "the disk is full"), ("erofs", "cannot be written")])
async def test_a_disk_that_fails_fails_everyone_who_waits_and_says_so(
    sqlite_store: Store, action: str, words: str
) -> None:
    journal = await sqlite_store.open()
    async with Held(journal):
        tasks = [asyncio.create_task(journal.write(put(f"n{n}"))) for n in range(20)]
        for _ in range(3):
            await asyncio.sleep(0)
        fault_injection.arm(f"journal.commit.before:2:{action}")
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(error) for error in told} == {StorageError}
    assert words in str(told[0])
    assert journal.where in str(told[0])
    assert "\n" not in str(told[0])
    assert names(journal) == []
    assert await journal.write(put("later")) == 1


async def test_a_database_that_cannot_grow_says_the_disk_is_full(sqlite_store: Store) -> None:
    journal = await sqlite_store.open()
    await journal.write(lambda c: c.execute(text("PRAGMA max_page_count=1")))
    with pytest.raises(StorageError, match="the disk is full"):
        await journal.write(lambda c: c.execute(insert(ceilings).values(name="large", state="x" * 10_000_000)))


async def test_a_database_that_turns_read_only_says_so(sqlite_store: Store) -> None:
    journal = await sqlite_store.open()
    await journal.write(lambda c: c.execute(text("PRAGMA query_only=ON")))
    with pytest.raises(StorageError, match="cannot be written"):
        await journal.write(put("a"))


async def test_an_error_after_the_commit_does_not_do_it_again(store: Store) -> None:
    journal = await store.open()
    runs: list[str] = []

    def once(name: str) -> Callable[[Connection], int]:
        def op(connection: Connection) -> int:
            runs.append(name)
            return put(name)(connection)

        return op

    async with Held(journal):
        tasks = [asyncio.create_task(journal.write(once(name))) for name in "ab"]
        for _ in range(3):
            await asyncio.sleep(0)
        fault_injection.arm("journal.commit.after:2:raise")
    await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(runs) == names(journal) == ["a", "b"]


async def test_nothing_is_lost_at_the_end_and_closing_twice_is_harmless(store: Store) -> None:
    journal, witness = await store.open(), await store.open("b")
    tasks = [asyncio.create_task(journal.write(put(f"n{n:03d}"))) for n in range(200)]
    await asyncio.sleep(0)
    await asyncio.to_thread(journal.close)
    journal.close()
    assert await asyncio.gather(*tasks) == [1] * 200
    assert len(names(witness)) == 200
    with pytest.raises(StorageError, match="closed"):
        await journal.write(put("too late"))


async def test_any_loop_and_no_loop_may_write(store: Store) -> None:
    journal = await store.open()

    async def parse_list(prefix: str) -> None:
        await asyncio.gather(*(journal.write(put(f"{prefix}{n}")) for n in range(10)))

    await asyncio.gather(*(asyncio.to_thread(asyncio.run, parse_list(prefix)) for prefix in "abc"), parse_list("d"))
    await asyncio.to_thread(journal.write_blocking, put("e"))
    assert len(names(journal)) == 41


async def test_an_owner_that_lives_keeps_its_leases(store: Store) -> None:
    journal = await store.open()
    renewed = threading.Event()
    done: list[Any] = []

    def handler(_: Connection, parameters: Any) -> list[None]:
        done.extend(parameters)
        renewed.set()
        return [None] * len(parameters)

    journal._writer.repeat_every(0.01, handler, "lease")
    assert await asyncio.to_thread(renewed.wait, 30), "the journal does it unasked"
    assert done[0] == "lease"
    assert await journal.write(put("a")) == 1


async def test_opening_is_safe_for_many_at_once(store: Store) -> None:
    journals = await asyncio.gather(
        *(asyncio.to_thread(Journal.open, store.root / f"o{n}", store.url) for n in range(6))
    )
    store.opened.extend(journals)
    assert [names(journal) for journal in journals] == [[]] * 6
