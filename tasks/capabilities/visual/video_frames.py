"""How a video is sent to a model: the whole file, or frames from windows of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from mediamill.tasks.capabilities.base import CapabilityContext, Media, prefix_bad_input
from mediamill.tasks.domain import Item
from mediamill.tasks.errors import BadInput
from mediamill.tasks.providers.operations.vision import Detail, Vision

if TYPE_CHECKING:
    from mediamill.tasks.media.frames import JpegFrame, VideoInfo

_DECODING_BYTES = 96 * 2**20
"""Memory to reserve while a video is decoded: a few of its frames."""


class FrameChoice(Protocol):
    """The parameters that decide what is sent.

    Attributes:
        frames: number of frames in each window.
        every: seconds between frames, instead of ``frames``.
        scenes: frames are taken where the image changes most.
        window: maximum length of a window in seconds.
        detail: how large the frames are.
        whole: the video itself is sent; None sends it when the model takes it.
    """

    @property
    def frames(self) -> int: ...  # noqa: D102
    @property
    def every(self) -> float | None: ...  # noqa: D102
    @property
    def scenes(self) -> bool: ...  # noqa: D102
    @property
    def window(self) -> float: ...  # noqa: D102
    @property
    def detail(self) -> Detail: ...  # noqa: D102
    @property
    def whole(self) -> bool | None: ...  # noqa: D102


async def load_video_info(item: Item, media: Media, context: CapabilityContext) -> VideoInfo:
    """Read what a video is from its headers and its first frame.

    Raises:
        BadInput: as :func:`mediamill.tasks.media.frames.read_video_info`, naming the item's source.
    """
    from mediamill.tasks.media.frames import read_video_info

    async with context.reserve_memory(_DECODING_BYTES):
        with prefix_bad_input(item):
            return await context.run_in_thread(read_video_info, media.path)


async def take_frames(
    item: Item, media: Media, choice: FrameChoice, vision: Vision, span: tuple[float, float], context: CapabilityContext
) -> tuple[list[JpegFrame], int]:
    """Take the frames of one window, in the size that the model takes.

    Args:
        item: the item the video belongs to.
        media: the video.
        choice: which frames.
        vision: what the model takes.
        span: where the window begins and ends, in seconds.
        context: threads and memory.

    Returns:
        The frames, and how many were chosen. A moment that nothing can be decoded for has none, where others have one.

    Raises:
        BadInput: ``too_many_pictures`` when one prompt cannot have so many; otherwise as
            :func:`mediamill.tasks.media.frames.extract_frames`.
    """
    from mediamill.tasks.media.frames import extract_frames, find_scene_times

    async with context.reserve_memory(_DECODING_BYTES):
        with prefix_bad_input(item):
            times = choose_frame_times(choice, span)
            if choice.scenes:
                times = await context.run_in_thread(
                    find_scene_times, media.path, *span, choice.frames, context.raise_if_stopped
                )
            _check_frame_count(times, vision)
            frames = await context.run_in_thread(
                extract_frames, media.path, times, vision.max_side(choice.detail), context.raise_if_stopped
            )
            shown = [frame for frame in frames if not frame.is_stale]
            return shown or frames[:1], len(times)


def find_missing_frames(frames: Sequence[JpegFrame], n_chosen: int) -> list[str]:
    """The warning that fewer frames than chosen show their moment; empty where all do."""
    n_shown = sum(not frame.is_stale for frame in frames)
    if n_shown >= n_chosen:
        return []
    return [f"frames: {n_shown} of {n_chosen} could be decoded, so the description misses parts of the video"]


def is_sent_whole(choice: FrameChoice, vision: Vision, info: VideoInfo) -> bool:
    """True when the video itself is sent.

    Raises:
        BadInput: ``too_large`` when the parameters ask for it and the model does not take it.
    """
    fits = info.size <= min(vision.max_bytes, vision.max_request * 3 // 4)
    if choice.whole and not (vision.video and fits):
        reason = (
            f"the video has {info.size} bytes, more than the endpoint takes" if vision.video else "it takes no videos"
        )
        raise BadInput(f"it cannot be sent whole: {reason}", kind="too_large", hint="leave --whole out to send frames")
    return vision.video and fits if choice.whole is None else choice.whole


def split_into_windows(choice: FrameChoice, info: VideoInfo) -> list[tuple[float, float]]:
    """Windows of equal length, as (start, end) in seconds on the file's clock, none longer than ``choice.window``."""
    seconds = max(info.seconds, 1 / (info.fps or 25))
    count = max(1, -(-int(seconds * 1000) // int(choice.window * 1000)))
    return [(info.start + n * seconds / count, info.start + (n + 1) * seconds / count) for n in range(count)]


def choose_frame_times(choice: FrameChoice, span: tuple[float, float]) -> list[float]:
    """When to take a window's frames, in seconds, unless scene changes decide."""
    from mediamill.tasks.media.frames import spread_times

    return spread_times(*span, frames=choice.frames, every=choice.every)


def estimate_frame_tokens(choice: FrameChoice, vision: Vision, info: VideoInfo) -> tuple[int, int]:
    """Tokens of one frame: likely, and at most."""
    scale = min(1.0, (vision.max_side(choice.detail) or 10**6) / max(info.width, info.height))
    return vision.estimate_tokens(round(info.width * scale) or 1, round(info.height * scale) or 1, choice.detail)


def _check_frame_count(times: Sequence[float], vision: Vision) -> None:
    if len(times) > vision.max_pictures:
        raise BadInput(
            f"{len(times)} frames in one prompt, the model takes {vision.max_pictures}",
            kind="too_many_pictures",
            hint="lower --frames, or --set window to less",
        )
