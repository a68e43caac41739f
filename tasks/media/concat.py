"""Speech that came in one or several stretches, written as one file: decoded, joined without clicks, encoded."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

import av
import numpy as np
import numpy.typing as npt

from mediamill.tasks.errors import BadReply, StorageError
from mediamill.tasks.media.audio_info import as_seconds
from mediamill.tasks.media.wav import HEAD, read_wav

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream

Samples = npt.NDArray[np.int16]

FADE_MS = 5
"""Fade on each side of a join: to silence and back, so that no sample jumps."""

SILENT = 64
"""Loudest sample (of 32768) up to which there is nothing to be heard."""

_BLOCK = 4096
_EVERY_RATE = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_CODECS = {
    "wav": ("wav", "pcm_s16le", ()),
    "flac": ("flac", "flac", ()),
    "mp3": ("mp3", "libmp3lame", _EVERY_RATE),
    "opus": ("ogg", "libopus", (8_000, 12_000, 16_000, 24_000, 48_000)),
}
_SAME = {"wav": "wav", "mp3": "mp3", "flac": "flac", "opus": "ogg"}
"""What content a file of each format has."""

_BITS = {"libmp3lame": 128_000, "libopus": 64_000}
_LOW_RATE, _LOW_BITS = 12_000, 32_000
"""Rates up to which MP3 has no more bits than these."""

_BAD = "mediamill retry OUT --only bad_reply buys it anew"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Sound as a provider gave it; ``form`` is by its content, ``rate`` in Hz counts for ``pcm`` only."""

    audio: bytes
    form: str
    rate: int


@dataclass(frozen=True, slots=True)
class Joined:
    """A file of speech: its exact length in seconds, its rate in Hz, its loudest sample of 32768."""

    seconds: Decimal
    rate: int
    channels: int
    peak: int


def as_it_came(stretch: Stretch, path: Path, form: str, rate: int | None) -> Joined | None:
    """Write a single stretch unchanged where it is already what is wanted; None where it has to be converted.

    Raises:
        BadReply: when it cannot be decoded.
        StorageError: when the file cannot be written.
    """
    if stretch.form != _SAME[form]:
        return None
    if form == "wav" and read_wav(stretch.audio[:HEAD], len(stretch.audio)) is None:
        return None
    samples = peak = channels = found = 0
    for frame in _decoded(stretch):
        samples, channels, found = samples + frame.samples, frame.layout.nb_channels, frame.sample_rate
        peak = max(peak, _peak(frame))
    if not samples:
        raise _undecodable(stretch)
    if rate is not None and found != rate:
        return None
    try:
        path.write_bytes(stretch.audio)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from None
    return Joined(as_seconds(Fraction(samples, found)), found, channels, peak)


