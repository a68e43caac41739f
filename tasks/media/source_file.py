"""Local files, checked before anything decodes them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.wav import HEAD_BYTES


def read_head(path: Path) -> tuple[bytes, int]:
    """Read the file's first :data:`~mediamill.tasks.media.wav.HEAD_BYTES` bytes; they and the file's size.

    Raises:
        BadInput: ``missing``, ``unreadable``, ``not_a_file`` or ``empty``.
    """
    try:
        with open(path, "rb", opener=_open_nonblocking) as file:
            file_status = os.fstat(file.fileno())
            if not stat.S_ISREG(file_status.st_mode):
                raise BadInput("it is not a file but a folder, pipe or device", kind="not_a_file")
            head = file.read(HEAD_BYTES)
    except FileNotFoundError:
        raise BadInput("the file does not exist", kind="missing", hint="check its path") from None
    except IsADirectoryError:
        raise BadInput("it is not a file but a folder", kind="not_a_file") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise BadInput(f"the file cannot be read: {reason}", kind="unreadable", hint="check its permissions") from None
    if not head:
        raise empty_file_error()
    return head, file_status.st_size


def empty_file_error() -> BadInput:
    """The error for a file of 0 bytes."""
    return BadInput("the file is empty (0 bytes)", kind="empty", hint="copy or download it again")


def _open_nonblocking(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
