"""Frames of a video: at which times they are taken, and how they become small JPEGs, in bounded memory and time."""

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

from mediamill.tasks.errors import BadInput, build_memory_error
from mediamill.tasks.media.av_input import open_media
from mediamill.tasks.media.source_file import empty_file_error, read_head

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

DEMUXERS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,gif,m4v,h264,hevc,ivf,rm,dv,mxf,wtv,nut"
"""Formats that may be opened as video. Playlists and lists of other files are not among them: they would use the
network."""

JPEG_QUALITY = 85
MAX_SECONDS = 24 * 3600.0
MAX_PIXELS = 40_000_000
MAX_CPU_SECONDS = 600.0
_OPTIONS = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file", "max_streams": "100"}
_SCENE_CANDIDATES = 3
"""How many frames are compared for each frame that is wanted, where scene changes decide."""
_THUMBNAIL_SIDE = 16
_MIMES = {"mov": "video/mp4", "matroska": "video/webm"}


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video is.

    Its common format name, decoded size in pixels, frames per second, length in seconds, whether it has audio, and the
    file's size in bytes.
    """

    format: str
    width: int
    height: int
    fps: float
    seconds: float
    audio: bool
    size: int


@dataclass(frozen=True, slots=True)
class JpegFrame:
    """One frame as a JPEG; ``at`` is its time in seconds."""

    at: float
    data: bytes
    width: int
    height: int


def read_video_info(path: Path) -> VideoInfo:
    """Read what a video is from its headers; its first frame must decode.

    Raises:
        BadInput: ``missing``, ``unreadable``, ``not_a_file``, ``empty``, ``not_a_video``, ``no_video``,
            ``undecodable``, ``too_long`` or ``too_many_pixels``.
    """
    with open_video(path) as (container, stream, size):
        first = next(_decode_frames(container, stream, lambda: None), None)
        if first is None:
            raise broken_video_error("it has no frame that can be decoded")
        return to_video_info(container, stream, size)


def spread_times(start: float, end: float, *, frames: int, every: float | None = None) -> list[float]:
    """Times of frames between two moments: in the middle of ``frames`` equal parts, or every ``every`` seconds."""
    if every is not None:
        count = max(1, int((end - start) / every + 1e-9) + 1)
        return [start + n * every for n in range(count) if start + n * every < end] or [start]
    step = (end - start) / frames
    return [start + (n + 0.5) * step for n in range(frames)]


def extract_frames(
    path: Path, moments: Sequence[float], max_side: int | None, check: Callable[[], None] = lambda: None
) -> list[JpegFrame]:
    """The frames shown at these moments, as JPEGs whose longer side is at most ``max_side`` pixels.

    It seeks to the key frame before each and decodes forward; a moment past the end gets the last frame.

    Raises:
        BadInput: as :func:`read_video_info`.
    """
    with open_video(path) as (container, stream, _):
        cpu_budget = _CpuBudget()
        extracted: list[JpegFrame] = []
        for at in moments:
            check()
            frame = _find_frame(container, stream, at, check, cpu_budget)
            if frame is not None:
                extracted.append(_encode_jpeg(frame, at, max_side))
        if not extracted:
            raise broken_video_error("it has no frame that can be decoded")
        return extracted


def find_scene_times(
    path: Path, start: float, end: float, frames: int, check: Callable[[], None] = lambda: None
) -> list[float]:
    """Times of the first frame and of those after the greatest changes between neighbours, in order of time.

    Raises:
        BadInput: as :func:`read_video_info`.
    """
    import numpy as np

    candidates = spread_times(start, end, frames=frames * _SCENE_CANDIDATES)
    thumbnails: list[tuple[float, Any]] = []
    with open_video(path) as (container, stream, _):
        cpu_budget = _CpuBudget()
        for at in candidates:
            check()
            frame = _find_frame(container, stream, at, check, cpu_budget)
            if frame is not None:
                thumbnails.append(
                    (at, frame.reformat(_THUMBNAIL_SIDE, _THUMBNAIL_SIDE, format="gray").to_ndarray().astype(np.int16))
                )
    if not thumbnails:
        raise broken_video_error("it has no frame that can be decoded")
    changes = [(float(np.abs(after - before).mean()), at) for (_, before), (at, after) in pairwise(thumbnails)]
    chosen = [thumbnails[0][0], *(at for _, at in sorted(changes, reverse=True)[: frames - 1])]
    return sorted(chosen)


def get_video_mime(info: VideoInfo) -> str:
    """The media type under which a video is sent."""
    return _MIMES.get(info.format, f"video/{info.format}")


class _CpuBudget:
    """Bounds the processor time of one file."""

    def __init__(self) -> None:
        self._began_at = time.thread_time()

    def check(self) -> None:
        if time.thread_time() - self._began_at > MAX_CPU_SECONDS:
            raise BadInput(f"the video takes more than {MAX_CPU_SECONDS:.0f} s to decode", kind="undecodable")


@contextmanager
def open_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream, int]]:
    """Open a video: yields it with its first video track and its size in bytes; decoding errors become BadInput.

    Raises:
        BadInput: as :func:`read_video_info`.
    """
    _, size = read_head(path)
    if not size:
        raise empty_file_error()
    try:
        container = open_media(path, options=_OPTIONS)
    except (av.FFmpegError, ValueError, OSError):
        raise BadInput(
            "the file's content is not a video in any format that is known here",
            kind="not_a_video",
            hint="check that it plays in a media player",
        ) from None
    with container:
        streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            raise BadInput("the file has no video track", kind="no_video", hint="`transcribe` takes audio")
        stream = streams[0]
        stream.thread_type = "NONE"
        pixels = (stream.width or 0) * (stream.height or 0)
        if pixels > MAX_PIXELS:
            raise BadInput(f"its frames have {pixels / 1e6:.0f} million pixels", kind="too_many_pixels")
        try:
            yield container, stream, size
        except BadInput:
            raise
        except (av.FFmpegError, ValueError, OSError) as error:
            raise broken_video_error(str(error).splitlines()[0] if str(error) else type(error).__name__) from None
        except MemoryError:
            raise build_memory_error("there was not enough memory to decode the video") from None


def to_video_info(container: InputContainer, stream: VideoStream, size: int) -> VideoInfo:
    """What the headers of an opened video say."""
    seconds = float(container.duration or 0) / av.time_base
    if not seconds and stream.duration and stream.time_base:
        seconds = float(stream.duration * stream.time_base)
    if seconds > MAX_SECONDS:
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


def _decode_frames(container: InputContainer, stream: VideoStream, check: Callable[[], None]) -> Iterator[VideoFrame]:
    """Yield frames from the current position; single damaged packets are skipped."""
    for number, packet in enumerate(container.demux(stream)):
        if number % 64 == 0:
            check()
        try:
            yield from packet.decode()
        except (av.FFmpegError, ValueError):
            continue


def _find_frame(
    container: InputContainer, stream: VideoStream, at: float, check: Callable[[], None], cpu_budget: _CpuBudget
) -> VideoFrame | None:
    """The frame that is shown at a moment."""
    base = float(stream.time_base or 0) or 1.0
    origin = float(stream.start_time or 0) * base
    try:
        container.seek(int((at + origin) / base), stream=stream)
    except av.FFmpegError:
        container.seek(0)
    last: VideoFrame | None = None
    for frame in _decode_frames(container, stream, check):
        cpu_budget.check()
        shown_at = (frame.time or 0.0) - origin
        if last is not None and shown_at > at:
            return last
        last = frame
        if shown_at >= at:
            return last
    return last


def _encode_jpeg(frame: VideoFrame, at: float, max_side: int | None) -> JpegFrame:
    from PIL import Image

    width, height = frame.width, frame.height
    scale = min(1.0, max_side / max(width, height)) if max_side else 1.0
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    image = Image.fromarray(frame.reformat(*size, format="rgb24").to_ndarray())
    turn = int(getattr(frame, "rotation", 0) or 0) % 360
    if turn:
        image = image.rotate(turn, expand=True)
    out = BytesIO()
    image.save(out, "JPEG", quality=JPEG_QUALITY)
    return JpegFrame(at, out.getvalue(), *image.size)


def broken_video_error(why: str) -> BadInput:
    """The error for a video that cannot be decoded."""
    return BadInput(
        f"the video cannot be decoded: {why}", kind="undecodable", hint="play it elsewhere, or copy it again"
    )
