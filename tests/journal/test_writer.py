"""The only writer: what it acknowledged is on disk, a bad operation fails alone, and nothing ends its thread."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, text

from tasks import faults
from tasks.errors import StorageError, UsageError
from tasks.journal.journal import Journal
from tasks.journal.tables import meta
from tests.journal.opened import begin, opened

CHILD = """
import asyncio, sys
from pathlib import Path
from tests.journal.test_writer import write_until_killed
asyncio.run(write_until_killed(Path(sys.argv[1])))
"""


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened_one = Journal.open(tmp_path)
    yield opened_one
    faults.arm("")
    opened_one.close()


def put(name: str) -> Any:
    """An operation that leaves a mark."""
    return lambda connection: connection.execute(insert(meta).values(name=name, value="x")).rowcount


def marks(journal: Journal) -> set[str]:
    """The marks that were left."""
    rows = journal.read_now(lambda connection: connection.execute(select(meta.c.name)).scalars().all())
    return set(rows) - {"format"}


async def write_until_killed(out: Path) -> None:
    """Leave marks, many at once, and tell of each once it is acknowledged."""
    journal = Journal.open(out)

    async def one(number: int) -> None:
        await journal.write(put(f"m{number}"))
        os.write(1, f"m{number}\n".encode())

    for start in range(0, 1000, 8):
        await asyncio.gather(*(one(n) for n in range(start, start + 8)))


@pytest.mark.parametrize("point", ["journal.commit.before", "journal.commit.after"])
@pytest.mark.parametrize("nth", [1, 7])
def test_what_was_acknowledged_survives_sigkill(point: str, nth: int, tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        env={**os.environ, "MEDIAMILL_FAULTS": f"{point}:{nth}:kill"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    told = set(child.stdout.split())
    assert bool(told) == (nth > 1)
    journal = Journal.open(tmp_path)
    found = marks(journal)
    assert told <= found
    if point.endswith("after"):
        assert found > told, "the last commit was durable before the process died"
    journal.close()


def held_back(journal: Journal) -> threading.Event:
    """Keep the writer busy until the event is set, so that what follows waits together."""
    go, busy = threading.Event(), threading.Event()

    def op(_: Connection) -> None:
        busy.set()
        go.wait(30)

    threading.Thread(target=journal.write_now, args=(op,)).start()
    busy.wait(30)
    return go


async def test_a_bad_operation_fails_alone(journal: Journal) -> None:
    go = held_back(journal)

    def bad(connection: Connection) -> None:
        put("half")(connection)
        raise ValueError("mine alone")

    waiting = [asyncio.ensure_future(journal.write(op)) for op in (put("a"), bad, put("b"), put("a"), put("c"))]
    await asyncio.sleep(0)
    go.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(r).__name__ for r in results] == ["int", "ValueError", "int", "IntegrityError", "int"]
    assert marks(journal) == {"a", "b", "c"}


@pytest.mark.parametrize(("action", "words"), [("enospc", "disk is full"), ("erofs", "cannot be written")])
async def test_disk_trouble_is_a_storage_error_and_the_writer_goes_on(
    journal: Journal, action: str, words: str
) -> None:
    faults.arm(f"journal.commit.before:1:{action}")
    with pytest.raises(StorageError, match=words) as failed:
        await journal.write(put("lost"))
    assert failed.value.exit_code == 1
    assert await journal.write(put("kept")) == 1
    assert marks(journal) == {"kept"}


async def test_everybody_in_a_failed_commit_is_told(journal: Journal) -> None:
    go = held_back(journal)
    waiting = [asyncio.ensure_future(journal.write(put(f"m{n}"))) for n in range(5)]
    await asyncio.sleep(0)
    faults.arm("journal.commit.before:2:enospc")  # the first pass is the operation that holds the others back
    go.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(r) for r in results] == [StorageError] * 5
    assert marks(journal) == set()


async def test_a_bug_in_an_operation_stays_a_bug(journal: Journal) -> None:
    faults.arm("journal.commit.before:1:raise")
    with pytest.raises(RuntimeError, match="fault injected"):
        await journal.write(put("lost"))
    assert await journal.write(put("kept")) == 1


def test_loops_may_come_and_go(journal: Journal) -> None:
    for n in range(3):
        assert asyncio.run(journal.write(put(f"m{n}"))) == 1

    async def leave() -> None:
        task = asyncio.ensure_future(journal.write(put("left")))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(leave())
    assert journal.write_now(put("last")) == 1
    assert marks(journal) == {"m0", "m1", "m2", "left", "last"}


def test_closing_writes_what_waits_and_ends(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    go = held_back(journal)
    others = [threading.Thread(target=journal.write_now, args=(put(f"m{n}"),)) for n in range(3)]
    for other in others:
        other.start()
    go.set()
    for other in others:
        other.join()
    journal.close()
    journal.close()
    with pytest.raises(StorageError, match="closed"):
        journal.write_now(put("late"))
    again = Journal.open(tmp_path)
    assert marks(again) == {"m0", "m1", "m2"}
    again.close()


async def test_commits_are_durable_by_setting(journal: Journal) -> None:
    def pragma(name: str) -> Any:
        return journal.write_now(lambda connection: connection.execute(text(f"PRAGMA {name}")).scalar())

    assert (pragma("journal_mode"), pragma("synchronous")) == ("wal", 2)


def test_a_file_that_is_no_journal_is_told(tmp_path: Path) -> None:
    (tmp_path / ".journal").mkdir()
    (tmp_path / ".journal" / "journal.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StorageError, match="not a journal"):
        Journal.open(tmp_path)


def test_a_journal_of_newer_code_is_left_alone(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    journal.write_now(lambda c: c.execute(meta.update().values(value="999")))
    journal.close()
    with pytest.raises(StorageError, match="newer mediamill"):
        Journal.open(tmp_path)


async def test_two_writers_on_one_file_wait_for_each_other(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    journals = [await opened(tmp_path / name, f"run-{name}", shared) for name in "ab"]
    await asyncio.gather(*(begin(journals[n % 2], f"k{n}", f"c{n}") for n in range(50)))
    assert sum(len(list(journal.attempts.all())) for journal in journals) == 50
    for journal in journals:
        journal.close()


def test_postgresql_without_its_extra_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UsageError, match="extra 'postgresql'"):
        Journal.open(tmp_path, "postgresql://me:secret@h/db")
