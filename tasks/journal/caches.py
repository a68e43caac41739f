"""Small things worth remembering between runs: hashes of large files, and limits that were learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, select

from mediamill.tasks.journal.database import JournalDatabase
from mediamill.tasks.journal.json_codec import path_text
from mediamill.tasks.journal.sql_dialect import upsert
from mediamill.tasks.journal.tables import ceilings, files


class Files:
    """SHA-256 of files, valid while path, size, mtime and inode stay the same."""

    def __init__(self, journal: JournalDatabase) -> None:
        self._journal = journal

    async def hash_of(self, path: str, size: int, mtime_ns: int, inode: int) -> str | None:
        """The remembered hash; None when the file may have changed."""
        chosen = select(files).where(files.c.path == path_text(path))
        row = await self._journal.read(lambda connection: connection.execute(chosen).mappings().first())
        if row is None or (row["size"], row["mtime_ns"], row["inode"]) != (size, mtime_ns, inode):
            return None
        return str(row["sha256"])

    async def remember(self, path: str, size: int, mtime_ns: int, inode: int, sha256: str) -> None:
        """Remember a file's hash."""
        row = {"path": path_text(path), "size": size, "mtime_ns": mtime_ns, "inode": inode, "sha256": sha256}
        await self._journal.bulk(_remember, row)


def _remember(connection: Connection, rows: Sequence[dict[str, Any]]) -> Sequence[None]:
    connection.execute(upsert(connection, files, ("size", "mtime_ns", "inode", "sha256")), rows)
    return [None] * len(rows)


class Ceilings:
    """What a limiter learned, by provider, model and operation."""

    def __init__(self, journal: JournalDatabase) -> None:
        self._journal = journal

    def get(self, name: str) -> dict[str, Any] | None:
        """The state kept under ``name``."""
        chosen = select(ceilings.c.state).where(ceilings.c.name == name)
        found = self._journal.read_now(lambda connection: connection.execute(chosen).scalar())
        return None if found is None else dict(orjson.loads(found))

    async def put(self, name: str, state: Mapping[str, Any]) -> None:
        """Keep a state."""
        row = {"name": name, "state": orjson.dumps(state).decode()}
        await self._journal.write(lambda connection: connection.execute(upsert(connection, ceilings, ("state",)), row))
