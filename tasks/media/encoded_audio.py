"""Encoded audio held in memory: its container by its first bytes, its length by its packets.

Content is believed, names and headers are not. Both are quick enough for the event loop.
"""

from __future__ import annotations

import io
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Literal

AudioContainer = Literal["wav", "mp3", "flac", "ogg", "aac"]

_SYNC_BYTE = 0xFF
_SYNC_MASK = 0xE0
_NO_BITRATE = 0x0F
_NO_RATE = 0x03
_AAC_SYNC = 0xF0
_MICRO = Decimal("0.000001")
_PCM_FRAME_BYTES = 2


def detect_container(head: bytes) -> AudioContainer | None:
    """The container that ``head`` (12 bytes are enough) begins; None when it begins none of them.

    Headerless PCM may look like an MP3 frame by chance: ask :func:`detect_named_container` where PCM is expected.
    """
    lettered = detect_lettered_container(head)
    if lettered is not None:
        return lettered
    if len(head) < 4 or head[0] != _SYNC_BYTE or head[1] & _SYNC_MASK != _SYNC_MASK:  # noqa: PLR2004
        return None
    if head[1] & 0xF6 == _AAC_SYNC:
        return "aac"
    layer, rate = head[1] >> 1 & 3, head[2] >> 2 & 3
    return "mp3" if layer and rate != _NO_RATE and head[2] >> 4 != _NO_BITRATE else None


def detect_lettered_container(head: bytes) -> AudioContainer | None:
    """The container that ``head`` names in letters, which sound itself hardly ever spells by chance."""
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:3] == b"ID3":
        return "mp3"
    return {b"fLaC": "flac", b"OggS": "ogg"}.get(head[:4])  # type: ignore[return-value]


def count_seconds(audio: bytes, form: str, rate: int) -> Decimal | None:
    """How long it lasts, exact to a frame; None when it cannot be told.

    Args:
        audio: the bytes.
        form: wav, mp3, flac, ogg or aac; ``pcm`` is 16-bit mono.
        rate: Hz of ``pcm``.
    """
    if form == "pcm":
        return _decimal(Fraction(len(audio) // _PCM_FRAME_BYTES, rate))
    import av

    try:
        with av.open(io.BytesIO(audio), "r", format=form) as container:
            stream = container.streams.audio[0]
            base = stream.time_base or Fraction()
            ticks = sum(packet.duration or 0 for packet in container.demux(stream))
    except (av.FFmpegError, IndexError, ValueError):
        return None
    return _decimal(ticks * base) if ticks else None


def _decimal(seconds: Fraction) -> Decimal:
    return (Decimal(seconds.numerator) / Decimal(seconds.denominator)).quantize(_MICRO, ROUND_HALF_UP)
