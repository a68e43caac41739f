"""Files that are either complete or absent: written to a temporary file, synced, renamed, the folder synced."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from mediamill.tasks import fault_injection
from mediamill.tasks.journal.blobs import sync_path
from mediamill.tasks.system.os_errors import build_storage_error
from mediamill.tasks.system.private_files import make_folders_below, make_private_folder


@contextmanager
def write_atomically(out: Path, target: Path) -> Iterator[Path]:
    """Yield a path under OUT/.tmp to write to; it becomes ``target`` when the block ends without an error.

    Nobody else can reach the path. The file that it becomes has the permissions that the umask gives.

    Raises:
        StorageError: when the disk is full, read-only or gone, or a folder between OUT and ``target`` is a link.
    """
    temporary = out / ".tmp" / f"{uuid.uuid4().hex}-{target.name}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        make_private_folder(temporary.parent)
        make_folders_below(out, target.parent)
        fault_injection.failpoint("part.write.before")
        yield temporary
        sync_path(temporary)
        fault_injection.failpoint("part.rename.before")
        temporary.replace(target)
        sync_path(target.parent)
        fault_injection.failpoint("part.rename.after")
    except OSError as error:
        raise build_storage_error(error, target) from None
    finally:
        if temporary.exists():
            temporary.unlink()


def remove_file(target: Path) -> None:
    """Remove a file durably, if it exists.

    Raises:
        StorageError: when it cannot be removed.
    """
    try:
        if target.exists():
            target.unlink()
            sync_path(target.parent)
    except OSError as error:
        raise build_storage_error(error, target) from None


def write_json(out: Path, target: Path, content: Mapping[str, Any]) -> Path:
    """Write a JSON file atomically, with sorted keys.

    Raises:
        StorageError: when the disk is full, read-only or gone.
    """
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    with write_atomically(out, target) as temporary:
        temporary.write_bytes(orjson.dumps(content, default=str, option=options))
    return target


def hash_file(path: Path) -> str:
    """The SHA-256 (hex) of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
