"""Blobs: replies too large for a table row, each in a file named by its SHA-256."""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path

from mediamill.tasks.errors import StorageError
from mediamill.tasks.system.os_errors import build_storage_error
from mediamill.tasks.system.private_files import make_folder, open_private


class BlobStore:
    """A content-addressed folder. A blob is durable before ``put`` returns."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, data: bytes) -> str:
        """Store bytes; returns their SHA-256 (hex), by which ``get`` finds them."""
        digest = hashlib.sha256(data).hexdigest()
        path = self.path(digest)
        if path.exists() and path.stat().st_size == len(data):
            return digest
        _make_folder(path.parent)
        temporary = path.with_name(f".{digest}.{uuid.uuid4().hex}")
        try:
            with open(temporary, "xb", opener=open_private) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        sync_path(path.parent)
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes stored under ``digest``.

        Raises:
            StorageError: when they are gone or have changed.
        """
        try:
            data = self.path(digest).read_bytes()
        except OSError as error:
            raise build_storage_error(error, self.path(digest)) from None
        if hashlib.sha256(data).hexdigest() != digest:
            raise StorageError(f"{self.path(digest)}: is damaged", hint="restore it from a copy")
        return data

    def read_head(self, digest: str, size: int) -> tuple[bytes, int] | None:
        """The first bytes stored under ``digest``, and how many there are; None where they cannot be read."""
        try:
            with self.path(digest).open("rb") as file:
                return file.read(size), os.fstat(file.fileno()).st_size
        except OSError:
            return None

    def path(self, digest: str) -> Path:
        """The file of a blob."""
        return self._root / digest[:2] / digest[2:4] / digest


def _make_folder(folder: Path) -> None:
    """Create a folder and its parents, each durable in the folder above it."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    make_folder(folder, mode=0o700 if not folder.parent.stat().st_mode & 0o020 else 0o770)
    sync_path(folder.parent)


def sync_path(path: Path) -> None:
    """Make the content of a file durable, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
