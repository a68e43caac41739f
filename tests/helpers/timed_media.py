"""Media files whose timestamps are chosen: tracks that start late, holes, clocks that begin anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
import numpy as np

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.video.stream import VideoStream

FPS = 10


@dataclass(frozen=True)
class Sound:
    """A sound track: ``spans`` has from when to when its packets are, in seconds; ``channels`` is what is recorded."""

    spans: Sequence[tuple[float, float]] = ((0.0, 2.0),)
    codec: str = "aac"
    language: str | None = None
    hertz: int = 440
    default: bool = False
    title: str | None = None


@dataclass(frozen=True)
class Pictures:
    """A video track from ``start`` for ``seconds``; each picture's grey level is its number."""

    start: float = 0.0
    seconds: float = 4.0
    codec: str = "mpeg4"
    gop: int = 10
    size: tuple[int, int] = (128, 64)
    aspect: Fraction | None = None


def write_timed_media(
    path: Path,
    form: str,
    sounds: Sequence[Sound] = (),
    pictures: Pictures | None = None,
    *,
    rate: int = 48_000,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a file; packets of all tracks are in the order of their times."""
    with av.open(str(path), "w", format=form, options=options or {}) as target:
        packets = []
        video = _add_pictures(target, pictures) if pictures else None
        audios = [cast("AudioStream", target.add_stream(sound.codec, rate=rate, layout="mono")) for sound in sounds]
        for stream, sound in zip(audios, sounds, strict=True):
            stream.bit_rate = 64_000
            if sound.language:
                stream.metadata["language"] = sound.language
            if sound.title:
                stream.metadata["title"] = sound.title
            if sound.default:
                stream.disposition = av.stream.Disposition.default
        target.start_encoding()
        if video is not None and pictures is not None:
            packets += _encode_pictures(video, pictures)
        for stream, sound in zip(audios, sounds, strict=True):
            packets += _encode_sound(stream, sound, rate)
        packets.sort(key=lambda packet: float((packet.dts or 0) * packet.time_base))
        for packet in packets:
            target.mux(packet)
    return path


def draw_number(number: int, size: tuple[int, int] = (128, 64)) -> np.ndarray:
    """A picture that shows its number: 8 stripes, bright where a bit is set."""
    width, height = size
    image = np.zeros((height, width, 3), np.uint8)
    for bit in range(8):
        if number >> bit & 1:
            image[:, bit * width // 8 : (bit + 1) * width // 8] = 255
    return image


def read_number(image: np.ndarray) -> int:
    """The number that :func:`draw_number` drew, from a grey picture of any size."""
    width = image.shape[1]
    middles = [image[:, int((bit + 0.5) * width / 8)].mean() for bit in range(8)]
    return sum(1 << bit for bit, level in enumerate(middles) if level > 127)


def _add_pictures(target: av.container.OutputContainer, pictures: Pictures) -> VideoStream:
    stream = cast("VideoStream", target.add_stream(pictures.codec, rate=FPS))
    stream.width, stream.height = pictures.size
    stream.pix_fmt, stream.gop_size, stream.bit_rate = "yuv420p", pictures.gop, 4_000_000
    if pictures.aspect is not None:
        stream.sample_aspect_ratio = pictures.aspect
    return stream


def _encode_pictures(stream: VideoStream, pictures: Pictures) -> list[av.Packet]:  # type: ignore[type-arg]
    packets = []
    for number in range(round(pictures.seconds * FPS)):
        frame = av.VideoFrame.from_ndarray(draw_number(number, pictures.size), format="rgb24")
        frame.time_base = Fraction(1, 1000)
        frame.pts = round((pictures.start + number / FPS) * 1000)
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def _encode_sound(stream: AudioStream, sound: Sound, rate: int) -> list[av.Packet]:  # type: ignore[type-arg]
    packets = []
    size = stream.codec_context.frame_size or 1024
    for start, end in sound.spans:
        at = np.arange(round((end - start) * rate) // size * size) / rate
        tone = (np.sin(2 * np.pi * sound.hertz * at) * 9000).astype(np.int16)
        for first in range(0, len(tone), size):
            frame = av.AudioFrame.from_ndarray(tone[first : first + size].reshape(1, -1), format="s16", layout="mono")
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            frame.pts = round(start * rate) + first
            resampler = av.AudioResampler(stream.codec_context.format.name, "mono", rate)
            for part in resampler.resample(frame):
                part.pts, part.time_base = frame.pts, frame.time_base
                packets += stream.encode(part)
    return packets + stream.encode(None)
