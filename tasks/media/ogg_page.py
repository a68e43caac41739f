"""When the clock of an Ogg stream begins, by its first page.

A page of Ogg states when its last packet ends. FFmpeg counts the packets of the first page from 0 in FLAC, and in every
codec where that page is the only one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av

from mediamill.tasks.media.av_input import open_media

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream

_HEADER = struct.Struct("<4sBBq")
_MAX_PACKETS = 255
"""Of a page."""
_MIN_SECONDS = 0.1
"""A clock that begins less than this after 0 begins there: codecs begin with a delay."""
_ROUNDING_SECONDS = 0.001
_OPTIONS = {"format_whitelist": "ogg", "protocol_whitelist": "file", "max_streams": "100"}


@dataclass(frozen=True, slots=True)
class HiddenStart:
    """How many seconds the clock's start is past what FFmpeg gives, for timestamps up to ``until`` seconds."""

    seconds: float
    until: float


def read_hidden_start(path: Path, stream_index: int) -> HiddenStart | None:
    """By how much a stream's clock begins later than FFmpeg's timestamps of it; None where it does not, or damaged."""
    try:
        with open_media(f"file:{path}", options=_OPTIONS) as container:
            stream = container.streams[stream_index]
            packets = _read_first_page(container, stream)
            base = stream.time_base
    except (av.FFmpegError, ValueError, OSError, IndexError):
        return None
    page_end = _read_page_end(path, packets[0].pos) if packets else None
    if page_end is None or packets[0].pts is None or base is None:
        return None
    until = packets[0].pts + sum(packet.duration or 0 for packet in packets)
    seconds = float((page_end - until) * base)
    return HiddenStart(seconds, float(until * base) - _ROUNDING_SECONDS) if seconds >= _MIN_SECONDS else None


def _read_first_page(container: InputContainer, stream: Stream) -> list[Packet[Any]]:
    packets: list[Packet[Any]] = []
    for packet in container.demux(stream):
        if packet.size and packets and (packet.pos != packets[0].pos or len(packets) > _MAX_PACKETS):
            break
        if packet.size:
            packets.append(packet)
    return packets


def _read_page_end(path: Path, position: int | None) -> int | None:
    """When the last packet of a page ends, in the stream's time base; None when there is no such page."""
    if position is None:
        return None
    with path.open("rb") as file:
        file.seek(max(position, 0))
        header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    magic, _, _, granule = _HEADER.unpack(header)
    return granule if magic == b"OggS" and granule >= 0 else None
