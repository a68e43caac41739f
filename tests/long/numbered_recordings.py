"""Recordings of numbered words for the engine that recognises them: which words, when, in which format."""

from __future__ import annotations

import random
import wave
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import av
import numpy as np

from mediamill.tasks.media.encode import RATE, Samples
from tests.long.tone_words_engine import burst

if TYPE_CHECKING:
    from av.audio.stream import AudioStream

WORD = len(burst(0))


@dataclass(slots=True)
class NumberedWords:
    """Words from 0 up with pauses between them.

    Attributes:
        seconds: length of the recording.
        pauses: shortest and longest pause, in samples.
        noise: level of the background noise.
        starts: where each word begins, in samples; complete once :meth:`blocks` is exhausted.
    """

    seconds: float
    pauses: tuple[int, int] = (5_000, 12_000)
    noise: int = 60
    seed: int = 1
    starts: list[int] = field(default_factory=list)

    def blocks(self) -> Iterator[Samples]:
        """16 kHz mono, a word and its pause at a time; as many whole words as fit, then noise to the end."""
        rng, noise = random.Random(self.seed), np.random.default_rng(self.seed)
        at, total = 0, int(self.seconds * RATE)
        while at < total:
            pause = min(rng.randint(*self.pauses), total - at)
            block = noise.integers(-self.noise, self.noise + 1, pause + WORD, dtype=np.int16)
            if at + pause + WORD > total:
                yield block[: total - at]
                return
            block[pause:] += burst(len(self.starts))
            self.starts.append(at + pause)
            at += len(block)
            yield block

    def words(self) -> list[tuple[str, int]]:
        """Every word and its first sample."""
        return [(f"w{n}", start) for n, start in enumerate(self.starts)]


def write_wav(path: Path, numbered: NumberedWords) -> Path:
    """Write a 16 kHz mono WAV file, without holding it in memory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        for block in numbered.blocks():
            file.writeframes(block.tobytes())
    return path


def write_encoded(
    path: Path,
    numbered: NumberedWords,
    form: str,
    codec: str,
    *,
    rate: int = RATE,
    sides: bool = False,
    video: bool = False,
    options: dict[str, str] | None = None,
    codec_options: dict[str, str] | None = None,
) -> Path:
    """Write the recording in any container and codec.

    Args:
        path: the file to write.
        numbered: the words, each a number, and where they begin.
        form, codec: FFmpeg's names of the container and the codec.
        rate: sample rate of the file, in Hz.
        sides: stereo, alternate blocks left and right.
        video: a video stream beside the audio.
        options, codec_options: FFmpeg's, of the container and the encoder.
    """
    layout = "stereo" if sides else "mono"
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=form, options=options or {}) as target:
        video_stream = target.add_stream("mpeg4", rate=1) if video else None
        stream = cast("AudioStream", target.add_stream(codec, rate=rate, layout=layout, options=codec_options or {}))
        if not codec.startswith(("pcm", "flac")):
            stream.bit_rate = 128_000
        if video_stream is not None:
            _mux_video(target, video_stream, numbered.seconds)
        resampler = av.AudioResampler(stream.format.name, layout, rate)
        fifo = av.AudioFifo()
        for n, block in enumerate(numbered.blocks()):
            planes = np.stack([block * (n % 2 == 0), block * (n % 2 == 1)]) if sides else block.reshape(1, -1)
            packed = np.ascontiguousarray(planes.T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
            frame.sample_rate = RATE
            for part in resampler.resample(frame):
                part.pts = None
                fifo.write(part)
            _mux_frames(target, stream, fifo.read_many(stream.frame_size or 1024))
        for part in resampler.resample(None):
            part.pts = None
            fifo.write(part)
        _mux_frames(target, stream, fifo.read_many(stream.frame_size or 1024, partial=True))
        target.mux(stream.encode(None))
    return path


def _mux_frames(target: Any, stream: AudioStream, frames: list[av.AudioFrame]) -> None:
    for frame in frames:
        frame.pts = None
        target.mux(stream.encode(frame))


def _mux_video(target: Any, video_stream: Any, seconds: float) -> None:
    video_stream.width, video_stream.height, video_stream.pix_fmt = 32, 32, "yuv420p"
    for _ in range(int(seconds)):
        target.mux(video_stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
    target.mux(video_stream.encode(None))
