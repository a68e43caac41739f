"""Parts: the Parquet files that belong to OUT, committed under the fencing token of OUT's lock."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Select, delete, select, update

from mediamill.tasks.errors import OutputBusy
from mediamill.tasks.journal.database import JournalDatabase
from mediamill.tasks.journal.sql_dialect import upsert
from mediamill.tasks.journal.tables import leases, parts, shards


@dataclass(frozen=True, slots=True)
class Part:
    """A part: its kind (results, failures or calls) and the name, rows, size and SHA-256 of its file.

    With 0 ``rows`` there is no file. ``mtime_ns`` is its modification time in nanoseconds since the epoch; None where
    an older program wrote it.
    """

    kind: str
    name: str
    rows: int
    bytes: int
    sha256: str
    mtime_ns: int | None = None


class Parts:
    """The committed parts of one OUT."""

    def __init__(self, journal: JournalDatabase) -> None:
        self._journal = journal

    async def commit(self, written: list[Part], token: int, *, shard: int | None = None) -> None:
        """Record files that are in place as parts of OUT; ``shard``, if given, is then no longer dirty.

        Raises:
            OutputBusy: when another run has taken OUT over since (its fencing token is higher).
        """
        await self._journal.write(lambda connection: self._commit(connection, written, token, shard))

    def _commit(self, connection: Connection, written: list[Part], token: int, shard: int | None) -> None:
        out_id = self._journal.out_id
        highest_token = connection.execute(_select_token(self._journal.lease_name)).scalar()
        if highest_token is not None and highest_token > token:
            raise OutputBusy("another run has taken this OUT over", hint="let it finish")
        for part in written:
            conditions = (parts.c.out_id == out_id, parts.c.kind == part.kind, parts.c.name == part.name)
            if not part.rows:
                connection.execute(delete(parts).where(*conditions))
                continue
            row = {
                "out_id": out_id,
                "kind": part.kind,
                "name": part.name,
                "rows": part.rows,
                "bytes": part.bytes,
                "sha256": part.sha256,
                "mtime_ns": part.mtime_ns,
            }
            connection.execute(upsert(connection, parts, ("rows", "bytes", "sha256", "mtime_ns")), row)
        if shard is not None:
            this_shard = (shards.c.out_id == out_id, shards.c.shard == shard)
            connection.execute(update(shards).where(*this_shard).values(dirty=0))

    def load_all(self) -> list[Part]:
        """Every committed part, by kind and name."""
        columns = (parts.c.kind, parts.c.name, parts.c.rows, parts.c.bytes, parts.c.sha256, parts.c.mtime_ns)
        statement = select(*columns).where(parts.c.out_id == self._journal.out_id).order_by(parts.c.kind, parts.c.name)
        return [
            Part(*row) for row in self._journal.read_blocking(lambda connection: connection.execute(statement).all())
        ]

    async def update_times(self, touched: list[Part]) -> None:
        """Keep the times of parts whose content is right, and whose files were copied or restored since."""

        def update_rows(connection: Connection) -> None:
            for part in touched:
                mine = (parts.c.out_id == self._journal.out_id, parts.c.kind == part.kind, parts.c.name == part.name)
                connection.execute(update(parts).where(*mine).values(mtime_ns=part.mtime_ns))

        if touched:
            await self._journal.write(update_rows)

    def list_dirty(self) -> list[int]:
        """The shards whose parts are not what the journal says, as after a crash."""
        conditions = (shards.c.out_id == self._journal.out_id, shards.c.dirty == 1)
        statement = select(shards.c.shard).where(*conditions).order_by(shards.c.shard)
        return list(self._journal.read_blocking(lambda connection: connection.execute(statement).scalars().all()))

    async def mark_dirty(self, names: set[str]) -> None:
        """Mark shards as dirty, because their files differ from what was committed."""
        numbers = [int(name) for name in names]
        conditions = (shards.c.out_id == self._journal.out_id, shards.c.shard.in_(numbers))
        await self._journal.write(
            lambda connection: connection.execute(update(shards).where(*conditions).values(dirty=1))
        )


def _select_token(name: str) -> Select[tuple[int]]:
    """A select of the highest token, which locks its row until the commit."""
    return select(leases.c.token).where(leases.c.name == name).with_for_update()
