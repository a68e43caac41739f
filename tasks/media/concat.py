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
from mediamill.tasks.media.audio_info import to_seconds
from mediamill.tasks.media.wav import HEAD_BYTES, parse_wav_header

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream

Samples = npt.NDArray[np.int16]

FADE_MS = 5
"""Fade on each side of a join: to silence and back, so that no sample jumps."""

MAX_SILENT_PEAK = 64
"""Loudest sample (of 32768) up to which there is nothing to be heard."""

_BLOCK_SAMPLES = 4096
_MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_CODECS = {
    "wav": ("wav", "pcm_s16le", ()),
    "flac": ("flac", "flac", ()),
    "mp3": ("mp3", "libmp3lame", _MP3_RATES),
    "opus": ("ogg", "libopus", (8_000, 12_000, 16_000, 24_000, 48_000)),
}
_CONTAINERS = {"wav": "wav", "mp3": "mp3", "flac": "flac", "opus": "ogg"}
"""What content a file of each format has."""

_BIT_RATES = {"libmp3lame": 128_000, "libopus": 64_000}
_LOW_RATE, _LOW_BIT_RATE = 12_000, 32_000
"""Rates up to which MP3 has no more bits than these."""

_RETRY_HINT = "mediamill retry OUT --only bad_reply buys it anew"


@dataclass(frozen=True, slots=True)
class AudioPart:
    """Sound as a provider gave it; ``form`` is by its content, ``rate`` in Hz counts for ``pcm`` only."""

    audio: bytes
    container: str
    rate: int


@dataclass(frozen=True, slots=True)
class JoinedAudio:
    """A file of speech: its exact length in seconds, its rate in Hz, its loudest sample of 32768."""

    seconds: Decimal
    rate: int
    channels: int
    peak: int


def write_unchanged(part: AudioPart, path: Path, file_format: str, rate: int | None) -> JoinedAudio | None:
    """Write a single stretch unchanged where it is already what is wanted; None where it has to be converted.

    Raises:
        BadReply: when it cannot be decoded.
        StorageError: when the file cannot be written.
    """
    if part.container != _CONTAINERS[file_format]:
        return None
    if file_format == "wav" and parse_wav_header(part.audio[:HEAD_BYTES], len(part.audio)) is None:
        return None
    samples = peak = channels = found_rate = 0
    for frame in _decode_part(part):
        samples, channels, found_rate = samples + frame.samples, frame.layout.nb_channels, frame.sample_rate
        peak = max(peak, _measure_peak(frame))
    if not samples:
        raise _undecodable_error(part)
    if rate is not None and found_rate != rate:
        return None
    try:
        path.write_bytes(part.audio)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from None
    return JoinedAudio(to_seconds(Fraction(samples, found_rate)), found_rate, channels, peak)


