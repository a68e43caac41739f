"""Local files, checked before anything decodes them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.wav import HEAD_BYTES
from mediamill.tasks.system.os_errors import build_unreadable_error

_ID3_HEADER_BYTES = 10
_UNTAGGED_CONTAINERS = (b"RIFF", b"RF64", b"FORM", b"OggS", b"\x1aE\xdf\xa3", b".snd", b"caff", b"0&\xb2u")


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
        raise build_unreadable_error(error, "the file cannot be read: ") from None
    if not head:
        raise empty_file_error()
    return head, file_status.st_size


def count_foreign_tag_bytes(head: bytes, path: Path) -> int:
    """Bytes of an ID3 tag before a container that has no place for one, such as WAV; 0 for all other files.

    FFmpeg skips the tag before MP3, AAC and FLAC, which are the ones that it is meant for.
    """
    if head[:3] != b"ID3" or len(head) < _ID3_HEADER_BYTES:
        return 0
    size = _ID3_HEADER_BYTES + sum(
        (byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True)
    )
    with open(path, "rb", opener=_open_nonblocking) as file:
        file.seek(size)
        start = file.read(12)
    return size if start.startswith(_UNTAGGED_CONTAINERS) or start[4:8] == b"ftyp" else 0


def empty_file_error() -> BadInput:
    """The error for a file of 0 bytes."""
    return BadInput("the file is empty (0 bytes)", kind="empty", hint="copy or download it again")


def _open_nonblocking(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
