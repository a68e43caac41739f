"""The files that clients have uploaded: in memory, for as long as the server runs, and no more than it can hold."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass, field
from typing import ClassVar

from mediamill.tasks.local.server.api_error import ApiError

_MAX_FILES = 10_000


@dataclass(slots=True)
class StoredFile:
    """A file of ``size`` bytes; ``data`` is None until they are there; who knows the ``token`` may put them there."""

    name: str
    purpose: str
    kind: str
    id: str = field(default_factory=lambda: f"file-{secrets.token_hex(12)}")
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    created_at: int = field(default_factory=lambda: int(time.time()))
    size: int = 0
    data: bytes | None = None
    sha256: str = ""


class FileStore:
    """Files by their id, in the order of their creation."""

    max_bytes: ClassVar[int] = 256 * 2**20
    """Of all files together."""

    def __init__(self) -> None:
        self._files: dict[str, StoredFile] = {}

    def add(self, name: str, purpose: str, kind: str) -> StoredFile:
        """Add a file without its bytes.

        Raises:
            ApiError: when there are too many files.
        """
        if len(self._files) >= _MAX_FILES:
            raise ApiError("too_large", f"this server keeps at most {_MAX_FILES} files; delete some")
        file = StoredFile(name[:255], purpose, kind[:40])
        self._files[file.id] = file
        return file

    def reserve(self, file: StoredFile, size: int) -> None:
        """Take room for a file's bytes before they are copied.

        Raises:
            ApiError: when the files have more bytes together than the server keeps; the file is then removed.
        """
        others = sum(one.size for one in self._files.values() if one is not file)
        if others + size > self.max_bytes:
            self.delete(file)
            raise ApiError("too_large", f"this server keeps files of at most {self.max_bytes} bytes; delete some")
        file.size = size

    def write(self, file: StoredFile, data: bytes) -> None:
        """Set the bytes of a file for which there is room. Blocking: large files are hashed for a while."""
        sha256 = hashlib.sha256(data).hexdigest()
        file.sha256, file.data = sha256, data

    def get(self, file_id: str) -> StoredFile | None:
        """The file with an id."""
        return self._files.get(file_id)

    def find_token(self, token: str) -> StoredFile | None:
        """The file whose bytes an address takes."""
        return next((file for file in self._files.values() if file.token == token), None)

    def find_sha256(self, sha256: str) -> StoredFile | None:
        """A complete file with these bytes."""
        return next((file for file in self._files.values() if file.sha256 == sha256), None)

    def list_complete(self) -> list[StoredFile]:
        """All files whose bytes are there."""
        return [file for file in self._files.values() if file.data is not None]

    def delete(self, file: StoredFile) -> None:
        """Forget a file."""
        self._files.pop(file.id, None)

    def clear(self) -> None:
        """Forget all files."""
        self._files.clear()