class AudioJoiner:
    """A file being written, stretch after stretch; only one of them is ever held.

    Args:
        path: the file; what is half written goes when it is closed with an error.
        form: mp3, wav, flac or opus.
        rate: Hz; None takes the first stretch's. The nearest the format has is taken.
    """

    def __init__(self, path: Path, form: str, rate: int | None) -> None:
        self._path, self._file_format, self._rate = path, form, rate
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

    def add(self, part: AudioPart, *, first: bool, last: bool) -> None:
        """Decode one more stretch and write it, faded where it meets another.

        Raises:
            BadReply: when it cannot be decoded.
            StorageError: when the file cannot be written.
        """
        samples = self._resample(part)
        self._peak = max(self._peak, int(samples.max(initial=0)), -int(samples.min(initial=0)))
        self._write_samples(_fade_ends(samples, self._rate or 0, at_start=not first, at_end=not last))

    def finish(self) -> JoinedAudio:
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
        return JoinedAudio(to_seconds(Fraction(self._samples, self._rate)), self._rate, channels, self._peak)

    def _resample(self, part: AudioPart) -> Samples:
        """A row of samples for each moment, at the file's rate and layout, which the first stretch decides."""
        blocks: list[Samples] = []
        resampler = None
        for frame in _decode_part(part):
            if self._container is None:
                self._open_output(frame)
            resampler = resampler or av.AudioResampler("s16", self._layout, self._rate)
            frame.pts = None
            blocks += [np.asarray(f.to_ndarray(), np.int16) for f in resampler.resample(frame)]
        if resampler is None:
            raise _undecodable_error(part)
        blocks += [np.asarray(f.to_ndarray(), np.int16) for f in resampler.resample(None)]
        channels = 2 if self._layout == "stereo" else 1
        return np.concatenate(blocks, axis=1).reshape(-1, channels)

    def _open_output(self, frame: AudioFrame) -> None:
        container, codec, rates = _CODECS[self._file_format]
        self._layout = "stereo" if frame.layout.nb_channels > 1 else "mono"
        wanted_rate = self._rate or frame.sample_rate
        self._rate = (
            min(rates, key=lambda rate: (rate < wanted_rate, abs(rate - wanted_rate))) if rates else wanted_rate
        )
        options = {"fflags": "+bitexact"}  # the same sound makes the same bytes
        try:
            self._container = av.open(str(self._path), "w", format=container, container_options=options)
            stream = self._container.add_stream(
                codec, rate=self._rate, layout=self._layout, format=_get_sample_format(codec)
            )
        except (av.FFmpegError, OSError) as error:
            raise StorageError(f"{self._path}: {error.strerror or error}") from None
        self._stream = cast("AudioStream", stream)
        if codec in _BIT_RATES:
            self._stream.bit_rate = _BIT_RATES[codec] if self._rate > _LOW_RATE else _LOW_BIT_RATE

    def _write_samples(self, samples: Samples) -> None:
        assert self._container is not None
        assert self._stream is not None
        assert self._rate is not None
        try:
            for start in range(0, len(samples), _BLOCK_SAMPLES):
                block = samples[start : start + _BLOCK_SAMPLES]
                frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="s16", layout=self._layout)
                frame.sample_rate, frame.pts = self._rate, self._samples
                frame.time_base = Fraction(1, self._rate)
                self._samples += len(block)
                self._container.mux(self._stream.encode(frame))
        except (av.FFmpegError, OSError) as error:
            raise StorageError(f"{self._path}: {error.strerror or error}") from None


def _fade_ends(samples: Samples, rate: int, *, at_start: bool, at_end: bool) -> Samples:
    """Ramps to silence at the ends that meet another stretch.

    By sample: pydub's fades work in whole milliseconds and lose what is left over at the end of a clip.
    """
    fade_samples = min(FADE_MS * rate // 1000, len(samples) // 2)
    if not fade_samples or not (at_start or at_end):
        return samples
    faded = samples.copy()
    ramp = np.linspace(0, 1, fade_samples, endpoint=False)[:, np.newaxis]
    if at_start:
        faded[:fade_samples] = np.rint(samples[:fade_samples] * ramp)
    if at_end:
        faded[-fade_samples:] = np.rint(samples[-fade_samples:] * ramp[::-1])
    return faded


def _get_sample_format(codec: str) -> str:
    return "s16p" if codec == "libmp3lame" else "s16"


def _decode_part(part: AudioPart) -> Iterator[AudioFrame]:
    """Frames of a stretch; nothing but the container that its content begins with is tried."""
    if part.container == "pcm":
        pcm = np.frombuffer(part.audio, np.dtype("<i2"))
        for start in range(0, len(pcm), _BLOCK_SAMPLES):
            frame = av.AudioFrame.from_ndarray(
                pcm[start : start + _BLOCK_SAMPLES].reshape(1, -1), format="s16", layout="mono"
            )
            frame.sample_rate = part.rate
            yield frame
        return
    try:
        with av.open(io.BytesIO(part.audio), "r", format=part.container) as container:
            yield from container.decode(audio=0)
    except (av.FFmpegError, IndexError, ValueError):
        raise _undecodable_error(part) from None


def _measure_peak(frame: AudioFrame) -> int:
    data = frame.to_ndarray()
    peak = float(np.abs(data.astype(np.float64)).max(initial=0))
    scale = {"f": 32768.0, "i": 32768.0 / 2 ** (8 * data.itemsize - 1)}.get(data.dtype.kind, 1.0)
    return int(peak * scale)


def _undecodable_error(part: AudioPart) -> BadReply:
    return BadReply(f"the reply begins like {part.container} but no sound in it can be decoded", hint=_RETRY_HINT)
