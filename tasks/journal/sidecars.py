"""Sidecars: the files beside the sources that an OUT has written, so that it never writes over anybody else's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from mediamill.tasks.journal.database import JournalDatabase
from mediamill.tasks.journal.json_codec import path_to_text, text_to_path
from mediamill.tasks.journal.sql_dialect import split_values, upsert
from mediamill.tasks.journal.tables import items, sidecars


@dataclass(frozen=True, slots=True)
class WrittenSidecar:
    """A file beside a source: its absolute path, its item, its SHA-256 and that of the content before.

    It is recorded before it is written: after a crash the file has the one content or the other.
    """

    path: str
    item_id: str
    sha256: str
    sha256_before: str | None = None


class Sidecars:
    """The sidecars of one OUT."""

    def __init__(self, journal: JournalDatabase) -> None:
        self._journal = journal

    @property
    def out_id(self) -> str:
        """The OUT whose sidecars they are."""
        return self._journal.out_id

    def find(self, paths: Sequence[str]) -> dict[str, WrittenSidecar]:
        """Those of ``paths`` that this OUT has written, or was about to write, by path."""
        found: dict[str, WrittenSidecar] = {}
        table = sidecars.c
        for chunk in split_values([path_to_text(path) for path in paths]):
            condition = (table.out_id == self._journal.out_id, table.path.in_(chunk))
            statement = select(table.path, table.item_id, table.sha256, table.sha256_before).where(*condition)
            for row in self._journal.stream(statement):
                path = text_to_path(row[0])
                found[path] = WrittenSidecar(path, *row[1:])
        return found

    def record(self, written: Sequence[WrittenSidecar]) -> None:
        """Record sidecars that are about to be written; durable when this returns."""
        rows = [
            {
                "out_id": self._journal.out_id,
                "path": path_to_text(each.path),
                "item_id": each.item_id,
                "sha256": each.sha256,
                "sha256_before": each.sha256_before,
            }
            for each in written
        ]
        columns = ("item_id", "sha256", "sha256_before")
        if rows:
            self._journal.write_blocking(
                lambda connection: connection.execute(upsert(connection, sidecars, columns), rows)
            )

    def is_source(self, path: str) -> bool:
        """Whether a file is itself the input of one of OUT's items."""
        conditions = (items.c.out_id == self._journal.out_id, items.c.location == path_to_text(path))
        statement = select(items.c.item_id).where(*conditions).limit(1)
        return self._journal.read_blocking(lambda connection: connection.execute(statement).first()) is not None
