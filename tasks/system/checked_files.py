"""Files whose SHA-256 is known: hashed once, and again only where a stamp beside them says that they have changed."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

STAMP_FILE = "checked.json"
"""Of each file that was hashed: size, times of change in nanoseconds, and inode, as they were before it was read."""

FileState = list[int]


def find_damage(folder: Path, digests: Mapping[str, str]) -> str | None:
    """What is wrong with the files of a folder, in words; None where each is what it should be.

    A file that is as it was when it was hashed is not read. A change leaves a trace in the time at which the inode
    changed, which no program can set.

    Args:
        folder: where they are.
        digests: the SHA-256 by the file's name, in hexadecimal digits.
    """
    try:
        states = {name: _read_state(folder / name) for name in digests}
    except OSError as error:
        return f"{Path(str(error.filename)).name} cannot be read: {error.strerror}"
    if states == _read_stamp(folder, digests):
        return None
    for name, expected in digests.items():
        try:
            with (folder / name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
        if found != expected:
            return f"{name} has the SHA-256 {found[:12]}, not {expected[:12]}"
    _write_stamp(folder, digests, states)
    return None


def _read_state(path: Path) -> FileState:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _read_stamp(folder: Path, digests: Mapping[str, str]) -> dict[str, FileState] | None:
    """The states that the stamp has of these files; None where there is none, or it is of other digests."""
    try:
        stamp = json.loads((folder / STAMP_FILE).read_bytes())
        return stamp["states"] if stamp["sha256"] == dict(digests) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_stamp(folder: Path, digests: Mapping[str, str], states: Mapping[str, FileState]) -> None:
    """Without it, as where the folder cannot be written, the files are hashed at each start."""
    with suppress(OSError):
        number, name = tempfile.mkstemp(prefix=f".{STAMP_FILE}-", dir=folder)
        try:
            with os.fdopen(number, "w", encoding="utf-8") as file:
                json.dump({"sha256": dict(digests), "states": dict(states)}, file)
            Path(name).replace(folder / STAMP_FILE)
        finally:
            Path(name).unlink(missing_ok=True)
