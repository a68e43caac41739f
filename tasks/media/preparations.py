"""What was done to recordings, images and videos before they were sent, and why, in plain words for ``explain``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mediamill.tasks.domain import JSON, Preparation
from mediamill.tasks.media.endpoint_fit import CutOptions, limit_whole_file
from mediamill.tasks.media.formats import find_send_format
from mediamill.tasks.wire import AudioLimits

if TYPE_CHECKING:
    from mediamill.tasks.domain import Payload
    from mediamill.tasks.media.audio_info import AudioInfo, PreparedAudio
    from mediamill.tasks.media.frames import JpegFrame, VideoInfo
    from mediamill.tasks.media.images.prepare import ImageLimits, PreparedImage

_SAMPLE_RATE = 16_000
_DAMAGE_WARNINGS = ("truncated:", "damaged:")
_UPRIGHT = 1
_RECIPE_REASONS = {
    "channel": "its channels lose their sound when they are mixed",
    "gaps": "holes in its timestamps are filled with silence",
    "joined": "its parts follow each other without the jump in their timestamps",
}


def describe_audio(
    prepared: PreparedAudio, size: int, limits: AudioLimits, model: str, channel: int | None = None
) -> Preparation:
    """How a recording was prepared to be sent whole.

    Args:
        prepared: the recording.
        size: of the file, in bytes.
        limits: what the endpoint accepts.
        model: its name.
        channel: the number of the channel that is sent alone; None for the mix.
    """
    source, info, before = prepared.input, prepared.info, _describe_recording(prepared.info, size)
    name = _name_recording(channel)
    if source.recipe == "as-is":
        return Preparation(name, before, changes=(f"sent as it is: {model} takes it",))
    changes = [f"re-encoded as {_format_recipe(source.recipe)}: {_find_reason(prepared, size, limits, model, channel)}"]
    if source.start:
        changes.append(f"silence cut off: what is sent begins at {source.start / _SAMPLE_RATE:.2f} s")
    after = {**_describe_payload(source.payload), "seconds": float(prepared.seconds)}
    changes += _describe_resampling(info, channel)
    return Preparation(name, before, after, (*_describe_tracks(info), *changes, *prepared.warnings))


def describe_pieces(
    clips: Sequence[PreparedAudio],
    size: int,
    limits: AudioLimits,
    cut_options: CutOptions,
    max_seconds: float,
    model: str,
) -> Preparation:
    """How a recording was cut into pieces, as far as the cutting came.

    Args:
        clips: the pieces, in order; their audio may be gone.
        size: of the file, in bytes.
        limits: what the endpoint accepts.
        cut_options: how it is cut.
        max_seconds: maximum length of a piece.
        model: its name.
    """
    last = clips[-1]
    info, whole_limits = last.info, limit_whole_file(limits, cut_options)
    if whole_limits.max_seconds is not None and float(info.seconds) > whole_limits.max_seconds:
        is_requested = (limits.max_seconds or math.inf) > whole_limits.max_seconds
        reason = "piece_seconds says so" if is_requested else f"{model} takes at most {limits.max_seconds:g} s at once"
    else:
        reason = f"{model} takes at most {limits.max_bytes:,} bytes at once"
    changes = [
        *_describe_tracks(info),
        f"cut in pauses into pieces of at most {max_seconds:g} s: {reason}",
        f"re-encoded as {_format_recipe(last.input.recipe)}, as every piece is",
    ]
    changes += _describe_resampling(info, cut_options.channel)
    if cut_options.overlap and len(clips) > 1:
        changes.append(f"neighbouring pieces share {cut_options.overlap:g} s, because overlap says so")
    after: dict[str, JSON] = {"pieces": len(clips)}
    name = _name_recording(cut_options.channel)
    return Preparation(name, _describe_recording(info, size), after, (*changes, *last.warnings))


def describe_image(
    name: str, prepared: PreparedImage, limits: ImageLimits, max_side: int | None, model: str
) -> Preparation:
    """How an image was prepared.

    Args:
        name: its source.
        prepared: the image.
        limits: what the endpoint accepts.
        max_side: maximum of its longer side in pixels.
        model: the model's name.
    """
    from mediamill.tasks.media.images.prepare import AS_IS_MODES

    info, payload = prepared.info, prepared.input.payload
    before: dict[str, JSON] = {
        "format": info.format,
        "width": info.width,
        "height": info.height,
        "bytes": info.size,
        "frames": info.frames if info.frames > 1 else None,
    }
    after = {**_describe_payload(payload), "width": prepared.width, "height": prepared.height}
    if prepared.input.recipe == "as-is":
        return Preparation(f"image {name}", _drop_empty(before), after, (f"sent as it is: {model} takes it",))
    changes = []
    if info.format not in limits.formats:
        changes.append(f"{info.format.upper()} converted to JPEG: {model} takes {', '.join(sorted(limits.formats))}")
    if info.orientation != _UPRIGHT:
        changes.append("turned upright, as its EXIF orientation says")
    if (prepared.width, prepared.height) != (info.width, info.height):
        reason = (
            f"{model} makes no use of more than {max_side:,} pixels a side"
            if max_side is not None and max(info.width, info.height) > max_side
            else f"{model} takes at most {limits.max_pixels:,} pixels"
            if limits.max_pixels is not None and info.width * info.height > limits.max_pixels
            else f"{model} takes at most {limits.max_bytes:,} bytes"
        )
        changes.append(f"resized to {prepared.width} x {prepared.height}: {reason}")
    if info.size > limits.max_bytes:
        changes.append(f"re-encoded: its {info.size:,} bytes are over the endpoint's {limits.max_bytes:,}")
    if info.mode not in AS_IS_MODES:
        changes.append(f"colours converted from {info.mode} to eight-bit RGB")
    if not changes:
        changes.append("re-encoded as JPEG: only one frame is sent")
    return Preparation(f"image {name}", _drop_empty(before), after, (*changes, *prepared.warnings))


def describe_whole_video(info: VideoInfo, model: str) -> Preparation:
    """A video that is sent as it is."""
    return Preparation("video", _describe_video(info), {"bytes": info.size}, (f"sent as it is: {model} takes videos",))


def describe_frames(
    info: VideoInfo, span: tuple[float, float], frames: Sequence[JpegFrame], max_side: int | None, model: str
) -> Preparation:
    """The frames that were taken from one window of a video.

    Args:
        info: the video.
        span: where the window begins and ends, in seconds.
        frames: in order.
        max_side: maximum of a frame's longer side in pixels.
        model: the model's name.
    """
    after: dict[str, JSON] = {"frames": len(frames), "bytes": sum(len(frame.data) for frame in frames)}
    times = ", ".join(f"{frame.at:.1f}" for frame in frames[:12]) + (" ..." if len(frames) > 12 else "")  # noqa: PLR2004
    changes = [f"frames taken at {times} s and sent as JPEG"]
    if frames:
        after |= {"width": frames[0].width, "height": frames[0].height}
        if max(frames[0].width, frames[0].height) < max(info.width, info.height) and max_side is not None:
            changes.append(f"resized: {model} makes no use of more than {max_side:,} pixels a side")
    return Preparation(f"video from {span[0]:.1f} to {span[1]:.1f} s", _describe_video(info), after, tuple(changes))


def _name_recording(channel: int | None) -> str:
    return "recording" if channel is None else f"channel {channel} of the recording"


def _find_reason(
    prepared: PreparedAudio, size: int, limits: AudioLimits, model: str, channel: int | None = None
) -> str:
    """Why the original was not sent as it is."""
    info, recipe = prepared.info, prepared.input.recipe
    effects = [name for name in ("normalize", "trim") if recipe.endswith(f"-{name}") or f"-{name}-" in recipe]
    if effects:
        return f"{' and '.join(effects)} {'say' if len(effects) > 1 else 'says'} so"
    if channel is not None:
        return "each channel is sent by itself"
    for part, reason in _RECIPE_REASONS.items():
        if part in recipe.split("-"):
            return reason
    if info.video:
        return "only the sound track is sent"
    if info.tracks > 1:
        return "only one track is sent"
    if find_send_format(info.container, info.codec, limits) is None:
        return f"{model} takes {', '.join(sorted(limits.formats))}, not {info.codec} in {info.container}"
    if size > limits.max_bytes:
        return f"its {size:,} bytes are over the endpoint's {limits.max_bytes:,}"
    if any(warning.startswith(_DAMAGE_WARNINGS) for warning in prepared.warnings):
        return "the file is damaged, and only what could be decoded is sent"
    return "its sample rate or number of channels is unusual"


def _describe_tracks(info: AudioInfo) -> tuple[str, ...]:
    which = f"number {info.track.number} of its {info.tracks} sound tracks" if info.tracks > 1 else "the sound track"
    source = "the video" if info.video else "the file"
    return (f"{which} was taken out of {source}",) if info.video or info.tracks > 1 else ()


def _describe_resampling(info: AudioInfo, channel: int | None) -> list[str]:
    resampled = [f"resampled from {info.sample_rate:,} Hz"] if info.sample_rate != _SAMPLE_RATE else []
    return resampled + ([f"mixed down from {info.channels} channels"] if info.channels > 1 and channel is None else [])


def _describe_recording(info: AudioInfo, size: int) -> dict[str, JSON]:
    return {
        "container": info.container,
        "codec": info.codec,
        "bytes": size,
        "seconds": float(info.seconds),
        "sample_rate": info.sample_rate,
        "channels": info.channels,
    }


def _describe_video(info: VideoInfo) -> dict[str, JSON]:
    return {
        "format": info.format,
        "bytes": info.size,
        "seconds": round(info.seconds, 3),
        "width": info.width,
        "height": info.height,
        "fps": round(info.fps, 3),
        "audio": info.audio,
    }


def _describe_payload(payload: Payload | None) -> dict[str, JSON]:
    return {} if payload is None else {"type": payload.mime, "bytes": payload.size}


def _format_recipe(recipe: str) -> str:
    """A recipe such as ``flac-16000-mono-trim`` in words."""
    file_format, rate, _, *effects = recipe.split("-")
    return " ".join([f"{rate} Hz mono {file_format.upper()}", *(f"({effect})" for effect in effects)])


def _drop_empty(facts: dict[str, JSON]) -> dict[str, JSON]:
    return {name: value for name, value in facts.items() if value is not None}
