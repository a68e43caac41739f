"""Files generated for items, under OUT/media: complete or absent, with the same name whenever they are generated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from mediamill.tasks.domain import Item
from mediamill.tasks.errors import StorageError
from mediamill.tasks.file_names import name_file
from mediamill.tasks.sinks.atomic_file import hash_file, write_atomically
from mediamill.tasks.system.os_errors import build_storage_error

_HASH_CHARACTERS = 12


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A published file: its path relative to OUT with forward slashes, its SHA-256 (hex), its size in bytes."""

    file: str
    sha256: str
    size: int


def publish_media(
    path: Path, out: Path, item: Item, suffix: str, part: str | int | None = None, *, keeps_others: bool = False
) -> MediaFile:
    """Move a finished file into OUT/media, under the item's name.

    An existing file with the same content stays as it is.

    Args:
        path: the file, on the same disk as OUT; it is moved or removed.
        out: the folder of results.
        item: the item it belongs to.
        suffix: with its dot.
        part: which of the item's files it is, where there may be several.
        keeps_others: a file of that name with another content stays, too, and this one's name gets its hash.

    Raises:
        StorageError: when it cannot be written, or what was written reads back as something else.
    """
    relative = f"media/{name_file(item.item_id, item.file_stem, suffix, part)}"
    target = out / relative
    try:
        size, digest = path.stat().st_size, hash_file(path)
        if keeps_others and target.is_file() and hash_file(target) != digest:
            hashed = digest[:_HASH_CHARACTERS] if part is None else f"{part}-{digest[:_HASH_CHARACTERS]}"
            relative = f"media/{name_file(item.item_id, item.file_stem, suffix, hashed)}"
            target = out / relative
        if target.is_file() and target.stat().st_size == size and hash_file(target) == digest:
            path.unlink()
            return MediaFile(relative, digest, size)
        with write_atomically(out, target) as temporary:
            path.replace(temporary)
        if hash_file(target) != digest:
            raise StorageError(f"{target}: reads back as something else than was written", hint="check the disk")
    except OSError as error:
        raise build_storage_error(error, target) from None
    return MediaFile(relative, digest, size)


def find_lost_media(out: Path, results: Iterable[bytes]) -> list[str]:
    """The ids of items with a file that is missing or has another size than was published.

    Args:
        out: the folder of results.
        results: rows as JSON, with ``item_id``, ``file`` and ``bytes``; a row with several files lists them in
            ``images``.
    """
    return [
        str(row["item_id"])
        for row in map(orjson.loads, results)
        if not all(_is_intact(out, file) for file in list_media_files(row))
    ]


def list_media_files(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The files that a result published, each with ``file`` and ``bytes`` and, where it is known, ``sha256``."""
    images = row.get("images")
    files = [row, *(image for image in images if isinstance(image, dict))] if isinstance(images, list) else [row]
    return [file for file in files if file.get("file")]


def find_previews(out: Path, results: Iterable[bytes]) -> list[str]:
    """The ids of items that have a preview whose file is still in OUT.

    Args:
        out: the folder of results.
        results: rows as JSON, with ``item_id``, ``file`` and ``preview``.
    """
    rows = map(orjson.loads, results)
    return [str(r["item_id"]) for r in rows if r.get("preview") and r.get("file") and (out / r["file"]).is_file()]


def _is_intact(out: Path, media_file: Mapping[str, Any]) -> bool:
    try:
        return (out / str(media_file["file"])).stat().st_size == int(media_file["bytes"])
    except OSError:
        return False
