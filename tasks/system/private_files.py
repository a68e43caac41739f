"""Folders below OUT: those that only their owner may read, and none that is a link to somewhere else.

A folder of results may come from somebody else, or stand where others can write: a link in it is refused, because
what is written through it would land elsewhere.
"""

from __future__ import annotations

import os
import stat
import uuid
from pathlib import Path

from mediamill.tasks.errors import StorageError

_PRIVATE_FOLDER, _PRIVATE_FILE, _SHARED_FILE = 0o700, 0o600, 0o660
_OTHERS = 0o077


def make_private_folder(folder: Path) -> None:
    """Create a folder that only its owner may enter; one that exists and is open to others is closed to them.

    Raises:
        StorageError: when it is a symbolic link, or belongs to somebody else.
        OSError: when it cannot be created.
    """
    make_folder(folder, mode=_PRIVATE_FOLDER)
    found = folder.stat()
    if found.st_uid != os.geteuid() and os.geteuid() != 0:
        raise StorageError(f"{folder}: belongs to another user", hint="choose another --out")
    if found.st_mode & _OTHERS:
        folder.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS)


def make_folder(folder: Path, *, mode: int = 0o777) -> None:
    """Create a folder where it does not exist yet; the folder above it must exist.

    Raises:
        StorageError: when it is a symbolic link.
        OSError: when it cannot be created, or is no folder.
    """
    check_is_no_link(folder)
    folder.mkdir(mode, exist_ok=True)
    check_is_no_link(folder)  # somebody may have been faster


def make_folders_below(out: Path, folder: Path) -> None:
    """Create a folder below OUT, and those between the two.

    Raises:
        StorageError: when one of them is a symbolic link.
        OSError: when one cannot be created.
    """
    out.mkdir(parents=True, exist_ok=True)
    for parent in reversed([folder, *folder.parents][: len(folder.relative_to(out).parts)]):
        make_folder(parent)


def check_is_no_link(path: Path) -> None:
    """Refuse a path whose last part is a symbolic link.

    Raises:
        StorageError: when it is one.
    """
    if path.is_symlink():
        hint = "remove the link; only OUT itself may be one"
        raise StorageError(f"{path}: is a symbolic link, which could lead out of OUT", hint=hint)


def open_private(path: str, flags: int) -> int:
    """An ``opener`` for ``open``: what it creates only the owner may read, and a link is not followed.

    In a folder that its group may write, as a journal that several people share, the group may read and write it.
    """
    is_shared = Path(path).parent.stat().st_mode & stat.S_IWGRP
    descriptor = os.open(path, flags | os.O_NOFOLLOW, _SHARED_FILE if is_shared else _PRIVATE_FILE)
    if is_shared and os.fstat(descriptor).st_uid == os.geteuid():
        os.fchmod(descriptor, _SHARED_FILE)  # whatever the umask is
    return descriptor


def make_private_file(path: Path) -> None:
    """Create an empty file that only the owner may read; one of ours that exists is closed to others.

    Raises:
        OSError: when it cannot be created, or is a symbolic link.
    """
    with open(path, "ab", opener=open_private) as file:
        held = os.fstat(file.fileno())
        is_shared = path.parent.stat().st_mode & stat.S_IWGRP
        if held.st_mode & _OTHERS and not is_shared and held.st_uid == os.geteuid():
            os.fchmod(file.fileno(), _PRIVATE_FILE)


def replace_private_file(path: Path, text: str) -> None:
    """Write a file that only its owner may read; after a crash it is the old one or the new one, whole.

    Raises:
        StorageError: when the path is a symbolic link.
        OSError: when it cannot be written.
    """
    check_is_no_link(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open(temporary, "x", encoding="utf-8", opener=open_private) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    finally:
        temporary.unlink(missing_ok=True)
