"""The files of the page's thumbnails: written beside it, and removed when no page shows them any more."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mediamill.tasks.sinks.atomic_file import remove_file, write_atomically

FOLDER = "report_files"
"""Where the page's thumbnails are, below OUT; it moves with the page."""
_NAME = re.compile(r"[0-9a-f]{16}\.jpg")


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small JPEG for the page. Its name comes from its content, so no name from outside reaches the disk."""

    data: bytes = field(repr=False)

    @property
    def path(self) -> str:
        """Its path relative to OUT, which is also its link on the page."""
        return f"{FOLDER}/{hashlib.sha256(self.data).hexdigest()[:16]}.jpg"


def write_thumbnails(out: Path, thumbnails: Iterable[Thumbnail]) -> list[str]:
    """Write thumbnails that are not in place yet; their paths relative to OUT, each once.

    Raises:
        StorageError: when they cannot be written.
    """
    contents = {thumbnail.path: thumbnail.data for thumbnail in thumbnails}
    for path, data in contents.items():
        target = out / path
        if not target.is_file() or target.read_bytes() != data:
            with write_atomically(out, target) as temporary:
                temporary.write_bytes(data)
    return sorted(contents)


def remove_other_thumbnails(out: Path, paths: Collection[str]) -> None:
    """Remove the thumbnails of earlier pages that are not in ``paths``; files that no page wrote stay.

    Raises:
        StorageError: when one cannot be removed.
    """
    folder = out / FOLDER
    if folder.is_symlink() or not folder.is_dir():
        return
    for file in folder.iterdir():
        if _NAME.fullmatch(file.name) and f"{FOLDER}/{file.name}" not in paths:
            remove_file(file)
    with suppress(OSError):  # it is not empty
        folder.rmdir()
