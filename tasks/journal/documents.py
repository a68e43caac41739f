"""Documents: the files of OUT beside its parts, such as the report and the run records, and what each must be."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, update

from mediamill.tasks.journal.database import JournalDatabase
from mediamill.tasks.journal.sql_dialect import upsert
from mediamill.tasks.journal.tables import documents

DOCUMENTS_SINCE = 4
"""The journal's version that first has documents."""


@dataclass(frozen=True, slots=True)
class Document:
    """A file of OUT, with its path below it; ``size`` in bytes, ``mtime_ns`` in nanoseconds since the epoch.

    ``is_kept``: the journal has its content, because nothing else in it says that.
    """

    path: str
    size: int
    sha256: str
    mtime_ns: int
    is_kept: bool = False


class Documents:
    """The documents of one OUT."""

    def __init__(self, journal: JournalDatabase) -> None:
        self._journal = journal

    async def record(self, written: Sequence[Document]) -> None:
        """Record files that are in place as OUT's; contents that are kept stay."""
        if written:
            await self._journal.write(lambda connection: self._record(connection, written))

    async def keep(self, document: Document, content: bytes) -> None:
        """Record a file that is in place as OUT's, with its content."""

        def record_content(connection: Connection) -> None:
            self._record(connection, [document])
            mine = (documents.c.out_id == self._journal.out_id, documents.c.path == document.path)
            connection.execute(update(documents).where(*mine).values(content=zlib.compress(content)))

        await self._journal.write(record_content)

    def load_content(self, document: Document) -> bytes:
        """The content of a document that ``is_kept``."""
        mine = (documents.c.out_id == self._journal.out_id, documents.c.path == document.path)
        statement = select(documents.c.content).where(*mine)
        return zlib.decompress(
            self._journal.read_blocking(lambda connection: connection.execute(statement).scalar_one())
        )

    async def record_report(self, written: Sequence[Document]) -> None:
        """Record the files of a report that was built anew, and forget those of the one before."""
        await self._journal.write(lambda connection: self._record_report(connection, written))

    def record_report_blocking(self, written: Sequence[Document]) -> None:
        """The same, blocking; nothing in a journal that is read as an older program left it."""
        if self._journal.version >= DOCUMENTS_SINCE:
            self._journal.write_blocking(lambda connection: self._record_report(connection, written))

    def _record_report(self, connection: Connection, written: Sequence[Document]) -> None:
        """All documents but the report's have their content kept."""
        mine = (documents.c.out_id == self._journal.out_id, documents.c.content.is_(None))
        others = documents.c.path.not_in([document.path for document in written])
        connection.execute(delete(documents).where(*mine, others))
        self._record(connection, written)

    def _record(self, connection: Connection, written: Sequence[Document]) -> None:
        rows = [
            {
                "out_id": self._journal.out_id,
                "path": document.path,
                "bytes": document.size,
                "sha256": document.sha256,
                "mtime_ns": document.mtime_ns,
            }
            for document in written
        ]
        if rows:
            connection.execute(upsert(connection, documents, ("bytes", "sha256", "mtime_ns")), rows)

    def load_all(self) -> list[Document]:
        """Every document, by path."""
        table = documents.c
        columns = (table.path, table.bytes, table.sha256, table.mtime_ns, table.content.is_not(None))
        statement = select(*columns).where(table.out_id == self._journal.out_id).order_by(table.path)
        return [
            Document(*row)
            for row in self._journal.read_blocking(lambda connection: connection.execute(statement).all())
        ]
