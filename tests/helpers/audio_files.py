"""Recordings made for a test: a tone in whatever container and codec is asked for."""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
import numpy as np

from mediamill.tasks.wire import AudioLimits

if TYPE_CHECKING:
    from av.audio.stream import AudioStream

LIMITS = AudioLimits(frozenset({"wav", "mp3", "m4a", "webm", "flac"}), 25 * 2**20, 4 * 3600)


def tone(seconds: float, rate: int = 16_000, level: float = 0.3) -> np.ndarray:
    at = np.arange(round(seconds * rate)) / rate
    return (np.sin(2 * np.pi * 440 * at) * level * 32767).astype(np.int16)


def syllables(seconds: float, level: float = 0.2, seed: int = 0) -> np.ndarray:
    """Sound that comes and goes as speech does: a syllable of 150 ms each quarter of a second, over soft noise."""
    at = np.arange(round(seconds * 16_000)) / 16_000
    noise = np.random.default_rng(seed).normal(0, 1, len(at))
    return (noise * np.where(at % 0.25 < 0.15, level, level / 300) * 8000).clip(-32768, 32767).astype(np.int16)


def to_wav(samples: np.ndarray, rate: int = 16_000, channels: int = 1, width: int = 2) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return out.getvalue()


def wav_header(size: int, *, tag: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16) -> bytes:
    frame = channels * bits // 8
    fmt = struct.pack("<HHIIHH", tag, channels, rate, rate * frame, frame, bits)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + size)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + fmt
        + b"data"
        + struct.pack("<I", size)
    )


def write_tone_file(
    path: Path, form: str, codec: str, *, seconds: float = 2.0, rate: int = 48_000, video: bool = False, tracks: int = 1
) -> Path:
    with av.open(str(path), "w", format=form) as target:
        picture = target.add_stream("mpeg4", rate=5) if video else None
        if picture is not None:
            picture.width, picture.height, picture.pix_fmt = 32, 32, "yuv420p"
        streams = [cast("AudioStream", target.add_stream(codec, rate=rate, layout="mono")) for _ in range(tracks)]
        if picture is not None:
            for _ in range(round(seconds * 5)):
                frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
                target.mux(picture.encode(frame))
            target.mux(picture.encode(None))
        for stream in streams:
            stream.bit_rate = 64_000
            audio_frame = av.AudioFrame.from_ndarray(tone(seconds, rate).reshape(1, -1), format="s16", layout="mono")
            audio_frame.sample_rate = rate
            fifo = av.AudioFifo()
            resampler = av.AudioResampler(stream.format.name, "mono", rate)
            for part in resampler.resample(audio_frame):
                fifo.write(part)
            for block in fifo.read_many(stream.frame_size or 1024, partial=True):
                target.mux(stream.encode(block))
            target.mux(stream.encode(None))
    return path
