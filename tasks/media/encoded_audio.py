"""Encoded audio in memory: its container by its first bytes, its length by its packets.

Only the content counts, not a name or a header. Both functions are quick enough for the event loop.
"""

from __future__ import annotations

import io
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from mediamill.tasks.media.audio_info import to_seconds

AudioContainer = Literal["wav", "mp3", "flac", "ogg", "aac"]

_SYNC_BYTE = 0xFF
_SYNC_MASK = 0xE0
_NO_BITRATE = 0x0F
_NO_RATE = 0x03
_AAC_SYNC = 0xF0

_PCM_FRAME_BYTES = 2


def detect_container(head: bytes) -> AudioContainer | None:
    """The container that ``head`` (12 bytes are enough) begins; None when it begins none of them.

    Headerless PCM may look like an MP3 frame by chance: ask :func:`detect_lettered_container` where PCM is expected.
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
    """The container that ``head`` names in letters, which audio itself hardly ever contains by chance."""
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:3] == b"ID3":
        return "mp3"
    return {b"fLaC": "flac", b"OggS": "ogg"}.get(head[:4])  # type: ignore[return-value]


def count_seconds(audio: bytes, container: str, rate: int) -> Decimal | None:
    """The length in seconds, exact to a frame; None when it cannot be determined.

    Args:
        audio: the bytes.
        container: wav, mp3, flac, ogg or aac; ``pcm`` is 16-bit mono.
        rate: sample rate of ``pcm`` in Hz.
    """
    if container == "pcm":
        return to_seconds(Fraction(len(audio) // _PCM_FRAME_BYTES, rate))
    import av

    from mediamill.tasks.media.av_input import open_media

    try:
        with open_media(io.BytesIO(audio), format=container) as file:
            stream = file.streams.audio[0]
            base = stream.time_base or Fraction()
            ticks = sum(packet.duration or 0 for packet in file.demux(stream))
    except (av.FFmpegError, IndexError, ValueError):
        return None
    return to_seconds(ticks * base) if ticks else None
