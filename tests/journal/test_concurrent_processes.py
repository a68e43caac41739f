"""Several processes on one journal: killed in the middle, racing each other, holding OUT."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from mediamill.tasks.errors import OutputBusy
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.output_lock import OutputLock, describe_owner
from tests.journal.journal_process import KEYS
from tests.journal.stores import Start, Store, claim


@pytest.mark.parametrize("point", ["journal.commit.before", "journal.commit.after"])
@pytest.mark.parametrize("nth", [1, 8, 21])
async def test_nothing_acknowledged_is_lost_by_a_kill(store: Store, start: Start, point: str, nth: int) -> None:
    child = start("answer", store.root, store.url, f"{point}:{nth}:kill")
    told, _ = child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL
    said = [tuple(line.split()) for line in told.splitlines()]
    replied, sending = ({key for word, key in said if word == which} for which in ("replied", "sending"))
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
            assert found.state in ("mine", "unknown"), "it waits for nobody"
    rows = list(journal.attempts.stream_all())
    assert len(rows) == len({row["call_id"] for row in rows}) >= len(sending)
    assert {row["outcome"] for row in rows} <= {"replied", "unknown"}


async def test_two_processes_race_and_each_ask_has_one_owner(store: Store, start: Start) -> None:
    journal = await store.open("witness")
    children = [start("race", store.root, store.url, out) for out in ("a", "b")]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    mine = []
    for child in children:
        assert child.stdout is not None
        mine += child.stdout.readline().split()
    assert sorted(mine) == [f"k{number:03d}" for number in range(KEYS)]
    assert (await claim(journal, "k000", time.time_ns() // 1000)).state == "busy"


def test_a_second_run_is_told_who_holds_out_and_a_killed_one_holds_nothing(tmp_path: Path, start: Start) -> None:
    child = start("lock", tmp_path, "")
    assert child.stdout is not None
    assert child.stdout.readline().split() == ["held", "1"]
    journal = Journal.open(tmp_path)
    try:
        with pytest.raises(OutputBusy) as busy:
            OutputLock.acquire(tmp_path, journal, "second")
        for told in ("run-of-the-child", f"pid {child.pid}", "since", str(tmp_path)):
            assert told in str(busy.value)
        assert "run-of-the-child" in (describe_owner(tmp_path) or "")
        child.kill()
        child.wait()
        assert describe_owner(tmp_path) is None
        lock = OutputLock.acquire(tmp_path, journal, "second")
        assert lock.token == 2
        lock.release()
    finally:
        journal.close()