class Joiner:
    """A file being written, stretch after stretch; only one of them is ever held.

    Args:
        path: the file; what is half written goes when it is closed with an error.
        form: mp3, wav, flac or opus.
        rate: Hz; None takes the first stretch's. The nearest the format has is taken.
    """

    def __init__(self, path: Path, form: str, rate: int | None) -> None:
        self._path, self._form, self._rate = path, form, rate
        self._layout = "mono"
        self._container: av.container.OutputContainer | None = None
        self._stream: AudioStream | None = None
        self._samples = 0
        self._peak = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._container is not None:
            self._container.close()
        if kind is not None:
            self._path.unlink(missing_ok=True)

    def add(self, stretch: Stretch, *, first: bool, last: bool) -> None:
        """Decode one more stretch and write it, faded where it meets another.

        Raises:
            BadReply: when it cannot be decoded.
            StorageError: when the file cannot be written.
        """
        sound = self._sound(stretch)
        self._peak = max(self._peak, int(sound.max(initial=0)), -int(sound.min(initial=0)))
        self._write(_faded(sound, self._rate or 0, at_start=not first, at_end=not last))

    def finish(self) -> Joined:
        """Write what the encoder still holds, and end the file."""
        assert self._container is not None
        assert self._stream is not None
        assert self._rate is not None
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        except (av.FFmpegError, OSError) as error:
            raise StorageError(f"{self._path}: {error.strerror or error}") from None
        self._container = None
        channels = 2 if self._layout == "stereo" else 1
        return Joined(as_seconds(Fraction(self._samples, self._rate)), self._rate, channels, self._peak)

    def _sound(self, stretch: Stretch) -> Samples:
        """A row of samples for each moment, at the file's rate and layout, which the first stretch decides."""
        parts: list[Samples] = []
        resampler = None
        for frame in _decoded(stretch):
            if self._container is None:
                self._open(frame)
            resampler = resampler or av.AudioResampler("s16", self._layout, self._rate)
            frame.pts = None
            parts += [np.asarray(f.to_ndarray(), np.int16) for f in resampler.resample(frame)]
        if resampler is None:
            raise _undecodable(stretch)
        parts += [np.asarray(f.to_ndarray(), np.int16) for f in resampler.resample(None)]
        channels = 2 if self._layout == "stereo" else 1
        return np.concatenate(parts, axis=1).reshape(-1, channels)

    def _open(self, frame: AudioFrame) -> None:
        container, codec, rates = _CODECS[self._form]
        self._layout = "stereo" if frame.layout.nb_channels > 1 else "mono"
        wanted = self._rate or frame.sample_rate
        self._rate = min(rates, key=lambda rate: (rate < wanted, abs(rate - wanted))) if rates else wanted
        options = {"fflags": "+bitexact"}  # the same sound makes the same bytes
        try:
            self._container = av.open(str(self._path), "w", format=container, container_options=options)
            made = self._container.add_stream(codec, rate=self._rate, layout=self._layout, format=_format(codec))
        except (av.FFmpegError, OSError) as error:
            raise StorageError(f"{self._path}: {error.strerror or error}") from None
        self._stream = cast("AudioStream", made)
        if codec in _BITS:
            self._stream.bit_rate = _BITS[codec] if self._rate > _LOW_RATE else _LOW_BITS

    def _write(self, samples: Samples) -> None:
        assert self._container is not None
        assert self._stream is not None
        assert self._rate is not None
        try:
            for at in range(0, len(samples), _BLOCK):
                block = samples[at : at + _BLOCK]
                frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="s16", layout=self._layout)
                frame.sample_rate, frame.pts = self._rate, self._samples
                frame.time_base = Fraction(1, self._rate)
                self._samples += len(block)
                self._container.mux(self._stream.encode(frame))
        except (av.FFmpegError, OSError) as error:
            raise StorageError(f"{self._path}: {error.strerror or error}") from None


def _faded(sound: Samples, rate: int, *, at_start: bool, at_end: bool) -> Samples:
    """Ramps to silence at the ends that meet another stretch.

    By sample: pydub's fades work in whole milliseconds and lose what is left over at the end of a clip.
    """
    fade = min(FADE_MS * rate // 1000, len(sound) // 2)
    if not fade or not (at_start or at_end):
        return sound
    faded = sound.copy()
    ramp = np.linspace(0, 1, fade, endpoint=False)[:, np.newaxis]
    if at_start:
        faded[:fade] = np.rint(sound[:fade] * ramp)
    if at_end:
        faded[-fade:] = np.rint(sound[-fade:] * ramp[::-1])
    return faded


def _format(codec: str) -> str:
    return "s16p" if codec == "libmp3lame" else "s16"


def _decoded(stretch: Stretch) -> Iterator[AudioFrame]:
    """Frames of a stretch; nothing but the container that its content begins with is tried."""
    if stretch.form == "pcm":
        pcm = np.frombuffer(stretch.audio, np.dtype("<i2"))
        for at in range(0, len(pcm), _BLOCK):
            frame = av.AudioFrame.from_ndarray(pcm[at : at + _BLOCK].reshape(1, -1), format="s16", layout="mono")
            frame.sample_rate = stretch.rate
            yield frame
        return
    try:
        with av.open(io.BytesIO(stretch.audio), "r", format=stretch.form) as container:
            yield from container.decode(audio=0)
    except (av.FFmpegError, IndexError, ValueError):
        raise _undecodable(stretch) from None


def _peak(frame: AudioFrame) -> int:
    data = frame.to_ndarray()
    most = float(np.abs(data.astype(np.float64)).max(initial=0))
    scale = {"f": 32768.0, "i": 32768.0 / 2 ** (8 * data.itemsize - 1)}.get(data.dtype.kind, 1.0)
    return int(most * scale)


def _undecodable(stretch: Stretch) -> BadReply:
    return BadReply(f"the reply begins like {stretch.form} but no sound in it can be decoded", hint=_BAD)
