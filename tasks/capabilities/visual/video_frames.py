"""What of a video a model is shown: the whole of it, or frames of it in windows of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from mediamill.tasks.capabilities.base import CapabilityContext, Media
from mediamill.tasks.domain import Item
from mediamill.tasks.errors import BadInput
from mediamill.tasks.providers.operations.vision import Detail, Vision

if TYPE_CHECKING:
    from mediamill.tasks.media.frames import JpegFrame, VideoInfo

_DECODING_BYTES = 96 * 2**20
"""Bytes held while a video is decoded: a few of its frames."""


class FrameChoice(Protocol):
    """The parameters that say what is shown.

    Attributes:
        frames: frames of each window.
        every: seconds between frames, instead of ``frames``.
        scenes: frames are taken where the picture changes most.
        window: longest window in seconds.
        detail: how large frames are.
        whole: the video itself is sent; None where it is when it can be.
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
    """What the video is, from its headers and its first frame.

    Raises:
        BadInput: as :func:`mediamill.tasks.media.frames.read_video_info`, naming the item's source.
    """
    from mediamill.tasks.media.frames import read_video_info

    async with context.reserve_memory(_DECODING_BYTES):
        try:
            return await context.run_in_thread(read_video_info, media.path)
        except BadInput as error:
            error.message = f"{item.source}: {error.message}"
            raise


async def take_frames(
    item: Item, media: Media, choice: FrameChoice, vision: Vision, span: tuple[float, float], context: CapabilityContext
) -> list[JpegFrame]:
    """The frames of one window, as the model takes them.

    Args:
        item: whose video it is.
        media: the video.
        choice: which frames.
        vision: what the model takes.
        span: where the window begins and ends, in seconds.
        context: threads and bounded memory.

    Raises:
        BadInput: ``too_many_pictures`` when one prompt cannot hold them; as
            :func:`mediamill.tasks.media.frames.extract_frames` otherwise.
    """
    from mediamill.tasks.media.frames import extract_frames, find_scene_times

    async with context.reserve_memory(_DECODING_BYTES):
        try:
            wanted = choose_frame_times(choice, span)
            if choice.scenes:
                wanted = await context.run_in_thread(
                    find_scene_times, media.path, *span, choice.frames, context.raise_if_stopped
                )
            _check_frame_count(wanted, vision)
            return await context.run_in_thread(
                extract_frames, media.path, wanted, vision.max_side(choice.detail), context.raise_if_stopped
            )
        except BadInput as error:
            error.message = f"{item.source}: {error.message}"
            raise


def is_sent_whole(choice: FrameChoice, vision: Vision, info: VideoInfo) -> bool:
    """Whether the video itself is sent.

    Raises:
        BadInput: ``too_large`` when it should be and cannot.
    """
    fits = info.size <= min(vision.max_bytes, vision.max_request * 3 // 4)
    if choice.whole and not (vision.video and fits):
        why = f"the video has {info.size} bytes, more than the endpoint takes" if vision.video else "it takes no videos"
        raise BadInput(f"it cannot be sent whole: {why}", kind="too_large", hint="leave whole out: frames are shown")
    return vision.video and fits if choice.whole is None else choice.whole


def split_into_windows(choice: FrameChoice, info: VideoInfo) -> list[tuple[float, float]]:
    """Windows of equal length in seconds, none longer than wanted."""
    seconds = max(info.seconds, 1 / (info.fps or 25))
    count = max(1, -(-int(seconds * 1000) // int(choice.window * 1000)))
    return [(n * seconds / count, (n + 1) * seconds / count) for n in range(count)]


def choose_frame_times(choice: FrameChoice, span: tuple[float, float]) -> list[float]:
    """When frames of a window are taken, in seconds, where scene changes do not decide."""
    from mediamill.tasks.media.frames import spread_times

    return spread_times(*span, frames=choice.frames, every=choice.every)


def estimate_frame_tokens(choice: FrameChoice, vision: Vision, info: VideoInfo) -> tuple[int, int]:
    """Tokens that one frame is likely to take, and the most."""
    scale = min(1.0, (vision.max_side(choice.detail) or 10**6) / max(info.width, info.height))
    return vision.estimate_tokens(round(info.width * scale) or 1, round(info.height * scale) or 1, choice.detail)


def _check_frame_count(wanted: Sequence[float], vision: Vision) -> None:
    if len(wanted) > vision.max_pictures:
        raise BadInput(
            f"{len(wanted)} frames in one prompt, the model takes {vision.max_pictures}",
            kind="too_many_pictures",
            hint="lower --frames, or --set window to less",
        )
