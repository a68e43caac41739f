"""The output of a conversion: in memory while it is small, then in a file in the scratch folder."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from mediamill.tasks.domain import Payload
from mediamill.tasks.errors import BadInput, MediamillError
from mediamill.tasks.system.os_errors import build_storage_error

MAX_IN_MEMORY_BYTES = 2**20
"""A converted recording up to this size stays in memory."""


class SpooledOutput:
    """A seekable file for an encoder to write to; it is deleted when the encoding fails.

    The first failure is kept in ``failure``, because errors do not come back complete through an encoder
    written in C; writes after it are dropped.

    Args:
        scratch: folder for output over :data:`MAX_IN_MEMORY_BYTES`; created when needed. Its owner empties it.
        suffix: the file's extension, without a dot.
        max_bytes: maximum size.
    """

    def __init__(self, scratch: Path, suffix: str, max_bytes: int) -> None:
        self._scratch, self._suffix, self._max_bytes = scratch, suffix, max_bytes
        self._file: IO[bytes] = io.BytesIO()
        self.path: Path | None = None
        self.failure: MediamillError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()
        if kind is not None and self.path is not None:
            self.path.unlink(missing_ok=True)

    def write(self, data: bytes) -> int:
        """Write at the current position.

        Raises:
            BadInput: ``too_large`` past ``max_bytes``.
            StorageError: when the scratch folder cannot take it.
        """
        if self.failure is not None:
            return len(data)
        end = self._file.tell() + len(data)
        if end > self._max_bytes:
            self.failure = _recording_too_large_error(self._max_bytes)
            raise self.failure
        try:
            if self.path is None and end > MAX_IN_MEMORY_BYTES:
                self._spill_to_disk()
            return self._file.write(data)
        except OSError as error:
            self.failure = build_storage_error(error, self._scratch)
            raise self.failure from None

    def seek(self, offset: int, whence: int = 0) -> int:
        """Set the position, as files do."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The current position."""
        return self._file.tell()

    def to_payload(self, filename: str, mime: str) -> Payload:
        """What was written, as a payload to send."""
        if self.path is not None:
            self._file.flush()
            return Payload(filename, mime, self.path.stat().st_size, path=self.path)
        assert isinstance(self._file, io.BytesIO)
        data = self._file.getvalue()
        return Payload(filename, mime, len(data), data=data)

    def _spill_to_disk(self) -> None:
        position = self._file.tell()
        memory_file = self._file
        assert isinstance(memory_file, io.BytesIO)
        self._scratch.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._scratch, suffix=f".{self._suffix}")
        self._file, self.path = os.fdopen(handle, "w+b"), Path(name)
        self._file.write(memory_file.getvalue())
        self._file.seek(position)


def _recording_too_large_error(limit: int) -> BadInput:
    return BadInput(
        f"the recording is larger than the {format_bytes(limit)} that can be sent, even as 16 kHz mono",
        kind="too_large",
        hint="cut it into shorter files",
    )


def format_bytes(n: int) -> str:
    """Format a size for people: ``512 KB``, ``25 MB``."""
    return f"{n / 2**20:.4g} MB" if n >= 2**20 else f"{max(n / 2**10, 0.1):.4g} KB"
