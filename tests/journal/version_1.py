"""OUTs and journals written by the program of commit 0534147, adapted to a folder; see fixtures/v1/README.md."""

from __future__ import annotations

import json
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from mediamill.tasks.sources.locate import fingerprint_file

ARCHIVE = Path(__file__).parent / "fixtures" / "v1" / "outs.tar.xz"
SHARED = ("caption", "caption-again", "embed", "images", "killed", "paid", "speak")
"""The OUTs whose journal is ``shared``."""


def unpack_archive(root: Path) -> Path:
    """Unpack the archive into ``root``, with paths and fingerprints as if it had been written there."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(root, filter="data")
    original_root = read_sources(root)["root"]
    for database in (root / "shared" / "journal.sqlite", root / "transcribe" / ".journal" / "journal.sqlite"):
        with open_database(database) as connection:
            connection.execute(
                "UPDATE outs SET root = replace(root, ?, ?), job = replace(job, ?, ?)", [original_root, str(root)] * 2
            )
            connection.execute("UPDATE items SET location = replace(location, ?, ?)", [original_root, str(root)])
            for (location,) in connection.execute(
                "SELECT DISTINCT location FROM items WHERE location NOT NULL"
            ).fetchall():
                new = fingerprint_file(location, Path(location).stat())
                connection.execute(
                    "UPDATE items SET result_fingerprint = ? WHERE location = ? AND result_fingerprint = fingerprint",
                    [new, location],
                )
                connection.execute("UPDATE items SET fingerprint = ? WHERE location = ?", [new, location])
            connection.commit()
    for name in SHARED:
        (root / name / ".journal" / "elsewhere").write_text(str(root / "shared"))
    return root


def read_sources(root: Path) -> dict[str, Any]:
    """The root where it was written, and the size, modification time (ns) and inode of each source file there."""
    sources: dict[str, Any] = json.loads((root / "files.json").read_text())
    return sources


def journal_path(root: Path, out: str) -> Path:
    """The database of an OUT's journal."""
    return (root / "shared" if out in SHARED else root / out / ".journal") / "journal.sqlite"


@contextmanager
def open_database(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection whose rows are mappings."""
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


def read_table(database: Path, name: str) -> list[dict[str, Any]]:
    """Every row of a table, in a fixed order."""
    with open_database(database) as connection:
        return sorted((dict(row) for row in connection.execute(f"SELECT * FROM {name}")), key=repr)
