"""What an OUT is bound to, who may work on it, and which parts count."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tasks.errors import OutBusy, StorageError, UsageError
from tasks.item import Failure, Result
from tasks.journal.journal import Journal
from tasks.journal.lock import OutLock, holder
from tasks.journal.outs import Binding
from tasks.journal.parts import Part
from tests.journal.opened import BINDING, item, opened

HOLDER = """
import sys, time
from pathlib import Path
from tasks.journal.journal import Journal
from tasks.journal.lock import OutLock
out = Path(sys.argv[1])
lock = OutLock.acquire(out, Journal.open(out), "run-of-the-child")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    one = await opened(tmp_path, "run-1")
    yield one
    one.close()


async def rebind(journal: Journal, out: Path, *, replace: bool = False, **changed: str) -> None:
    """Bind again, something changed."""
    await journal.outs.bind(out, dataclasses.replace(BINDING, **changed), {"n": 2}, replace=replace)


async def test_the_same_binding_is_bound_again(journal: Journal, tmp_path: Path) -> None:
    before = journal.out_id
    await rebind(journal, tmp_path)
    assert (journal.out_id, journal.outs.binding(), journal.outs.job()) == (before, BINDING, {"n": 2})


def test_parameters_bind_in_any_order() -> None:
    one, other = ({"a": 1, "b": [2]}, {"b": [2], "a": 1})
    assert Binding.of("r", "c", "p", "m", one) == Binding.of("r", "c", "p", "m", other)
    assert Binding.of("r", "c", "p", "m", {"a": 1}) != Binding.of("r", "c", "p", "m", {"a": 2})


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize(
    ("name", "word"), [("root", "another source (/in)"), ("capability", "another capability (transcribe)")]
)
async def test_another_source_or_capability_is_refused(
    journal: Journal, tmp_path: Path, name: str, word: str, replace: bool
) -> None:
    with pytest.raises(UsageError) as refused:
        await rebind(journal, tmp_path, replace=replace, **{name: "other"})
    assert word in refused.value.message
    assert refused.value.hint == "choose another --out"
    assert journal.outs.binding() == BINDING


@pytest.mark.parametrize("name", ["provider", "model", "params"])
async def test_the_rest_changes_only_by_replace(journal: Journal, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} was ") as refused:
        await rebind(journal, tmp_path, replace=False, **{name: "other"})
    assert refused.value.exit_code == 2
    assert "--replace" in str(refused.value)
    assert journal.outs.binding() == BINDING
    await rebind(journal, tmp_path, replace=True, **{name: "other"})
    assert journal.outs.binding() == dataclasses.replace(BINDING, **{name: "other"})


async def test_replace_does_everything_again_and_keeps_results_until_then(journal: Journal, tmp_path: Path) -> None:
    await journal.items.plan([item(0), item(1)], 10)
    await journal.items.outcome(item(0), 0, Result(item(0).item_id, {}), {"x": 1})
    await journal.items.outcome(item(1), 0, Failure(item(1).item_id, "bad_input", "m"), {"x": 2})
    await rebind(journal, tmp_path, replace=True, model="other")
    await journal.runs.start("run-2")
    counts = await journal.items.plan([item(0), item(1)], 10)
    assert (counts.retried, counts.kept) == (2, 0)
    assert list(journal.items.results(0)) == [b'{"x":1}']


