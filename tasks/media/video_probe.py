"""Decode a generated video to its last frame: this proves that it is complete, and shows what it really is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.frames import to_video_info
from mediamill.tasks.media.video_file import broken_video_error, open_video

_MAX_DECODE_SECONDS = 600.0
_FORMAT_NAMES = {"mov": "mp4", "matroska": "webm"}
_SLACK_SECONDS = 0.5
"""Seconds that a container may claim beyond its last frame: audio is often a little longer."""


@dataclass(frozen=True, slots=True)
class DecodedVideo:
    """What a video is by its frames.

    Container, size in pixels, number of frames, frames per second, length in seconds, codec, whether it has audio.
    """

    format: str
    width: int
    height: int
    frames: int
    fps: float
    seconds: float
    codec: str
    audio: bool


def decode_video(path: Path, check: Callable[[], None] = lambda: None) -> DecodedVideo:
    """Decode every frame of a video.

    Args:
        path: the file, whatever its name.
        check: called between packets; what it raises ends the work.

    Raises:
        BadInput: when it is not a video, or ends early.
    """
    began_at = time.monotonic()
    with open_video(path) as (container, stream, size):
        info, codec = to_video_info(container, stream, size), stream.codec_context.name
        n_frames, first, last = 0, math.inf, 0.0
        for packet in container.demux(stream):
            check()
            for frame in packet.decode():
                n_frames += 1
                time_shown = float(frame.time or 0.0)
                first, last = min(first, time_shown), max(last, time_shown)
            if time.monotonic() - began_at > _MAX_DECODE_SECONDS:
                raise BadInput(f"the video is not decoded within {_MAX_DECODE_SECONDS:.0f} s", kind="undecodable")
    if not n_frames:
        raise broken_video_error("it has no frame")
    step = 1 / info.fps if info.fps else 0.0
    seconds = last + step - (first if first > _SLACK_SECONDS else 0.0)
    if seconds < info.seconds - max(_SLACK_SECONDS, 2 * step):
        raise broken_video_error(f"it breaks off after {seconds:.1f} of {info.seconds:.1f} s")
    fps = n_frames / seconds if seconds else 0.0
    return DecodedVideo(
        _FORMAT_NAMES.get(info.format, info.format),
        info.width,
        info.height,
        n_frames,
        round(fps, 3),
        round(seconds, 3),
        codec,
        info.audio,
    )
