"""Turns at writing one SQLite database, for the processes of one run.

SQLite's own wait for its write lock sleeps for up to 100 ms and is not fair: of two writers that always have something
to write one waited for a second, and both together wrote half as much (decision 56). Here the kernel wakes the next one
as soon as the lock is free, and frees it when its holder dies. Without a turn everything is still right: the database's
own lock decides.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mediamill.tasks.system.private_files import open_private

_FILE = "turn"


class WritingTurn:
    """The turn of this process.

    Args:
        folder: of the database.

    Raises:
        OSError: when its file cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        self._file: IO[str] = open(folder / _FILE, "a", encoding="utf-8", opener=open_private)  # noqa: SIM115

    @contextmanager
    def take(self) -> Iterator[None]:
        """Wait for the turn, and have it while the block runs."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close its file."""
        self._file.close()
