"""Edit lists put into MP4 files: which part of a track is shown when."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

_CONTAINERS = (b"moov", b"trak")


def put_edit_list(path: Path, edits: Sequence[tuple[float, float | None]], *kinds: bytes) -> Path:
    """Give tracks another edit list.

    Args:
        path: an MP4 whose index stands at its end.
        edits: how long each part is, and where it begins in the track, in seconds; None shows nothing.
        kinds: of tracks, ``soun`` and ``vide``; all without any.
    """
    data = path.read_bytes()
    path.write_bytes(_rewrite(data, edits, kinds or (b"soun", b"vide")))
    return path


def _rewrite(data: bytes, edits: Sequence[tuple[float, float | None]], kinds: Sequence[bytes]) -> bytes:
    out = b""
    for kind, box in _walk(data):
        content = box[8:]
        if kind in _CONTAINERS:
            content = _rewrite(content, edits, kinds)
        if kind == b"trak" and content[(at := content.index(b"hdlr")) + 12 : at + 16] in kinds:
            (scale,) = struct.unpack_from(">I", content, content.index(b"mdhd") + 16)
            parts = [part for name, part in _walk(content) if name != b"edts"]
            content = b"".join([parts[0], _to_edts(edits, scale), *parts[1:]])
        out += struct.pack(">I4s", 8 + len(content), kind) + content if kind in _CONTAINERS else box
    return out


def _to_edts(edits: Sequence[tuple[float, float | None]], scale: int) -> bytes:
    entries = b"".join(
        struct.pack(">iiI", round(seconds * 1000), -1 if start is None else round(start * scale), 0x10000)
        for seconds, start in edits
    )
    elst = struct.pack(">I4sII", 16 + len(entries), b"elst", 0, len(edits)) + entries
    return struct.pack(">I4s", 8 + len(elst), b"edts") + elst


def _walk(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at : at + size]
        at += size
