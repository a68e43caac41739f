"""Frames of a video: at which times they are taken, and how they become small JPEGs, in bounded memory and time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import av

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.decode_report import describe_second_file
from mediamill.tasks.media.file_extent import is_cut_off
from mediamill.tasks.media.formats import MEASURED
from mediamill.tasks.media.frame_finder import (
    MIN_LATE_SECONDS,
    FoundFrame,
    FrameFinder,
    VideoClock,
    decode_all,
    find_in_one_pass,
    find_video_end,
    measure_by_packets,
    read_video_clock,
)
from mediamill.tasks.media.joined_video import find_in_joined, find_joins
from mediamill.tasks.media.recording import format_seconds
from mediamill.tasks.media.video_file import CpuBudget, broken_video_error, open_video

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

Converted = TypeVar("Converted")

JPEG_QUALITY = 85
MAX_SECONDS = 24 * 3600.0
_SCENE_CANDIDATES = 3
"""How many frames are compared for each frame that is wanted, where scene changes decide."""
_THUMBNAIL_SIDE = 16
_SLACK_SECONDS, _SLACK_SHARE = 0.5, 0.02
_MAX_ASPECT = 4
"""Pixels are not wider or higher than this: such a header is damaged."""
_WITHOUT_TRACK_LENGTHS = frozenset({"matroska", "webm", "flv", "asf", "ogg", "nut", "rm"})
"""Formats that state when everything has ended, not how long the pictures last."""
_MIMES = {"mov": "video/mp4", "matroska": "video/webm"}


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video is.

    Its common format name, size in pixels as it is shown, frames per second, length of its pictures in seconds, whether
    it has audio, the file's size in bytes, when its pictures begin, in seconds from its first picture or sound, and
    warnings about the file.
    """

    format: str
    width: int
    height: int
    fps: float
    seconds: float
    audio: bool
    size: int
    start: float = 0.0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JpegFrame:
    """One frame as a JPEG.

    ``at`` is the moment in seconds from the file's first picture or sound. ``is_moved`` is true when a plain seek to it
    shows another picture, or none; ``is_stale`` when nothing later than an earlier picture can be decoded.
    """

    at: float
    data: bytes
    width: int
    height: int
    is_moved: bool = False
    is_stale: bool = False


def read_video_info(path: Path) -> VideoInfo:
    """Read what a video is from its headers; its first frame must decode.

    Raises:
        BadInput: ``missing``, ``unreadable``, ``not_a_file``, ``empty``, ``not_a_video``, ``no_video``,
            ``undecodable``, ``too_long`` or ``too_many_pixels``.
    """
    cpu_budget = CpuBudget()
    with open_video(path) as (container, stream, size):
        if next(decode_all(container, stream, cpu_budget.check), None) is None:
            raise broken_video_error("it has no frame that can be decoded")
        info = to_video_info(container, stream, size)
    with open_video(path) as (container, stream, _):
        clock = read_video_clock(path, container, stream)
        joined = find_joins(path, clock.zero, cpu_budget.check)
        if joined is not None:
            seconds = joined.end - clock.late
        else:
            seconds = _measure_seconds(container, stream, clock, info.seconds, cpu_budget)
    is_cut = joined is None and is_cut_off(path)
    if is_cut or not seconds:  # a browser's recording, for one, states no length anywhere
        with open_video(path) as (container, stream, _):
            declared = max(info.seconds, stream.frames / info.fps if info.fps else 0.0)
            measured = max(measure_by_packets(container, stream, cpu_budget.check) - clock.start, 0.0)
        stated = clock.edits.seconds or max(declared, seconds)  # of an AVI without its index FFmpeg guesses the length
        seconds = min(measured, stated or measured)
        is_cut = is_cut and not _is_near(seconds, declared)
    if seconds > MAX_SECONDS:
        raise BadInput("the video claims to be longer than a day", kind="too_long")
    warnings = joined.warnings if joined else describe_second_file(path)
    if is_cut:
        whole = f" of {format_seconds(declared)}" if declared > seconds else ""
        warnings += (f"truncated: {format_seconds(seconds)}{whole} of the video are there, the file ends early",)
    return replace(info, start=clock.late, seconds=seconds, warnings=warnings)


def _measure_seconds(
    container: InputContainer, stream: VideoStream, clock: VideoClock, declared: float, budget: CpuBudget
) -> float:
    """The length of the pictures, where the container states only when everything has ended, or nothing."""
    if clock.edits.seconds:
        return clock.edits.seconds
    names = set(container.format.name.split(","))
    is_shared = names & _WITHOUT_TRACK_LENGTHS and (clock.start > MIN_LATE_SECONDS or len(container.streams) > 1)
    if not declared or not (is_shared or names & MEASURED):
        return declared
    declared_end = declared + (clock.zero if names & MEASURED else 0.0)
    end = find_video_end(container, stream, declared_end, budget.check)
    return declared if end is None or _is_near(end - clock.start, declared) else max(end - clock.start, 0.0)