async def test_outs_of_one_journal_do_not_see_each_other(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    one = await opened(tmp_path / "a", "run-a", shared)
    other = await opened(tmp_path / "b", "run-b", shared, Binding.of("/other", "x", "y", "z", {}))
    await one.items.plan([item(0)], 10)
    counts = await other.items.plan([item(0)], 10)
    assert counts.new == 1
    assert one.outs.binding() != other.outs.binding()
    assert one.items.counts_now() == {("pending", None): 1}
    one.close()
    other.close()


async def test_schemas_are_frozen_and_a_new_one_rewrites_every_part(journal: Journal) -> None:
    assert journal.outs.schemas() is None
    await journal.items.plan([item(0)], 10)
    await journal.items.outcome(item(0), 0, Result(item(0).item_id, {}), {})
    await journal.parts.commit([Part("results", "000000", 1, 5, "d")], 1, shard=0)
    assert await journal.items.shards() == []
    await journal.outs.freeze(b"results", b"rows")
    assert journal.outs.schemas() == (b"results", b"rows")
    assert [(w.shard, w.pending) for w in await journal.items.shards()] == [(0, 0)]


def test_a_second_run_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    journal, other = Journal.open(tmp_path), Journal.open(tmp_path)
    lock = OutLock.acquire(tmp_path, journal, "run-one")
    with pytest.raises(OutBusy, match=rf"run run-one \(pid {os.getpid()} on ") as refused:
        OutLock.acquire(tmp_path, other, "run-two")
    assert refused.value.exit_code == 5
    assert "run-one" in (holder(tmp_path) or "")
    lock.release()
    lock.release()
    assert holder(tmp_path) is None
    again = OutLock.acquire(tmp_path, other, "run-two")
    assert again.token > lock.token
    again.release()
    journal.close()
    other.close()


def test_a_killed_holder_leaves_the_way_free(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        journal = Journal.open(tmp_path)
        with pytest.raises(OutBusy, match=rf"run run-of-the-child \(pid {child.pid} on "):
            OutLock.acquire(tmp_path, journal, "run-two")
        child.send_signal(signal.SIGKILL)
        child.wait()
    lock = OutLock.acquire(tmp_path, journal, "run-two")
    assert lock.token == 2
    lock.release()
    journal.close()


def test_a_lock_file_of_nonsense_does_not_matter(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    (tmp_path / ".journal" / "lock").write_bytes(b'\xff{"run_id":')
    assert holder(tmp_path) is None
    OutLock.acquire(tmp_path, journal, "run-one").release()
    journal.close()


def test_a_lock_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    (tmp_path / ".journal" / "lock").mkdir()
    with pytest.raises(StorageError, match="lock"):
        OutLock.acquire(tmp_path, journal, "run-one")
    journal.close()


async def test_parts_count_only_under_the_highest_token(journal: Journal, tmp_path: Path) -> None:
    old = OutLock.acquire(tmp_path, journal, "run-1")
    await journal.parts.commit([Part("results", "000000", 3, 10, "d1")], old.token)
    old.release()  # as a network file system may do to a process that was held up
    new = OutLock.acquire(tmp_path, journal, "run-2")
    with pytest.raises(OutBusy, match="taken this OUT over"):
        await journal.parts.commit([Part("results", "000000", 9, 99, "d2")], old.token, shard=0)
    assert journal.parts.listed() == [Part("results", "000000", 3, 10, "d1")]
    await journal.parts.commit([Part("results", "000000", 4, 11, "d3")], new.token)
    assert journal.parts.listed() == [Part("results", "000000", 4, 11, "d3")]
    new.release()


async def test_a_part_without_rows_is_no_part(journal: Journal) -> None:
    await journal.parts.commit([Part("failures", "000000", 1, 10, "d"), Part("results", "000000", 2, 10, "d")], 1)
    await journal.parts.commit([Part("failures", "000000", 0, 0, "")], 1)
    assert [(p.kind, p.rows) for p in journal.parts.listed()] == [("results", 2)]


async def test_a_spoiled_part_is_written_again(journal: Journal) -> None:
    await journal.items.plan([item(n) for n in range(4)], 2)
    for shard in (0, 1):
        await journal.parts.commit([Part("results", f"{shard:06d}", 2, 10, "d")], 1, shard=shard)
    for n in range(4):
        await journal.items.outcome(item(n), n // 2, Result(item(n).item_id, {}), {})
    for shard in (0, 1):
        await journal.parts.commit([Part("results", f"{shard:06d}", 2, 10, "d")], 1, shard=shard)
    assert await journal.items.shards() == []
    await journal.parts.spoil({"000001"})
    assert [(w.shard, w.pending) for w in await journal.items.shards()] == [(1, 0)]


async def test_runs_that_crashed_are_closed_by_the_next_that_finishes(journal: Journal) -> None:
    last = journal.runs.last()
    assert last is not None
    assert (last["run_id"], last["finished_at"]) == ("run-1", None)
    await journal.runs.start("run-2")
    await journal.runs.finish("completed", {"done": 1})
    last = journal.runs.last()
    assert last is not None
    assert (last["run_id"], last["state"], last["summary"]) == ("run-2", "completed", '{"done":1}')
    assert last["finished_at"] is not None


async def test_hashes_are_remembered_for_the_same_file_only(journal: Journal) -> None:
    await journal.files.remember("/a", 10, 5, 7, "sha")
    assert await journal.files.hash_of("/a", 10, 5, 7) == "sha"
    for size, mtime, inode in ((11, 5, 7), (10, 6, 7), (10, 5, 8)):
        assert await journal.files.hash_of("/a", size, mtime, inode) is None
    assert await journal.files.hash_of("/b", 10, 5, 7) is None
    await journal.files.remember("/a", 11, 5, 7, "other")
    assert await journal.files.hash_of("/a", 11, 5, 7) == "other"


async def test_what_a_limiter_learned_is_kept(journal: Journal) -> None:
    assert journal.ceilings.get("together") is None
    await journal.ceilings.put("together", {"rate": 5.0})
    await journal.ceilings.put("together", {"rate": 7.0})
    assert journal.ceilings.get("together") == {"rate": 7.0}
