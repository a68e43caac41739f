"""OUT's lock: one run at a time. A flock where the folder is, and a fencing token in the journal."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import orjson
from sqlalchemy import Connection, select

from tasks.errors import OutBusy, StorageError
from tasks.journal.dialect import upsert
from tasks.journal.journal import Journal
from tasks.journal.tables import leases


class OutLock:
    """Held for as long as a run works on OUT; the system drops it when the process dies.

    ``token`` is higher than that of every earlier holder; a part commits only under the highest.
    """

    def __init__(self, file: IO[str], token: int) -> None:
        self._file = file
        self.token = token

    @classmethod
    def acquire(cls, out: Path, journal: Journal, run_id: str) -> OutLock:
        """Take the lock.

        Raises:
            OutBusy: naming the run that holds it.
            StorageError: when the lock file cannot be written.
        """
        path = out / ".journal" / "lock"
        try:
            file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise StorageError(f"{path}: {error.strerror or error}", hint="choose another --out") from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OutBusy(
                f"{out} is in use: {holder(out) or 'by another run'}", hint="wait for it or stop it"
            ) from None
        file.truncate(0)
        about = {"run_id": run_id, "pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        file.write(orjson.dumps(about).decode())
        file.flush()
        journal.lease_name = f"out:{out}"
        return cls(file, journal.write_now(lambda connection: _next_token(connection, journal.lease_name, run_id)))

    def release(self) -> None:
        """Let the next run in."""
        if not self._file.closed:
            self._file.truncate(0)
            self._file.close()


def holder(out: Path) -> str | None:
    """Who works on OUT now, in words; None when nobody does."""
    path = out / ".journal" / "lock"
    try:
        with path.open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.seek(0)
                return _words(file.read())
    except OSError:
        return None
    return None


def _words(text: str) -> str:
    try:
        about = orjson.loads(text)
    except ValueError:
        return "by another run"
    since = datetime.fromtimestamp(about["since"], UTC)
    return f"run {about['run_id']} (pid {about['pid']} on {about['host']}) since {since:%Y-%m-%d %H:%M:%S} UTC"


def _next_token(connection: Connection, name: str, owner: str) -> int:
    held = connection.execute(select(leases.c.token).where(leases.c.name == name)).scalar()
    token = int(held or 0) + 1
    row = {"name": name, "owner": owner, "heartbeat": time.time_ns() // 1000, "token": token}
    connection.execute(upsert(connection, leases, ("owner", "heartbeat", "token")), row)
    return token
