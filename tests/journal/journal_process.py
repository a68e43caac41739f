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


def print_words(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


async def answer_asks(store: Store, fault: str) -> None:
    """Send Ask after Ask and print each once the journal has acknowledged its reply."""
    journal = await store.open()
    fault_injection.arm(fault)

    async def answer_one(number: int) -> None:
        key = f"k{number:03d}"
        await claim(journal, key, time.time_ns() // 1000)
        await journal.asks.record_sending(new_attempt(journal, f"c{number}"), [key])
        print_words("sending", key)
        await reply(journal, [key], f"c{number}", key.encode())
        print_words("replied", key)

    for start in range(0, KEYS, 4):
        await asyncio.gather(*(answer_one(number) for number in range(start, start + 4)))


async def claim_all(store: Store, out: str) -> None:
    """Claim every key as fast as possible and print those that were claimed."""
    journal = await store.open(out)
    print_words("ready")
    await asyncio.to_thread(sys.stdin.readline)
    now = time.time_ns() // 1000
    claims = await asyncio.gather(*(claim(journal, f"k{number:03d}", now) for number in range(KEYS)))
    print_words(*(f"k{number:03d}" for number, claimed in enumerate(claims) if claimed.state == "mine"))
    await asyncio.to_thread(sys.stdin.readline)


def hold_lock(out: Path) -> None:
    """Hold OUT's lock until stdin has a line."""
    lock = OutputLock.acquire(out, Journal.open(out), "run-of-the-child")
    print_words("held", str(lock.token))
    sys.stdin.readline()


def migrate(out: Path, url: str, mode: str) -> None:
    """Open a journal with one more migration, which kills the process or takes long."""

    def apply(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE later (number INTEGER)"))
        connection.execute(text("INSERT INTO later VALUES (1)"))
        if mode == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.3)

    steps = migrations.MIGRATIONS
    migrations.MIGRATIONS = (*steps, migrations.Migration(steps[-1].version + 1, apply))
    print_words("ready")
    sys.stdin.readline()
    Journal.open(out, url).close()
    print_words("opened")


def main() -> None:
    role, root, url, argument = sys.argv[1:]
    store = Store(Path(root), url)
    if role == "answer":
        asyncio.run(answer_asks(store, argument))
    elif role == "race":
        asyncio.run(claim_all(store, argument))
    elif role == "migrate":
        migrate(Path(root) / "a", url, argument)
    else:
        hold_lock(Path(root))
    store.close()


if __name__ == "__main__":
    main()
