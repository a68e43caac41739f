"""A file of JSON lines that a server appends to and reads again when it starts: its bill, its video jobs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson

from mediamill.tasks.errors import StorageError


class RecordFile:
    """Appends records, each a line that a crash can cut off but not mix with another."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def open(cls, path: Path, contents: str) -> tuple[RecordFile, list[bytes]]:
        """Open the file, and create it when it is missing.

        Args:
            path: the file.
            contents: what it holds, for error messages, e.g. ``the bill``.

        Returns:
            The open file, and its lines; a crash may have cut the last one off.

        Raises:
            StorageError: when the file cannot be written.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            lines = path.read_bytes().split(b"\n")
        except OSError as error:
            raise StorageError(f"cannot write {contents} to {path}: {error.strerror}") from None
        if lines[-1]:
            os.write(descriptor, b"\n")
        return cls(descriptor), lines

    def append(self, record: Any) -> None:
        """Write one record."""
        os.write(self._descriptor, orjson.dumps(record) + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
