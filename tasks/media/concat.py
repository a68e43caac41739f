"""Generated speech in one or several parts, written as one file: decoded, joined without clicks, encoded."""

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

from mediamill.tasks.errors import BadReply
from mediamill.tasks.media.audio_info import to_seconds
from mediamill.tasks.media.av_input import open_media
from mediamill.tasks.media.encode import Samples, to_frame
from mediamill.tasks.media.wav import HEAD_BYTES, parse_wav_header
from mediamill.tasks.system.os_errors import build_storage_error

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream


FADE_MS = 5
"""Fade on each side of a join: to silence and back, so that no sample jumps."""

MAX_SILENT_PEAK = 64
"""A file whose loudest sample (of 32768) is not above this is silent."""

_BLOCK_SAMPLES = 4096
_MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_CODECS = {
    "wav": ("wav", "pcm_s16le", ()),
    "flac": ("flac", "flac", ()),
    "mp3": ("mp3", "libmp3lame", _MP3_RATES),
    "opus": ("ogg", "libopus", (8_000, 12_000, 16_000, 24_000, 48_000)),
}
_CONTAINERS = {"wav": "wav", "mp3": "mp3", "flac": "flac", "opus": "ogg"}
"""The container of each file format."""

_BIT_RATES = {"libmp3lame": 128_000, "libopus": 64_000}
_LOW_RATE, _LOW_BIT_RATE = 12_000, 32_000
"""Up to this sample rate MP3 allows no higher bit rate than this."""

_RETRY_HINT = "mediamill retry OUT --only bad_reply buys it again"


@dataclass(frozen=True, slots=True)
class AudioPart:
    """Audio from a provider; ``container`` is that of its content, ``rate`` in Hz counts for ``pcm`` only."""

    audio: bytes
    container: str
    rate: int


@dataclass(frozen=True, slots=True)
class JoinedAudio:
    """A speech file: its exact length in seconds, its sample rate in Hz, its loudest sample of 32768."""

    seconds: Decimal
    rate: int
    channels: int
    peak: int


def write_unchanged(part: AudioPart, path: Path, file_format: str, rate: int | None) -> JoinedAudio | None:
    """Write a single part unchanged where it has the right format and rate; None where it must be converted.

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
        raise build_storage_error(error, path) from None
    return JoinedAudio(to_seconds(Fraction(samples, found_rate)), found_rate, channels, peak)


class AudioJoiner:
    """Writes parts into one file, one after another; only one of them is ever in memory.

    Args:
        path: the file; an incomplete file is deleted when the block ends with an error.
        file_format: mp3, wav, flac or opus.
        rate: sample rate in Hz; None for that of the first part. The format's nearest rate is used.
    """

    def __init__(self, path: Path, file_format: str, rate: int | None) -> None:
        self._path, self._file_format, self._rate = path, file_format, rate
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
        """Decode one more part and write it, faded where it meets another.

        Raises:
            BadReply: when it cannot be decoded.
            StorageError: when the file cannot be written.
        """
        samples = self._resample(part)
        self._peak = max(self._peak, int(samples.max(initial=0)), -int(samples.min(initial=0)))
        self._write_samples(_fade_ends(samples, self._rate or 0, at_start=not first, at_end=not last))

    def finish(self) -> JoinedAudio:
        """Write what the encoder still holds, and close the file."""
        assert self._container is not None
        assert self._stream is not None
        assert self._rate is not None
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        except (av.FFmpegError, OSError) as error:
            raise build_storage_error(error, self._path) from None
        self._container = None
        channels = 2 if self._layout == "stereo" else 1
        return JoinedAudio(to_seconds(Fraction(self._samples, self._rate)), self._rate, channels, self._peak)

    def _resample(self, part: AudioPart) -> Samples:
        """Decode a part to samples by channels, at the file's rate and layout, which the first part decides."""
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
        options = {"fflags": "+bitexact"}  # equal audio gives equal bytes
        try:
            self._container = av.open(str(self._path), "w", format=container, container_options=options)
            stream = self._container.add_stream(
                codec, rate=self._rate, layout=self._layout, format=_get_sample_format(codec)
            )
        except (av.FFmpegError, OSError) as error:
            raise build_storage_error(error, self._path) from None
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
                frame = to_frame(block, self._rate, self._layout)
                frame.pts, frame.time_base = self._samples, Fraction(1, self._rate)
                self._samples += len(block)
                self._container.mux(self._stream.encode(frame))
        except (av.FFmpegError, OSError) as error:
            raise build_storage_error(error, self._path) from None


def _fade_ends(samples: Samples, rate: int, *, at_start: bool, at_end: bool) -> Samples:
    """Fade the ends that meet another part to silence.

    The fades count in samples: pydub's count in whole milliseconds and lose the rest at the end of a clip.
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
    """Yield the frames of a part; it is decoded as the container that its content begins with, and as no other."""
    if part.container == "pcm":
        pcm = np.frombuffer(part.audio, np.dtype("<i2"))
        for start in range(0, len(pcm), _BLOCK_SAMPLES):
            yield to_frame(pcm[start : start + _BLOCK_SAMPLES], part.rate)
        return
    try:
        with open_media(io.BytesIO(part.audio), format=part.container) as container:
            yield from container.decode(audio=0)
    except (av.FFmpegError, IndexError, ValueError):
        raise _undecodable_error(part) from None


def _measure_peak(frame: AudioFrame) -> int:
    data = frame.to_ndarray()
    peak = float(np.abs(data.astype(np.float64)).max(initial=0))
    scale = {"f": 32768.0, "i": 32768.0 / 2 ** (8 * data.itemsize - 1)}.get(data.dtype.kind, 1.0)
    return int(peak * scale)


def _undecodable_error(part: AudioPart) -> BadReply:
    return BadReply(f"the reply begins like {part.container} but no audio in it can be decoded", hint=_RETRY_HINT)
