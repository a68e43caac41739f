"""The index at the end of an AVI file."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

_MAX_LISTS = 1_000
_MAX_INDEX_BYTES = 64 * 2**20
"""Four million chunks: a day of pictures and sound."""
_ENTRY = struct.Struct("<4sIII")


def read_chunk_sizes(path: Path, stream_index: int) -> Sequence[int]:
    """Sizes in bytes of a stream's chunks, in order, with those that are empty; none without an index."""
    try:
        with path.open("rb") as file:
            index = _read_index(file)
    except OSError:
        return ()
    sizes = array("Q")
    number = b"%02d" % stream_index
    for kind, _, _, size in _ENTRY.iter_unpack(index[: len(index) // _ENTRY.size * _ENTRY.size]):
        if kind[:2] == number:
            sizes.append(size)
    return sizes


def _read_index(file: BinaryIO) -> bytes:
    position = 12
    for _ in range(_MAX_LISTS):
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:  # noqa: PLR2004 - cut off, or at its end
            break
        kind, size = struct.unpack("<4sI", header)
        if kind == b"idx1":
            return file.read(min(size, _MAX_INDEX_BYTES))
        position += 8 + size + size % 2
    return b""
