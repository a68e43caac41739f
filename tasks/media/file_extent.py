"""How long a file says that it is, by its outermost elements: whether it is cut off, or another one follows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_MAX_BOXES = 1000
_LARGE_BOX = 1
_FLV = b"FLV\x01"
_FLV_HEADER_BYTES, _FLV_TAG_BYTES, _FLV_TYPES = 13, 11, frozenset({8, 9, 18})
_MAX_TAGS = 300_000
_ASF, _ASF_PROPERTIES = b"0&\xb2u", bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_HEAD_BYTES, _ASF_SIZE_AT = 4096, 40
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def is_cut_off(path: Path) -> bool:
    """True when an MP4, Matroska, WebM, AVI, ASF or FLV file is shorter than it says, by a header or its last part."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_ASF_HEAD_BYTES)
    if head[:4] == b"RIFF":
        return 8 + int.from_bytes(head[4:8], "little") > size + 1
    if head[:4] == _EBML:
        end = _find_segment_end(path)
        return end is not None and end > size
    if head[:4] == _FLV:
        return _find_flv_end(path) > size
    if head.startswith(_ASF):
        at = head.find(_ASF_PROPERTIES) + _ASF_SIZE_AT
        return at > _ASF_SIZE_AT and int.from_bytes(head[at : at + 8], "little") > size
    return is_cut_off_mp4(path)


def is_cut_off_mp4(path: Path) -> bool:
    """True when one of the boxes that an MP4 file consists of is larger than what is left of the file."""
    end = max((at + length for at, _, length in _read_boxes(path)), default=0)
    return end > path.stat().st_size


def find_second_file(path: Path) -> int | None:
    """Where another recording follows one whose length says that it has ended; nobody plays that one.

    Returns:
        The first byte of the second file; None where none follows, and for containers that are played to their end.
    """
    with path.open("rb") as file:
        head = file.read(12)
        start = head[:4]
        if start in (b"RIFF", b"FORM") and head[8:12] != b"AVI ":
            length = int.from_bytes(head[4:8], "little" if start == b"RIFF" else "big")
            end = 8 + length + (length & 1)
            file.seek(end)
            return end if file.read(4) == start else None
    if start == _FLV:
        with path.open("rb") as file:
            file.seek(end := _find_flv_end(path))
            return end if file.read(4) == _FLV else None
    for at, name, _ in _read_boxes(path):
        if name == b"moof":  # fragments, each of which may have its own header
            return None
        if at and name == b"ftyp":
            return at
    return None


def _find_flv_end(path: Path) -> int:
    """Where the tags of an FLV file end: the first byte after the last one, also where the file ends within it."""
    at = _FLV_HEADER_BYTES
    with path.open("rb") as file:
        for _ in range(_MAX_TAGS):
            file.seek(at)
            tag = file.read(_FLV_TAG_BYTES)
            if not tag or tag[0] & 0x1F not in _FLV_TYPES:
                break
            if len(tag) < _FLV_TAG_BYTES:
                return at + _FLV_TAG_BYTES
            at += _FLV_TAG_BYTES + int.from_bytes(tag[1:4]) + 4
    return at


def _read_boxes(path: Path) -> Iterator[tuple[int, bytes, int]]:
    """The boxes that an MP4 file consists of: where each begins, its name, and its length in bytes; none of others."""
    at, size = 0, path.stat().st_size
    with path.open("rb") as file:
        for _ in range(_MAX_BOXES):
            if at >= size:
                return
            file.seek(at)
            header = file.read(16).ljust(16, b"\0")
            if at == 0 and header[4:8] != b"ftyp":
                return
            length = int.from_bytes(header[:4])
            if length == _LARGE_BOX:
                length = int.from_bytes(header[8:16])
            length = max(length, 8) if length else size - at  # 0 reaches to the end
            yield at, header[4:8], length
            at += length


def may_be_joined_matroska(path: Path) -> bool:
    """True when another file follows the end of a Matroska file, or it does not say where it ends."""
    end = _find_segment_end(path)
    if end is None:
        return True
    with path.open("rb") as file:
        file.seek(end)
        return file.read(4) == _EBML


def _find_segment_end(path: Path) -> int | None:
    """Where the first segment of a Matroska file ends, in bytes; None where it does not say so."""
    at = 0
    with path.open("rb") as file:
        for element in (_EBML, _SEGMENT):
            file.seek(at)
            header = file.read(12).ljust(12, b"\0")
            if not header.startswith(element) or not header[4]:
                return None
            n_bytes = 9 - header[4].bit_length()
            unknown = (1 << 7 * n_bytes) - 1
            length = int.from_bytes(header[4 : 4 + n_bytes]) & unknown
            if length == unknown:
                return None
            at += 4 + n_bytes + length
    return at
