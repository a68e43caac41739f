"""How long encoded sound lasts, by its packets: quick enough for the event loop, exact to a frame."""

from __future__ import annotations

import io
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

_MICRO = Decimal("0.000001")
_FRAME = 2


def seconds_of(audio: bytes, form: str, rate: int) -> Decimal | None:
    """Seconds of sound held in memory; None when it cannot be told.

    Args:
        audio: the bytes.
        form: wav, mp3, flac, ogg or aac; ``pcm`` is 16-bit mono.
        rate: Hz of ``pcm``.
    """
    if form == "pcm":
        return _decimal(Fraction(len(audio) // _FRAME, rate))
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
