"""OUT's lock: one run at a time. A flock where the folder is, and a fencing token in the journal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import orjson
from sqlalchemy import Connection, update

from mediamill.tasks.errors import OutputBusy
from mediamill.tasks.journal.database import JournalDatabase, name_lock
from mediamill.tasks.journal.out_place import ensure_out_id
from mediamill.tasks.journal.sql_dialect import insert_if_absent
from mediamill.tasks.journal.tables import leases
from mediamill.tasks.system.os_errors import build_storage_error
from mediamill.tasks.system.private_files import open_private

_MAX_TRIES, _PAUSE_SECONDS = 6, 0.05
_LEFT_WORKERS_SECONDS = 30.0
"""How long the workers of a run that died are waited for: they store the replies to what is in flight."""


class HeldLock:
    """OUT's lock as a worker process has it: the run's own process took it, and the worker keeps its file open too.

    So OUT stays locked until the last of them has ended.
    """

    def __init__(self, token: int) -> None:
        self.token = token

    def release(self) -> None:
        """Leave it to the end of this process."""


class OutputLock:
    """Held for as long as a run works on OUT; the operating system releases it when the process dies.

    ``token`` is higher than that of every earlier owner; parts are committed only under the highest.
    """

    def __init__(self, file: IO[str], token: int) -> None:
        self._file = file
        self.token = token

    @classmethod
    def acquire(cls, out: Path, journal: JournalDatabase, run_id: str) -> OutputLock:
        """Take the lock.

        Raises:
            OutputBusy: naming the run that holds it.
            StorageError: when the lock file cannot be written.
        """
        path = out / ".journal" / "lock"
        try:
            file = open(path, "a+", encoding="utf-8", opener=open_private)  # noqa: SIM115 (Path.open takes no opener)
        except OSError as error:
            raise build_storage_error(error, path) from None
        try:
            if not (_try_to_lock(file) or _wait_for_left_workers(file)):
                raise OutputBusy(
                    f"{out} is in use: {describe_owner(out) or 'by another run'}", hint="wait for it or stop it"
                )
            file.truncate(0)
            owner = {"run_id": run_id, "pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
            file.write(orjson.dumps(owner).decode())
            file.flush()
            journal.lease_name = name_lock(ensure_out_id(out, journal.out_id))
            token = journal.write_blocking(lambda connection: _increment_token(connection, journal.lease_name, run_id))
        except OSError as error:
            _close(file)
            raise build_storage_error(error, path) from None
        except BaseException:
            _close(file)
            raise
        return cls(file, token)

    def fileno(self) -> int:
        """The descriptor of the lock's file: a process that inherits it holds the lock, too."""
        return self._file.fileno()

    def release(self) -> None:
        """Release the lock, so that the next run may take it."""
        if not self._file.closed:
            with contextlib.suppress(OSError):  # its content means something only while the lock is held
                self._file.truncate(0)
            _close(self._file)


def _try_to_lock(file: IO[str]) -> bool:
    """Try for a moment, because ``describe_owner`` holds the lock briefly while it looks."""
    for _ in range(_MAX_TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_SECONDS)
        else:
            return True
    return False


def _wait_for_left_workers(file: IO[str]) -> bool:
    """Wait for the lock while only the workers of a run hold it that died on this machine; whether it is taken."""
    ends_at = time.monotonic() + _LEFT_WORKERS_SECONDS
    while time.monotonic() < ends_at and _is_owner_dead(file):
        if _try_to_lock(file):
            return True
    return False


def _is_owner_dead(file: IO[str]) -> bool:
    try:
        file.seek(0)
        owner = orjson.loads(file.read())
        if owner["host"] != socket.gethostname():
            return False
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, TypeError, KeyError):
        return False
    return False


def _close(file: IO[str]) -> None:
    with contextlib.suppress(OSError):
        file.close()


def describe_owner(out: Path) -> str | None:
    """The run that works on OUT now, in words; None when there is none."""
    path = out / ".journal" / "lock"
    try:
        with path.open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _format_owner(file.read())
    except OSError:
        return None
    return None


def _format_owner(text: str) -> str:
    try:
        owner = orjson.loads(text)
    except ValueError:
        return "by another run"
    since = datetime.fromtimestamp(owner["since"], UTC)
    return f"run {owner['run_id']} (pid {owner['pid']} on {owner['host']}) since {since:%Y-%m-%d %H:%M:%S} UTC"


def _increment_token(connection: Connection, name: str, owner: str) -> int:
    insert_if_absent(connection, leases, "name", [{"name": name, "owner": owner, "heartbeat": 0, "token": 0}])
    values = {"owner": owner, "heartbeat": time.time_ns() // 1000, "token": leases.c.token + 1}
    statement = update(leases).where(leases.c.name == name).values(**values).returning(leases.c.token)
    return int(connection.execute(statement).scalar_one())
