"""Where recordings were cut: stored before the pieces are sent, so that a resumed run sends the same pieces."""

from __future__ import annotations

import orjson
from sqlalchemy import select

from mediamill.tasks.journal.database import JournalDatabase
from mediamill.tasks.journal.sql_dialect import upsert
from mediamill.tasks.journal.tables import cuts


class CutPointStore:
    """Cut points by the recording's SHA-256 and the recipe it is cut by; shared by every OUT of the journal."""

    def __init__(self, journal: JournalDatabase) -> None:
        self._journal = journal

    async def load(self, sha256: str, recipe: str) -> tuple[tuple[int, ...], int | None]:
        """The cut points in samples at 16 kHz and, once it was cut to its end, the recording's length in samples."""
        statement = select(cuts.c.points).where(cuts.c.sha256 == sha256, cuts.c.recipe == recipe)
        text = await self._journal.read(lambda connection: connection.execute(statement).scalar())
        stored = orjson.loads(text) if text else {"points": [], "length": None}
        return tuple(stored["points"]), stored["length"]

    async def store(self, sha256: str, recipe: str, points: tuple[int, ...], length: int | None) -> None:
        """Store the cut points; durable when this returns."""
        text = orjson.dumps({"points": points, "length": length}).decode()
        row = {"sha256": sha256, "recipe": recipe, "points": text}
        await self._journal.write(lambda connection: connection.execute(upsert(connection, cuts, ("points",)), row))
