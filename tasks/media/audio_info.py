"""What a recording is, when somebody speaks in it, and the recording prepared to be sent."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

from mediamill.tasks.domain import Input

RATE = 16_000
"""Sample rate of everything that is converted, cut or counted."""

_MICRO = Decimal("0.000001")
_MICROSECOND_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Track:
    """A sound track: its number among the file's sound tracks, from 1; its language; whether it is not the first one.

    ``is_other`` is true when it is not the first track that can be decoded.
    """

    number: int
    language: str | None
    is_other: bool


FIRST_TRACK = Track(1, None, is_other=False)


@dataclass(frozen=True, slots=True)
class Timeline:
    """From positions in decoded audio to the file's own clock, which begins with its first picture or sound.

    Attributes:
        shifts: from which position on, in seconds, how many seconds are added; in order. Empty: none anywhere.
    """

    shifts: tuple[tuple[float, float], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.shifts)

    def find_start(self, position: float) -> float:
        """When what begins at a position begins, in seconds."""
        return self._shift(position, bisect_right(self.shifts, position, key=lambda shift: shift[0]))

    def find_end(self, position: float) -> float:
        """When what ends at a position ends, in seconds: before a jump of the clock that is at the same position."""
        return self._shift(position, bisect_left(self.shifts, position, key=lambda shift: shift[0]))

    def _shift(self, position: float, n_passed: int) -> float:
        if not self.shifts:
            return position
        return round(position + self.shifts[max(n_passed - 1, 0)][1], _MICROSECOND_DIGITS)


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """A recording as its content describes it, whatever the file's name.

    Attributes:
        container: ``wav``, ``mp3``, ``m4a``, ``mp4``, ``flac``, ``ogg``, ``webm``, ``mkv`` ...
        codec: the decoder's name for the audio, e.g. ``pcm_s16le``, ``mp3``, ``opus``.
        seconds: length of the audio.
        sample_rate: in Hz, before any conversion.
        channels: before any conversion.
        exact: True when the length was counted or is the container's own index; False for a guess from
            the bit rate, which is off by a third for some MP3 files.
        video: there is a video track too.
        tracks: audio tracks in the file.
        track: which of them it is.
    """

    container: str
    codec: str
    seconds: Decimal
    sample_rate: int
    channels: int
    exact: bool
    video: bool = False
    tracks: int = 1
    track: Track = FIRST_TRACK


@dataclass(frozen=True, slots=True)
class VoiceActivity:
    """Voice activity by the second.

    Attributes:
        by_second: for each second, how many of its frames were active.
        frames_per_second: how many frames a second has.
    """

    by_second: bytes = field(repr=False)
    frames_per_second: int

    @property
    def seconds(self) -> float:
        """Total seconds of activity."""
        return round(sum(self.by_second) / self.frames_per_second, 2)

    def count_seconds_between(self, start: float, end: float) -> float:
        """Seconds of activity between two times; only the whole seconds between them are counted."""
        return sum(self.by_second[max(math.ceil(start), 0) : max(math.floor(end), 0)]) / self.frames_per_second


@dataclass(frozen=True, slots=True)
class PreparedAudio:
    """A recording that was decoded to its end and is ready to send.

    Attributes:
        input: what is sent. ``input.start`` is where it begins in the recording, in samples at 16 kHz:
            not 0 only when silence was trimmed, and then every time in the answer is ``start / 16000`` early.
        seconds: length of what is sent, by decoded samples.
        info: the recording itself.
        warnings: what the user should know, e.g. ``truncated: 12.1 s of 40.0 s could be decoded``.
        voice_activity: when somebody speaks; None where that was not detected.
        timeline: from positions in the recording to the file's own clock; empty where they are the same.
    """

    input: Input
    seconds: Decimal
    info: AudioInfo
    warnings: tuple[str, ...] = ()
    voice_activity: VoiceActivity | None = None
    timeline: Timeline = Timeline()


def to_seconds(length: Fraction) -> Decimal:
    """A length in seconds, rounded to the microsecond."""
    return (Decimal(length.numerator) / length.denominator).quantize(_MICRO, ROUND_HALF_UP)
