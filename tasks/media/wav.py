"""Plain PCM WAV, read from its header alone.

For these files the header says what a decoder would find: the audio is the data chunk, and its length is the
chunk's size over the frame size. Every file for which that is not certain (a second data chunk, another codec, a size
that does not fit, DTS or AC-3 hidden in PCM) is left to the decoder: the result is None.
"""

from __future__ import annotations

import struct
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

from mediamill.tasks.media.audio_info import AudioInfo

HEAD_BYTES = 4096
"""How much of the file is read."""

_CODECS = {8: "pcm_u8", 16: "pcm_s16le", 24: "pcm_s24le", 32: "pcm_s32le"}
_SYNCS = (b"\xfe\x7f\x01\x80", b"\x7f\xfe\x80\x01", b"\xff\x1f\x00\xe8", b"\x1f\xff\xe8\x00", b"\x72\xf8\x1f\x4e")
_SYNCS_BY_FIRST_BYTE = tuple((sync[:1], sync) for sync in _SYNCS)
_FMT = struct.Struct("<HHIIHH")
_CHUNK = struct.Struct("<4sI")
_MICRO = Decimal("0.000001")
_FACT_BYTES = 4
_MIN_STREAMED_SIZE = 0x7FFF0000
"""Programs that do not know the size when they write the header write this size or a larger one."""


def parse_wav_header(head: bytes, size: int) -> AudioInfo | None:
    """What a plain PCM WAV is, from its first :data:`HEAD_BYTES` bytes and its size; None for everything else.

    ``seconds`` is zero for a file whose data chunk is empty.
    """
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    fmt: tuple[int, ...] | None = None
    at, end = 12, min(len(head), HEAD_BYTES)
    while at + 8 <= end:
        name, length = _CHUNK.unpack_from(head, at)
        at += 8
        if name == b"fmt " and fmt is None and length == _FMT.size and at + length <= end:
            fmt = _FMT.unpack_from(head, at)
        elif name == b"data":
            return _parse_pcm(fmt, head, at, length, size) if fmt else None
        elif not _is_harmless(name, head[at : at + length], length):
            return None
        at += length + (length & 1)
    return None


def _parse_pcm(fmt: tuple[int, ...], head: bytes, at: int, length: int, size: int) -> AudioInfo | None:
    tag, channels, rate, per_second, frame, bits = fmt
    codec = _CODECS.get(bits)
    if tag != 1 or codec is None or not 1 <= channels <= 8 or not 8_000 <= rate <= 192_000:  # noqa: PLR2004
        return None
    if frame != channels * bits // 8 or per_second != rate * frame or length % frame:
        return None
    if not 0 <= size - (at + length) <= (length & 1):
        return None
    if any(
        first in head and sync in head for first, sync in _SYNCS_BY_FIRST_BYTE
    ):  # one byte is found ten times as fast as four
        return None
    seconds = (Decimal(length // frame) / rate).quantize(_MICRO, ROUND_HALF_UP)
    return AudioInfo("wav", codec, seconds, rate, channels, exact=True)


def _is_harmless(name: bytes, data: bytes, length: int) -> bool:
    """True for a chunk that decoders ignore too: padding, a sample count, or well-formed titles."""
    if len(data) < length:
        return False
    if name == b"LIST":
        return data[:4] == b"INFO" and length % 2 == 0 and _is_well_formed(data)
    return name == b"JUNK" or (name == b"fact" and length == _FACT_BYTES)


def _is_well_formed(info: bytes) -> bool:
    at = 4
    while at + 8 <= len(info):
        at += 8 + _CHUNK.unpack_from(info, at)[1]
        at += at & 1
    return at == len(info)


def missing_share(head: bytes, size: int) -> Fraction:
    """The share of a WAV file that is missing, by the size in its header; 0 where the header states none."""
    if head[:4] != b"RIFF" or len(head) < _CHUNK.size:
        return Fraction(0)
    stated = _CHUNK.unpack_from(head)[1] + 8
    if stated >= _MIN_STREAMED_SIZE or stated <= size:
        return Fraction(0)
    return Fraction(stated - size, stated)
