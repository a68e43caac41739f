"""Frames of a video: where they are taken, decoded and made into small JPEGs, with bounded memory and time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from av.stream import Disposition

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.source_file import empty_file, read_head

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

DEMUXERS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,gif,m4v,h264,hevc"
"""What may be opened as a video. Playlists and lists of other files are not on it: they would reach for the network."""

QUALITY = 85
MOST_SECONDS = 24 * 3600.0
MOST_PIXELS = 40_000_000
CPU_SECONDS = 600.0
_OPTIONS = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file", "max_streams": "100"}
_IO_SECONDS = 120.0
_SCENE = 3
"""Candidates looked at for each frame that is wanted, where scene changes decide."""
_THUMB = 16
_MIMES = {"mov": "video/mp4", "matroska": "video/webm"}


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video is: its everyday format, decoded size, frames a second, seconds, and whether it has sound."""

    format: str
    width: int
    height: int
    fps: float
    seconds: float
    audio: bool
    size: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as a JPEG; ``at`` is its time in seconds."""

    at: float
    data: bytes
    width: int
    height: int


def read_video_info(path: Path) -> VideoInfo:
    """What a video is, from its headers and its first frame.

    Raises:
        BadInput: ``missing``, ``unreadable``, ``not_a_file``, ``empty``, ``not_a_video``, ``no_video``,
            ``undecodable``, ``too_long`` or ``too_many_pixels``.
    """
    with opened_video(path) as (container, stream, size):
        first = next(_decoded(container, stream, lambda: None), None)
        if first is None:
            raise broken_video("it has no frame that can be decoded")
        return info_of_video(container, stream, size)


def times(start: float, end: float, *, frames: int, every: float | None = None) -> list[float]:
    """Where frames are taken between two moments: in the middle of equal parts, or every so many seconds."""
    if every is not None:
        count = max(1, int((end - start) / every + 1e-9) + 1)
        return [start + n * every for n in range(count) if start + n * every < end] or [start]
    step = (end - start) / frames
    return [start + (n + 0.5) * step for n in range(frames)]


def frames_at(
    path: Path, wanted: Sequence[float], longest: int | None, check: Callable[[], None] = lambda: None
) -> list[Frame]:
    """The frames shown at these moments, each no larger than ``longest``, as JPEGs.

    Seeks to the key frame before each and decodes forward; a moment past the end gets the last frame there is.

    Raises:
        BadInput: as :func:`read_video_info`.
    """
    with opened_video(path) as (container, stream, _):
        budget = _Budget()
        found: list[Frame] = []
        for at in wanted:
            check()
            frame = _nearest(container, stream, at, check, budget)
            if frame is not None:
                found.append(_jpeg(frame, at, longest))
        if not found:
            raise broken_video("it has no frame that can be decoded")
        return found


def scene_times(
    path: Path, start: float, end: float, frames: int, check: Callable[[], None] = lambda: None
) -> list[float]:
    """Moments after the greatest changes between neighbours, the first moment among them; in order of time.

    Raises:
        BadInput: as :func:`read_video_info`.
    """
    import numpy as np

    candidates = times(start, end, frames=frames * _SCENE)
    looks: list[tuple[float, Any]] = []
    with opened_video(path) as (container, stream, _):
        budget = _Budget()
        for at in candidates:
            check()
            frame = _nearest(container, stream, at, check, budget)
            if frame is not None:
                looks.append((at, frame.reformat(_THUMB, _THUMB, format="gray").to_ndarray().astype(np.int16)))
    if not looks:
        raise broken_video("it has no frame that can be decoded")
    changes = [(float(np.abs(after - before).mean()), at) for (_, before), (at, after) in pairwise(looks)]
    chosen = [looks[0][0], *(at for _, at in sorted(changes, reverse=True)[: frames - 1])]
    return sorted(chosen)


def mime_of(info: VideoInfo) -> str:
    """The media type a video is sent under."""
    return _MIMES.get(info.format, f"video/{info.format}")


class _Budget:
    """Processor time that one file may take."""

    def __init__(self) -> None:
        self._began = time.thread_time()

    def check(self) -> None:
        if time.thread_time() - self._began > CPU_SECONDS:
            raise BadInput(f"the video takes more than {CPU_SECONDS:.0f} s to decode", kind="undecodable")


@contextmanager
def opened_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream, int]]:
    """A video with its first moving picture and its size in bytes; what decoding raises becomes BadInput.

    Raises:
        BadInput: as :func:`read_video_info`.
    """
    _, size = read_head(path)
    if not size:
        raise empty_file()
    try:
        container = av.open(str(path), options=_OPTIONS, timeout=_IO_SECONDS, metadata_errors="replace")
    except (av.FFmpegError, ValueError, OSError):
        raise BadInput(
            "the file's content is not a video in any format that is known here",
            kind="not_a_video",
            hint="check that it plays in a media player",
        ) from None
    with container:
        streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            raise BadInput("there is no moving picture in the file", kind="no_video", hint="`transcribe` takes sound")
        stream = streams[0]
        stream.thread_type = "NONE"
        pixels = (stream.width or 0) * (stream.height or 0)
        if pixels > MOST_PIXELS:
            raise BadInput(f"its frames have {pixels / 1e6:.0f} million pixels", kind="too_many_pixels")
        try:
            yield container, stream, size
        except BadInput:
            raise
        except (av.FFmpegError, ValueError, MemoryError, OSError) as error:
            raise broken_video(str(error).splitlines()[0] if str(error) else type(error).__name__) from None


def info_of_video(container: InputContainer, stream: VideoStream, size: int) -> VideoInfo:
    """What the headers of an opened video say."""
    seconds = float(container.duration or 0) / av.time_base
    if not seconds and stream.duration and stream.time_base:
        seconds = float(stream.duration * stream.time_base)
    if seconds > MOST_SECONDS:
        raise BadInput("the video claims to be longer than a day", kind="too_long")
    return VideoInfo(
        format=container.format.name.partition(",")[0],
        width=stream.width,
        height=stream.height,
        fps=float(stream.average_rate or stream.guessed_rate or 0),
        seconds=seconds,
        audio=bool(container.streams.audio),
        size=size,
    )


def _decoded(container: InputContainer, stream: VideoStream, check: Callable[[], None]) -> Iterator[VideoFrame]:
    """Frames from where the container stands, single packets that are damaged passed over."""
    for number, packet in enumerate(container.demux(stream)):
        if number % 64 == 0:
            check()
        try:
            yield from packet.decode()
        except (av.FFmpegError, ValueError):
            continue


def _nearest(
    container: InputContainer, stream: VideoStream, at: float, check: Callable[[], None], budget: _Budget
) -> VideoFrame | None:
    """The frame that is shown at a moment."""
    base = float(stream.time_base or 0) or 1.0
    origin = float(stream.start_time or 0) * base
    try:
        container.seek(int((at + origin) / base), stream=stream)
    except av.FFmpegError:
        container.seek(0)
    last: VideoFrame | None = None
    for frame in _decoded(container, stream, check):
        budget.check()
        shown = (frame.time or 0.0) - origin
        if last is not None and shown > at:
            return last
        last = frame
        if shown >= at:
            return last
    return last


def _jpeg(frame: VideoFrame, at: float, longest: int | None) -> Frame:
    from PIL import Image

    width, height = frame.width, frame.height
    scale = min(1.0, longest / max(width, height)) if longest else 1.0
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    image = Image.fromarray(frame.reformat(*size, format="rgb24").to_ndarray())
    turn = int(getattr(frame, "rotation", 0) or 0) % 360
    if turn:
        image = image.rotate(turn, expand=True)
    out = BytesIO()
    image.save(out, "JPEG", quality=QUALITY)
    return Frame(at, out.getvalue(), *image.size)


def broken_video(why: str) -> BadInput:
    """What a video that cannot be decoded is told as."""
    return BadInput(
        f"the video cannot be decoded: {why}", kind="undecodable", hint="play it elsewhere, or copy it again"
    )
