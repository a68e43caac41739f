"""What later runs reuse: hashes of large files, and the limits that rate limiters have learned."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, select

from mediamill.tasks.journal.database import JournalDatabase
from mediamill.tasks.journal.json_codec import path_to_text
from mediamill.tasks.journal.sql_dialect import upsert
from mediamill.tasks.journal.tables import ceilings, files


class FileHashes:
    """SHA-256 hashes of files, valid while path, size, mtime and inode stay the same."""

    def __init__(self, journal: JournalDatabase) -> None:
        self._journal = journal

    async def find_hash(self, path: str, size: int, mtime_ns: int, inode: int) -> str | None:
        """The stored hash; None when there is none or the file may have changed."""
        statement = select(files).where(files.c.path == path_to_text(path))
        row = await self._journal.read(lambda connection: connection.execute(statement).mappings().first())
        if row is None or (row["size"], row["mtime_ns"], row["inode"]) != (size, mtime_ns, inode):
            return None
        return str(row["sha256"])

    async def store_hash(self, path: str, size: int, mtime_ns: int, inode: int, sha256: str) -> None:
        """Store a file's hash."""
        row = {"path": path_to_text(path), "size": size, "mtime_ns": mtime_ns, "inode": inode, "sha256": sha256}
        await self._journal.write_batched(_store_hashes, row)


def _store_hashes(connection: Connection, rows: Sequence[dict[str, Any]]) -> Sequence[None]:
    connection.execute(upsert(connection, files, ("size", "mtime_ns", "inode", "sha256")), rows)
    return [None] * len(rows)


class LearnedLimits:
    """The state that a rate limiter has learned, by the limiter's name: provider, model and operation."""

    def __init__(self, journal: JournalDatabase, clock: Callable[[], float] = time.time) -> None:
        self._journal = journal
        self._clock = clock

    def load(self, name: str) -> tuple[dict[str, Any], float] | None:
        """The state stored under ``name``, and the seconds since then; None when there is none whose age is known."""
        statement = select(ceilings.c.state).where(ceilings.c.name == name)
        text = self._journal.read_blocking(lambda connection: connection.execute(statement).scalar())
        stored = {} if text is None else orjson.loads(text)
        if "stored_at" not in stored:
            return None
        age = self._clock() - stored["stored_at"]
        return (dict(stored["state"]), age) if age >= 0 else None  # the clock was set back

    async def store(self, name: str, state: Mapping[str, Any]) -> None:
        """Store the state under ``name``."""
        stored = {"stored_at": self._clock(), "state": state}
        row = {"name": name, "state": orjson.dumps(stored).decode()}
        await self._journal.write(lambda connection: connection.execute(upsert(connection, ceilings, ("state",)), row))
