"""Open a database for reading where nothing can be written beside it: a read-only mount, a folder of somebody else."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Engine, create_engine, event

_SUFFIXES = ("", "-wal")


def is_read_only(folder: Path) -> bool:
    """Whether this process cannot write in a folder; SQLite needs to, even to read."""
    return not os.access(folder, os.W_OK)


def create_read_only_engine(path: Path, create_engine_at: Callable[[Path], Engine]) -> Engine:
    """An engine that reads the database at ``path`` as it is now, and writes nothing there.

    What a process that was killed has left in the write-ahead log can be read from a copy alone, which is made in the
    folder of temporary files and goes with the engine.

    Args:
        path: of the database.
        create_engine_at: makes the engine of a database that may be written.
    """
    log = path.with_name(f"{path.name}-wal")
    if not log.exists() or not log.stat().st_size:
        uri = f"file:{quote(str(path))}?mode=ro&immutable=1&uri=true"
        return create_engine(f"sqlite:///{uri}", connect_args={"check_same_thread": False})
    folder = Path(tempfile.mkdtemp(prefix="mediamill-journal-"))
    for suffix in _SUFFIXES:
        shutil.copyfile(f"{path}{suffix}", folder / f"{path.name}{suffix}")
    engine = create_engine_at(folder / path.name)
    event.listen(engine, "engine_disposed", lambda _: shutil.rmtree(folder, ignore_errors=True))
    return engine
