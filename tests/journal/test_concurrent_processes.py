"""Several processes on one journal: killed while they write, racing for claims, holding OUT's lock."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from mediamill.tasks.errors import OutputBusy
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.output_lock import OutputLock, describe_owner
from tests.helpers.tiers import mark_rest_long
from tests.journal.journal_process import KEYS
from tests.journal.stores import StartProcess, Store, claim


@pytest.mark.parametrize("point", ["journal.commit.before", "journal.commit.after"])
@pytest.mark.parametrize("nth", mark_rest_long([1, 8, 21], [8]))
async def test_a_kill_loses_no_acknowledged_reply(
    store: Store, start_process: StartProcess, point: str, nth: int
) -> None:
    child = start_process("answer", store.root, store.url, f"{point}:{nth}:kill")
    output, _ = child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL
    lines = [tuple(line.split()) for line in output.splitlines()]
    replied, sending = ({key for word, key in lines if word == which} for which in ("replied", "sending"))
    journal = await store.open()
    for number in range(KEYS):
        key = f"k{number:03d}"
        found = await claim(journal, key, time.time_ns() // 1000)
        if key in replied:
            assert found.attempt is not None
            assert found.attempt.reply_body == key.encode()
        elif key in sending:
            assert found.state in ("hit", "unknown"), "it may have been paid"
        else:
            assert found.state in ("mine", "unknown"), "no live owner has it"
    rows = list(journal.attempts.stream_all())
    assert len(rows) == len({row["call_id"] for row in rows}) >= len(sending)
    assert {row["outcome"] for row in rows} <= {"replied", "unknown"}


@pytest.mark.long
async def test_each_ask_has_one_owner_when_two_processes_race(store: Store, start_process: StartProcess) -> None:
    journal = await store.open("witness")
    children = [start_process("race", store.root, store.url, out) for out in ("a", "b")]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    claimed = []
    for child in children:
        assert child.stdout is not None
        claimed += child.stdout.readline().split()
    assert sorted(claimed) == [f"k{number:03d}" for number in range(KEYS)]
    assert (await claim(journal, "k000", time.time_ns() // 1000)).state == "busy"


def test_a_locked_out_names_its_owner_and_a_kill_releases_the_lock(tmp_path: Path, start_process: StartProcess) -> None:
    child = start_process("lock", tmp_path, "")
    assert child.stdout is not None
    assert child.stdout.readline().split() == ["held", "1"]
    journal = Journal.open(tmp_path)
    try:
        with pytest.raises(OutputBusy) as busy:
            OutputLock.acquire(tmp_path, journal, "second")
        for words in ("run-of-the-child", f"pid {child.pid}", "since", str(tmp_path)):
            assert words in str(busy.value)
        assert "run-of-the-child" in (describe_owner(tmp_path) or "")
        child.kill()
        child.wait()
        assert describe_owner(tmp_path) is None
        lock = OutputLock.acquire(tmp_path, journal, "second")
        assert lock.token == 2
        lock.release()
    finally:
        journal.close()
