"""OUT: what it is bound to, its lock, its parts, and a journal that cannot be opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mediamill.tasks.errors import OutputBusy, StorageError, UsageError
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.output_lock import OutputLock, describe_owner
from mediamill.tasks.journal.parts import Part
from tests.helpers.integration import require_integration
from tests.journal.stores import Store, make_item

PART = Part("results", "000000", 3, 1234, "ab" * 32)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "other"}, "model was m"),
        ({"provider": "q"}, "provider was p"),
        ({"params": {"a": 1}}, "params was {}"),
    ],
)
async def test_another_model_needs_replace(store: Store, change: dict[str, Any], words: str) -> None:
    await store.open()
    with pytest.raises(UsageError, match=words) as refused:
        await store.open(**change)
    assert "--replace" in str(refused.value)
    journal = await store.open(**change, replace=True)
    binding = journal.output.load_binding()
    assert binding is not None
    assert (await store.open(**change)).output.load_binding() == binding


@pytest.mark.parametrize("change", [{"root": "elsewhere"}, {"capability": "caption"}])
async def test_another_source_or_capability_is_refused_even_with_replace(store: Store, change: dict[str, Any]) -> None:
    await store.open()
    for replace in (False, True):
        with pytest.raises(UsageError, match="holds the results of another"):
            await store.open(**change, replace=replace)


async def test_parameters_in_another_order_are_the_same(store: Store) -> None:
    first = await store.open(params={"a": 1, "b": 2})
    again = await store.open(params={"b": 2, "a": 1})
    assert again.out_id == first.out_id


async def test_an_out_of_another_journal_is_refused_and_keeps_its_parts(tmp_path: Path, sqlite_store: Store) -> None:
    await sqlite_store.open()
    part = sqlite_store.root / "a" / "results" / "part-000000.parquet"
    part.parent.mkdir()
    part.write_bytes(b"PAR1")
    another = Store(tmp_path, str(tmp_path / "another"))
    with pytest.raises(UsageError, match="another journal"):
        await another.open()
    another.close()
    assert part.exists()


async def test_freezing_schemas_makes_every_shard_dirty(store: Store) -> None:
    journal = await store.open()
    assert journal.output.load_schemas() is None
    await journal.items.plan([make_item(0)], 10)
    await journal.parts.commit([], 1, shard=0)
    await journal.output.freeze_schemas(b"schema", b"rows")
    assert (await store.open()).output.load_schemas() == (b"schema", b"rows")
    assert [w.shard for w in await journal.items.find_shards_with_work()] == [0]
    assert journal.output.load_job() == {"source": "x"}


async def test_a_committed_part_replaces_the_earlier_one_and_an_empty_one_removes_it(store: Store) -> None:
    journal = await store.open()
    await journal.parts.commit([PART], 1)
    larger = Part("results", "000000", 4, 2345, "cd" * 32)
    await journal.parts.commit([larger, Part("calls", "run", 1, 1, "ef" * 32)], 1)
    assert [p.name for p in journal.parts.load_all()] == ["run", "000000"]
    assert larger in journal.parts.load_all()
    await journal.parts.commit([Part("results", "000000", 0, 0, "")], 1)
    assert [p.kind for p in journal.parts.load_all()] == ["calls"]


async def test_a_run_that_lost_the_lock_cannot_commit_parts(store: Store) -> None:
    stale = await store.open()
    out = store.root / "a"
    old = OutputLock.acquire(out, stale, stale.run_id)
    old.release()
    fresh = await store.open()
    new = OutputLock.acquire(out, fresh, fresh.run_id)
    assert new.token > old.token
    with pytest.raises(OutputBusy, match="taken this OUT over"):
        await stale.parts.commit([PART], old.token)
    await fresh.parts.commit([PART], new.token)
    assert fresh.parts.load_all() == [PART]


async def test_equal_folders_on_two_machines_are_two_outs(store: Store, tmp_path: Path) -> None:
    """Their lock files are on different disks; only the journal is shared."""
    mine, other = await store.open("a"), await store.open("b")
    held = OutputLock.acquire(store.root / "a", mine, mine.run_id)
    OutputLock.acquire(store.root / "b", other, other.run_id)
    await mine.parts.commit([PART], held.token)
    assert mine.lease_name != other.lease_name
    assert str(tmp_path) not in mine.lease_name, "OUTs are not identified by their paths"


def test_describe_owner_takes_no_lock_and_creates_nothing(tmp_path: Path) -> None:
    assert describe_owner(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
    journal = Journal.open(tmp_path)
    lock = OutputLock.acquire(tmp_path, journal, "r1")
    assert "run r1" in (describe_owner(tmp_path) or "")
    lock.release()
    lock.release()
    assert describe_owner(tmp_path) is None
    journal.close()


@pytest.mark.parametrize("damaged", [b"", b"\x93" * 32, b"no id", b"\0" * 32])
async def test_a_damaged_out_id_is_replaced(damaged: bytes, sqlite_store: Store) -> None:
    first = await sqlite_store.open()
    id_file = sqlite_store.root / "a" / ".journal" / "out_id"
    assert id_file.read_text() == first.out_id
    id_file.write_bytes(damaged)
    assert len((await sqlite_store.open()).out_id) == 32
    assert id_file.read_text() != damaged.decode("ascii", "replace")


@pytest.mark.parametrize("part", [".journal", ".journal/journal.sqlite"])
def test_an_out_that_cannot_be_written_says_so_in_one_line(tmp_path: Path, part: str) -> None:
    blocked = tmp_path / "out"
    (blocked / part).parent.mkdir(parents=True)
    if part == ".journal":
        (blocked / part).write_text("a file")
    else:
        (blocked / part).mkdir()
    with pytest.raises(StorageError) as refused:
        Journal.open(blocked)
    assert str(blocked) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_no_database_is_reported(tmp_path: Path) -> None:
    (tmp_path / ".journal").mkdir()
    (tmp_path / ".journal" / "journal.sqlite").write_text("not a database, but long enough to be read as one" * 40)
    with pytest.raises(StorageError, match="not a journal"):
        Journal.open(tmp_path)


def test_a_damaged_journal_is_reported_when_it_is_read(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    journal.close()
    path = tmp_path / ".journal" / "journal.sqlite"
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(StorageError, match="damaged"):
        _read_all(tmp_path)


def _read_all(out: Path) -> None:
    journal = Journal.open(out)
    try:
        journal.attempts.sum_costs()
    finally:
        journal.close()


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("mysql://user:hunter2@host/db", UsageError, "mysql://"),
        ("s3://bucket/journal", UsageError, "s3://"),
        ("://", UsageError, "address"),
        ("postgresql://user:hunter2@127.0.0.1:1/db?password=hunter2", StorageError, "postgresql://127.0.0.1/db"),
    ],
)
def test_an_unusable_address_is_reported_without_its_password(
    tmp_path: Path, url: str, error: type[Exception], words: str
) -> None:
    if error is StorageError:
        require_integration("psycopg")
    with pytest.raises(error) as refused:
        Journal.open(tmp_path, url)
    assert words in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert "\n" not in str(refused.value)
