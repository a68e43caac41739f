"""The edit lists of MP4 and MOV files: where a track holds nothing, by its own words.

FFmpeg takes an empty edit at a track's start for a delay. One further in it takes for the track's first seconds, which
are then heard and seen a second time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_HEADER_BYTES, _LONG_HEADER_BYTES = 8, 16
_MAX_BOXES = 10_000
_MAX_EDITS = 10_000
_BEFORE_SECONDS = 0.001
_NOTHING = -1
"""The media time of an empty edit."""


@dataclass(frozen=True, slots=True)
class EditList:
    """Where a track holds nothing.

    Attributes:
        empty: its empty edits after the first that holds something, as start and end in seconds of the whole.
        seconds: length from the first edit that holds something to the end of the last; None where it is not stated.
    """

    empty: tuple[tuple[float, float], ...] = ()
    seconds: float | None = None

    def is_empty_at(self, time: float) -> bool:
        """True when the track holds nothing at a moment, in seconds."""
        return any(start <= time < end for start, end in self.empty)

    def find_shown(self, time: float) -> float:
        """The moment whose picture stands at a moment: within an empty edit the one before it."""
        return next((start - _BEFORE_SECONDS for start, end in self.empty if start <= time < end), time)


NO_EDITS = EditList()


def read_edit_lists(path: Path) -> dict[int, EditList]:
    """The edit lists with an empty edit in their middle, by the track's id.

    A file that is damaged has none, as has a fragmented one, in which FFmpeg does not follow them.
    """
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2)
            moov = next((span for kind, *span in _walk(file, 0, end) if kind == b"moov"), None)
            return _read_movie(file, *moov) if moov else {}
    except (struct.error, OverflowError, OSError):
        return {}


def _read_movie(file: BinaryIO, start: int, end: int) -> dict[int, EditList]:
    boxes = list(_walk(file, start, end))
    header = next((span for kind, *span in boxes if kind == b"mvhd"), None)
    if header is None or any(kind == b"mvex" for kind, *_ in boxes):
        return {}
    scale = _read_numbers(file, header[0], ">I", {0: 12, 1: 20})[0]
    found: dict[int, EditList] = {}
    for kind, *track in boxes:
        edits = _read_track(file, *track) if kind == b"trak" and scale else None
        if edits is not None:
            found[edits[0]] = _to_edit_list(edits[1], scale)
    return {number: edits for number, edits in found.items() if edits.empty}


def _read_track(file: BinaryIO, start: int, end: int) -> tuple[int, list[tuple[int, int]]] | None:
    """A track's id and its edits, as length and media time; None without any."""
    spans = {kind: span for kind, *span in _walk(file, start, end)}
    if b"tkhd" not in spans or b"edts" not in spans:
        return None
    lists = [span for kind, *span in _walk(file, *spans[b"edts"]) if kind == b"elst"]
    if not lists:
        return None
    number = _read_numbers(file, spans[b"tkhd"][0], ">I", {0: 12, 1: 20})[0]
    file.seek(lists[0][0])
    version, count = struct.unpack(">B3xI", file.read(8))
    form = ">QqI" if version == 1 else ">IiI"
    edits = [struct.unpack(form, file.read(struct.calcsize(form))) for _ in range(min(count, _MAX_EDITS))]
    return number, [(length, media_time) for length, media_time, _ in edits]


def _to_edit_list(edits: list[tuple[int, int]], scale: int) -> EditList:
    empty, at, first = list[tuple[float, float]](), 0, None
    for length, media_time in edits:
        if media_time != _NOTHING and first is None:
            first = at
        elif media_time == _NOTHING and first is not None and length:
            empty.append((at / scale, (at + length) / scale))
        at += length
    return EditList(tuple(empty), (at - (first or 0)) / scale)


def _read_numbers(file: BinaryIO, start: int, form: str, offset_by_version: dict[int, int]) -> tuple[int, ...]:
    """Numbers of a full box, which stand elsewhere in its versions."""
    file.seek(start)
    version = struct.unpack(">B", file.read(1))[0]
    file.seek(start + offset_by_version.get(version, offset_by_version[0]))
    return struct.unpack(form, file.read(struct.calcsize(form)))


def _walk(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes between two positions: each one's kind, and where its content begins and ends."""
    for _ in range(_MAX_BOXES):
        file.seek(start)
        header = file.read(_HEADER_BYTES)
        if start + _HEADER_BYTES > end or len(header) < _HEADER_BYTES:
            return
        size, kind = struct.unpack(">I4s", header)
        header_bytes = _HEADER_BYTES
        if size == 1:
            size, header_bytes = struct.unpack(">Q", file.read(8))[0], _LONG_HEADER_BYTES
        elif size == 0:
            size = end - start
        if size < header_bytes:
            return
        yield kind, start + header_bytes, min(start + size, end)
        start += size
