"""Whether a file is the one that was written: cheaply by its size and times, or by its SHA-256."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from mediamill.tasks.sinks.atomic_file import hash_file

FileState = Literal["intact", "touched", "missing", "damaged"]
"""``touched``: the content is right, and the file was written again or copied since."""


def check_file(path: Path, *, size: int, sha256: str, mtime_ns: int | None, by_content: bool = False) -> FileState:
    """The state of a file that had this size, hash and modification time when it was written.

    Args:
        path: the file.
        size: in bytes.
        sha256: of its content, hex.
        mtime_ns: nanoseconds since the epoch; None where that is not known, and then only the size is compared.
        by_content: hash it in any case. Else it is hashed only when its modification time is another one.
    """
    try:
        found = path.stat()
        if found.st_size != size or not path.is_file():
            return "damaged"
        is_same_time = mtime_ns is None or found.st_mtime_ns == mtime_ns
        if is_same_time and not by_content:
            return "intact"
        if hash_file(path) != sha256:
            return "damaged"
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "damaged"
    return "intact" if is_same_time else "touched"