def _is_near(seconds: float, declared: float) -> bool:
    """True when two lengths differ as sound and pictures of one recording usually do."""
    return abs(seconds - declared) <= max(_SLACK_SECONDS, _SLACK_SHARE * declared)


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
    frames = _convert_frames(path, moments, check, lambda found, aspect: _encode_jpeg(found, max_side, aspect))
    if not frames:
        raise broken_video_error("it has no frame that can be decoded")
    return [frames[at] for at in moments if at in frames]


def _convert_frames(
    path: Path,
    moments: Sequence[float],
    check: Callable[[], None],
    convert: Callable[[FoundFrame, Fraction | None], Converted],
) -> dict[float, Converted]:
    """The pictures at these moments, each converted at once, as they are large. Those that no seek finds take one pass.

    Args:
        path: the video.
        moments: in seconds from the file's first picture or sound.
        check: called often; what it raises ends the work.
        convert: gets a picture, and the width of its pixels to their height.
    """
    cpu_budget = CpuBudget(check)
    converted: dict[float, Converted] = {}
    with open_video(path) as (container, stream, _):
        clock = read_video_clock(path, container, stream)
        joined = find_joins(path, clock.zero, cpu_budget.check)
        finder = FrameFinder(container, stream, clock, cpu_budget.check)
        for at in moments if joined is None else ():
            found = finder.find(at)
            if found is None:
                break
            converted[at] = convert(found, stream.sample_aspect_ratio)
    missing = [at for at in moments if at not in converted]
    if missing:
        with open_video(path) as (container, stream, _):
            found_frames = (
                find_in_one_pass(container, stream, clock, missing, cpu_budget.check)
                if joined is None
                else find_in_joined(container, stream, joined, missing, cpu_budget.check)
            )
            for found in found_frames:
                converted[found.at] = convert(found, stream.sample_aspect_ratio)
    return converted


def find_scene_times(
    path: Path, start: float, end: float, frames: int, check: Callable[[], None] = lambda: None
) -> list[float]:
    """Times of the first frame and of those after the greatest changes between neighbours, in order of time.

    Raises:
        BadInput: as :func:`read_video_info`.
    """
    import numpy as np

    candidates = spread_times(start, end, frames=frames * _SCENE_CANDIDATES)
    found = _convert_frames(path, candidates, check, lambda found, _: _to_thumbnail(found.frame))
    thumbnails = sorted(found.items())
    if not thumbnails:
        raise broken_video_error("it has no frame that can be decoded")
    changes = [(float(np.abs(after - before).mean()), at) for (_, before), (at, after) in pairwise(thumbnails)]
    chosen = [thumbnails[0][0], *(at for _, at in sorted(changes, reverse=True)[: frames - 1])]
    return sorted(chosen)


def _to_thumbnail(frame: VideoFrame) -> Any:
    import numpy as np

    return frame.reformat(_THUMBNAIL_SIDE, _THUMBNAIL_SIDE, format="gray").to_ndarray().astype(np.int16)


def get_video_mime(info: VideoInfo) -> str:
    """The media type under which a video is sent."""
    return _MIMES.get(info.format, f"video/{info.format}")


def to_video_info(container: InputContainer, stream: VideoStream, size: int) -> VideoInfo:
    """What the headers of an opened video say."""
    seconds = float(container.duration or 0) / av.time_base
    own_seconds = float((stream.duration or 0) * (stream.time_base or 0))
    is_own = not set(container.format.name.split(",")) & _WITHOUT_TRACK_LENGTHS
    if not seconds or (is_own and own_seconds and not _is_near(own_seconds, seconds)):
        seconds = own_seconds
    width, height = _to_shown_size(stream.width, stream.height, stream.sample_aspect_ratio)
    return VideoInfo(
        format=container.format.name.partition(",")[0],
        width=width,
        height=height,
        fps=float(stream.average_rate or stream.guessed_rate or 0),
        seconds=seconds,
        audio=bool(container.streams.audio),
        size=size,
    )


def _to_shown_size(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """The size in which a player shows a picture whose pixels are not square; ``aspect`` is their width to height."""
    if not aspect or aspect == 1 or not 1 / _MAX_ASPECT <= aspect <= _MAX_ASPECT:
        return width, height
    return (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))


def _encode_jpeg(found: FoundFrame, max_side: int | None, aspect: Fraction | None) -> JpegFrame:
    from PIL import Image

    frame = found.frame
    width, height = _to_shown_size(frame.width, frame.height, aspect)
    scale = min(1.0, max_side / max(width, height)) if max_side else 1.0
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    image = Image.fromarray(frame.reformat(*size, format="rgb24").to_ndarray())
    turn = int(getattr(frame, "rotation", 0) or 0) % 360
    if turn:
        image = image.rotate(turn, expand=True)
    out = BytesIO()
    image.save(out, "JPEG", quality=JPEG_QUALITY)
    return JpegFrame(found.at, out.getvalue(), *image.size, found.is_moved, found.is_stale)
