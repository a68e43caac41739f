"""Videos: half a second that shows the prompt, then a colour that changes slowly.

What follows the first half second depends only on the size, the length and one of twelve colours. So it is encoded once
and its packets are copied into every such video, which then takes little more time than its first frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediamill.tasks.local.media_generation.images import MARK, render_card
from mediamill.tasks.local.media_generation.specs import VideoSpec, hash_prompt

if TYPE_CHECKING:
    from av import VideoFrame

_HUES = 12
_HUE_STEP = 0.04
_STEPS_PER_SECOND = 2
_CODECS: dict[str, tuple[tuple[str, dict[str, str]], ...]] = {
    "mp4": (("libx264", {"preset": "ultrafast", "tune": "zerolatency", "crf": "32"}), ("mpeg4", {})),
    "webm": (("libvpx", {"deadline": "realtime", "cpu-used": "16", "lag-in-frames": "0", "auto-alt-ref": "0"}),),
}


@dataclass(frozen=True)
class _Packet:
    data: bytes
    key: bool


def render_video(spec: VideoSpec, path: Path) -> None:
    """Render a video to a file. Blocking; the same spec gives the same bytes."""
    import av

    hue = hash_prompt(spec.words, spec.seed) % _HUES
    total = spec.seconds * spec.fps
    first = min(total, max(2, spec.fps // 2))
    with av.open(str(path), "w", format=spec.form, options={"fflags": "+bitexact"}) as container:
        container.metadata["comment"] = MARK
        codec, options = _choose_codec(spec.form)
        stream: Any = container.add_stream(codec, rate=spec.fps, options=options)
        _configure_encoder(stream.codec_context, spec)
        frame = _render_frame(spec.words, spec.width, spec.height, hue / _HUES, codec)
        for number in range(first):
            for packet in stream.encode(_set_frame_time(frame, number, spec.fps)):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
        later_packets = _encode_rest(spec.width, spec.height, spec.fps, total - first, spec.form, hue)
        for number, encoded in enumerate(later_packets, first):
            packet = av.Packet(encoded.data)
            packet.stream, packet.time_base = stream, Fraction(1, spec.fps)
            packet.pts = packet.dts = number
            packet.duration, packet.is_keyframe = 1, encoded.key
            container.mux(packet)


@lru_cache(48)
def _encode_rest(width: int, height: int, fps: int, frames: int, form: str, hue: int) -> tuple[_Packet, ...]:
    """The packets of everything after the first half second; none of them shows a prompt."""
    import av

    if not frames:
        return ()
    codec, options = _choose_codec(form)
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.options = options
    encoder.flags |= av.codec.context.Flags.global_header
    _configure_encoder(encoder, VideoSpec("", 0, width, height, 0, fps, form))
    packets: list[_Packet] = []
    for frame in chain(_generate_frames(width, height, fps, frames, hue, codec), [None]):
        packets += [_Packet(bytes(packet), packet.is_keyframe) for packet in encoder.encode(frame)]
    return tuple(packets)


def _generate_frames(width: int, height: int, fps: int, frames: int, hue: int, codec: str) -> Iterator[VideoFrame]:
    """Frames whose colour changes twice a second."""
    frames_per_step = max(1, fps // _STEPS_PER_SECOND)
    current = None
    for number in range(frames):
        if number % frames_per_step == 0:
            current = _render_frame("", width, height, hue / _HUES + _HUE_STEP * (1 + number // frames_per_step), codec)
        assert current is not None
        yield _set_frame_time(current, number, fps)


def _render_frame(text: str, width: int, height: int, hue: float, codec: str) -> VideoFrame:
    import av

    image = render_card(text, width, height, hue % 1.0)
    from_image: Any = av.VideoFrame.from_image
    frame: VideoFrame = from_image(image).reformat(format=_choose_pixel_format(width, height, codec))
    return frame


def _set_frame_time(frame: VideoFrame, number: int, fps: int) -> VideoFrame:
    frame.pts, frame.time_base = number, Fraction(1, fps)
    return frame


def _configure_encoder(encoder: Any, spec: VideoSpec) -> None:
    encoder.width, encoder.height = spec.width, spec.height
    encoder.pix_fmt = _choose_pixel_format(spec.width, spec.height, encoder.name)
    encoder.framerate, encoder.time_base = spec.fps, Fraction(1, spec.fps)
    encoder.gop_size = 100_000
    encoder.thread_count = 1  # several threads would not always write the same bytes


def _choose_pixel_format(width: int, height: int, codec: str) -> str:
    """The pixel format: H.264 halves the colour resolution of even sides only."""
    return "yuv444p" if codec == "libx264" and (width % 2 or height % 2) else "yuv420p"


@cache
def _choose_codec(form: str) -> tuple[str, dict[str, str]]:
    """The first encoder for a format that this build of FFmpeg has, and its options."""
    import av

    return next((name, options) for name, options in _CODECS[form] if name in av.codecs_available)
