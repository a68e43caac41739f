"""Files and folders of Prefect and of `up` that only their owner reads, created that way and never open in between."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path
from typing import IO

from mediamill.tasks.errors import StorageError

_OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_state_folder(folder: Path) -> bool:
    """Create a folder with mode 0700, or close one of this user to others.

    Returns:
        Whether it existed and was open to other users.

    Raises:
        StorageError: when it cannot be created or closed, or belongs to another user.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        return _close_to_others(folder)
    except OSError as error:
        raise StorageError(f"{folder} cannot be made private: {error.strerror}") from None


def close_folder_and_files(folder: Path) -> bool:
    """Make a folder private (0700), and the files directly in it (0600); return whether any was open to others.

    Raises:
        StorageError: when that is impossible.
    """
    was_open = make_state_folder(folder)
    for entry in folder.iterdir():
        if entry.is_file() and not entry.is_symlink():
            with contextlib.suppress(FileNotFoundError):
                was_open |= _close_to_others(entry)
    return was_open


def write_private_file(path: Path, text: str) -> None:
    """Write a file with mode 0600 in one step: a reader finds the old text or the new one."""
    temporary = _write_temporary(path, text)
    temporary.replace(path)


def read_or_create_private_file(path: Path, text: str) -> str:
    """Read a file; where there is none, create it with ``text``. Of several at the same time one creates it.

    Raises:
        StorageError: when it cannot be read, or belongs to another user.
    """
    if not path.exists():
        temporary = _write_temporary(path, text)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
        temporary.unlink()
    try:
        _close_to_others(path)
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:  # a link that leads nowhere, a folder
        raise StorageError(f"{path} cannot be read: {error.strerror}", hint="remove it") from None


def open_private_file(path: Path) -> IO[bytes]:
    """Open an empty file with mode 0600 for writing; an older one is removed, so that a link is not followed."""
    make_state_folder(path.parent)
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def _write_temporary(path: Path, text: str) -> Path:
    make_state_folder(path.parent)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return Path(temporary)


def _close_to_others(path: Path) -> bool:
    """Take the rights of other users to a file or folder; return whether they had any."""
    found = path.stat()
    if found.st_uid != os.geteuid():
        raise StorageError(f"{path} belongs to another user", hint="name another folder: XDG_STATE_HOME, PREFECT_HOME")
    if not found.st_mode & _OPEN_TO_OTHERS:
        return False
    path.chmod(stat.S_IMODE(found.st_mode) & ~_OPEN_TO_OTHERS)
    return True
