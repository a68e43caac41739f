"""What a request for a video asks for: its fields, checked as the dialect's provider would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mediamill.tasks.local.endpoints.request_fields import (
    RATIOS,
    choice,
    flag,
    number,
    objects,
    shaped,
    sized,
    text,
    urls,
    whole,
    words,
)
from mediamill.tasks.local.media_generation.models import Makers, VideoModel
from mediamill.tasks.local.media_generation.specs import MOST_WORDS, Clip
from mediamill.tasks.local.server.api_error import Refusal

_ORDINARY_FPS = 24
_ORDINARY_SIZE = (640, 360)
_MOST_SECONDS, _MOST_FPS = 60, 60
_SHORT = {"360p": 360, "480p": 480, "540p": 540, "720p": 720, "768p": 768, "hd": 720, "1080p": 1080, "fhd": 1080}
_XAI_SHORT = ("480p", "720p", "1080p")
_XAI_SECONDS = (1, 15)
_KNOWN_MEDIA = ("frame_images", "frame_videos", "reference_images", "reference_videos", "source_video", "audio_inputs")


@dataclass(frozen=True, slots=True)
class AskedVideo:
    """A valid request."""

    model: str
    clip: Clip


def read_video(told: Any, wire: str, makers: Makers, *, strict: bool) -> AskedVideo:
    """Check a request.

    Args:
        told: its fields.
        wire: whose fields they are: together, openai or xai.
        makers: the known models.
        strict: others are refused.

    Raises:
        Refusal: naming the first field at fault.
    """
    if not isinstance(told, dict):
        raise Refusal("bad_value", "the body must be a JSON object")
    ordinary = next(iter(makers.videos), "any")
    model = words(told, "model") or (ordinary if wire == "openai" or not strict else text(told, "model"))
    known = makers.video(model) or (None if strict else VideoModel())
    if known is None:
        message = f"The model `{model}` does not exist or does not make videos."
        raise Refusal("unknown_model", message, param="model")
    read = {"together": _together, "openai": _openai, "xai": _xai}[wire]
    return AskedVideo(model, read(told, known, _prompt(told, known)))


def _prompt(told: Mapping[str, Any], known: VideoModel) -> str:
    prompt = (words(told, "prompt") or "") if known.optional else text(told, "prompt")
    least, most = known.prompt
    if prompt and not least <= len(prompt) <= most:
        message = f"prompt must have {least} to {most} characters, not {len(prompt)}"
        raise Refusal("bad_value", message, param="prompt")
    return prompt


def _together(told: Mapping[str, Any], known: VideoModel, prompt: str) -> Clip:
    width, height = _size(told, known)
    seconds = _seconds(told.get("seconds"), known, "seconds")
    fps = whole(told, "fps", 1, _MOST_FPS) or (known.fps or (_ORDINARY_FPS,))[0]
    if known.fps and fps not in known.fps:
        raise Refusal("bad_value", f"fps must be one of {_listed(known.fps)}", param="fps")
    whole(told, "steps", 10, 50)
    whole(told, "output_quality", 0, 100)
    number(told, "guidance_scale")
    words(told, "negative_prompt")
    flag(told, "generate_audio")
    _check_media(told, known)
    form = choice(told, "output_format", {"MP4", "WEBM"}, "MP4").lower()
    return Clip(prompt[:MOST_WORDS], whole(told, "seed") or 0, width, height, seconds, fps, form)


def _openai(told: Mapping[str, Any], known: VideoModel, prompt: str) -> Clip:
    seconds = _seconds(told.get("seconds"), known, "seconds")
    size = told.get("size")
    width, height = (known.sizes or (_ORDINARY_SIZE,))[0] if size is None else sized(size)
    _check_size(known, width, height)
    return Clip(prompt[:MOST_WORDS], 0, width, height, seconds, (known.fps or (_ORDINARY_FPS,))[0], "mp4")


def _xai(told: Mapping[str, Any], known: VideoModel, prompt: str) -> Clip:
    seconds = whole(told, "duration", *_XAI_SECONDS) or (known.seconds or (6,))[0]
    ratio = choice(told, "aspect_ratio", RATIOS, "16:9")
    short = _SHORT[choice(told, "resolution", _XAI_SHORT, "480p")]
    for name in ("image", "last_frame"):
        if told.get(name) is not None:
            _check_address(told[name], name)
    for one in objects(told, "reference_images"):
        _check_address(one, "reference_images")
    flag(told, "generate_audio")
    width, height = shaped(short, ratio, "aspect_ratio")
    return Clip(prompt[:MOST_WORDS], 0, width, height, seconds, (known.fps or (_ORDINARY_FPS,))[0], "mp4")


def _size(told: Mapping[str, Any], known: VideoModel) -> tuple[int, int]:
    width, height = whole(told, "width", 16, 4096), whole(told, "height", 16, 4096)
    if (width is None) != (height is None):
        missing = "width" if width is None else "height"
        raise Refusal("missing_field", f"width and height go together; {missing} is missing", param=missing)
    named = words(told, "resolution")
    if width is not None and height is not None:
        size = (width, height)
    elif named is not None:
        short = _SHORT[choice({"resolution": named.lower()}, "resolution", _SHORT, "720p")]
        size = shaped(short, words(told, "ratio") or "16:9", "ratio")
    else:
        size = (known.sizes or (_ORDINARY_SIZE,))[0]
    _check_size(known, *size)
    return size


def _check_size(known: VideoModel, width: int, height: int) -> None:
    if known.sizes and (width, height) not in known.sizes:
        allowed = ", ".join(f"{wide}x{high}" for wide, high in known.sizes)
        raise Refusal("bad_value", f"{width}x{height} is not supported; it must be one of {allowed}", param="size")


def _seconds(value: Any, known: VideoModel, name: str) -> int:
    """Whole seconds, told as a text or a number."""
    if value is None:
        return (known.seconds or (5,))[0]
    told = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    seconds = int(told) if told.isascii() and told.isdecimal() and len(told) < 4 else 0  # noqa: PLR2004
    if known.seconds and seconds not in known.seconds:
        raise Refusal("bad_value", f"{name} must be one of {_listed(known.seconds)}", param=name)
    if not 0 < seconds <= _MOST_SECONDS:
        raise Refusal("bad_value", f"{name} must be between 1 and {_MOST_SECONDS}", param=name)
    return seconds


def _check_media(told: Mapping[str, Any], known: VideoModel) -> None:
    media = told.get("media")
    if media is None:
        media = {}
    if not isinstance(media, dict) or media.keys() - set(_KNOWN_MEDIA):
        raise Refusal("bad_value", f"media must be an object of {', '.join(_KNOWN_MEDIA)}", param="media")
    urls(told, "reference_images")
    urls(media, "reference_images")
    frames = [*objects(told, "frame_images"), *objects(media, "frame_images")]
    if known.frames is not None and len(frames) > known.frames:
        message = f"this model takes {known.frames} frame_images, not {len(frames)}"
        raise Refusal("bad_value", message, param="frame_images")
    for one in frames:
        text(one, "input_image")
        frame = one.get("frame")
        if isinstance(frame, bool) or not (frame is None or isinstance(frame, int) or frame in ("first", "last")):
            raise Refusal("bad_value", "frame must be a number, first or last", param="frame_images")


def _check_address(value: Any, name: str) -> None:
    if not isinstance(value, dict) or not isinstance(value.get("url"), str) or not value["url"]:
        raise Refusal("bad_value", f"{name} must be an object with a url", param=name)


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))
