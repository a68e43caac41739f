"""What kind of sound bytes are, by their first ones: content is believed, names and headers are not."""

from __future__ import annotations

from typing import Literal

Sound = Literal["wav", "mp3", "flac", "ogg", "aac"]

_SYNC = 0xFF
_SYNC_REST = 0xE0
_NO_BITRATE = 0x0F
_NO_RATE = 0x03
_AAC_SYNC = 0xF0


def sound_in(head: bytes) -> Sound | None:
    """The container that ``head`` (12 bytes are enough) begins; None when it begins none of them.

    Headerless PCM may look like an MP3 frame by chance: ask :func:`named_sound` where PCM is expected.
    """
    named = named_sound(head)
    if named is not None:
        return named
    if len(head) < 4 or head[0] != _SYNC or head[1] & _SYNC_REST != _SYNC_REST:  # noqa: PLR2004
        return None
    if head[1] & 0xF6 == _AAC_SYNC:
        return "aac"
    layer, rate = head[1] >> 1 & 3, head[2] >> 2 & 3
    return "mp3" if layer and rate != _NO_RATE and head[2] >> 4 != _NO_BITRATE else None


def named_sound(head: bytes) -> Sound | None:
    """The container that ``head`` names in letters, which sound itself hardly ever spells by chance."""
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:3] == b"ID3":
        return "mp3"
    return {b"fLaC": "flac", b"OggS": "ogg"}.get(head[:4])  # type: ignore[return-value]
