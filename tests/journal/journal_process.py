"""A process that works on a journal until it is killed: ``python -m tests.journal.journal_process HOW ROOT URL``."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from sqlalchemy import Connection, text

from mediamill.tasks import fault_injection
from mediamill.tasks.journal import migrations
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.output_lock import OutputLock
from tests.journal.stores import Store, claim, new_attempt, reply

KEYS = 200


def say(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


async def answer(store: Store, fault: str) -> None:
    """Ask after Ask, told on stdout once the journal has acknowledged its reply."""
    journal = await store.open()
    fault_injection.arm(fault)

    async def one(number: int) -> None:
        key = f"k{number:03d}"
        await claim(journal, key, time.time_ns() // 1000)
        await journal.asks.record_sending(new_attempt(journal, f"c{number}"), [key])
        say("sending", key)
        await reply(journal, [key], f"c{number}", key.encode())
        say("replied", key)

    for start in range(0, KEYS, 4):
        await asyncio.gather(*(one(number) for number in range(start, start + 4)))


async def race(store: Store, out: str) -> None:
    """Claim every key as fast as possible and tell which are ours."""
    journal = await store.open(out)
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    now = time.time_ns() // 1000
    claims = await asyncio.gather(*(claim(journal, f"k{number:03d}", now) for number in range(KEYS)))
    say(*(f"k{number:03d}" for number, claimed in enumerate(claims) if claimed.state == "mine"))
    await asyncio.to_thread(sys.stdin.readline)


def lock(out: Path) -> None:
    """Hold OUT until the end."""
    held = OutputLock.acquire(out, Journal.open(out), "run-of-the-child")
    say("held", str(held.token))
    sys.stdin.readline()


def migrate(out: Path, url: str, how: str) -> None:
    """Open a journal with a program that knows one version more, and die or take long in its migration."""

    def apply(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE later (number INTEGER)"))
        connection.execute(text("INSERT INTO later VALUES (1)"))
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.3)

    steps = migrations.MIGRATIONS
    migrations.MIGRATIONS = (*steps, migrations.Migration(steps[-1].version + 1, apply))
    say("ready")
    sys.stdin.readline()
    Journal.open(out, url).close()
    say("opened")


def main() -> None:
    how, root, url, what = sys.argv[1:]
    store = Store(Path(root), url)
    if how == "answer":
        asyncio.run(answer(store, what))
    elif how == "race":
        asyncio.run(race(store, what))
    elif how == "migrate":
        migrate(Path(root) / "a", url, what)
    else:
        lock(Path(root))
    store.close()


if __name__ == "__main__":
    main()
