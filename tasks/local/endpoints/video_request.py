"""Video requests: their fields, checked as the dialect's provider checks them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mediamill.tasks.local.billing.price_list import VideoSize
from mediamill.tasks.local.endpoints.media_request import (
    RATIOS,
    check_boolean,
    check_number,
    compute_size,
    read_choice,
    read_object_list,
    read_optional_integer,
    read_optional_text,
    read_required_text,
    read_url_list,
)
from mediamill.tasks.local.media_generation.generation_state import GenerationModels, ServedVideoModel
from mediamill.tasks.local.media_generation.specs import MAX_PROMPT_CHARS, VideoSpec, parse_size
from mediamill.tasks.local.server.api_error import ApiError

_DEFAULT_FPS = 24
_DEFAULT_SIZE = (640, 360)
_MAX_SECONDS, _MAX_FPS = 60, 60
_MAX_PIXELS = 4_000_000_000
"""Of all frames together: a minute at 1920 x 1080 and 30 frames a second."""
_SHORT_SIDES = {"360p": 360, "480p": 480, "540p": 540, "720p": 720, "768p": 768, "hd": 720, "1080p": 1080, "fhd": 1080}
_XAI_RESOLUTIONS = ("480p", "720p", "1080p")
_XAI_SECONDS = (1, 15)
_TOGETHER_SECONDS, _TOGETHER_FPS = range(1, 11), range(15, 61)
"""What Together's table of parameters gives for all models; its table of models lists fewer (provider docs)."""

_MEDIA_FIELDS = ("frame_images", "frame_videos", "reference_images", "reference_videos", "source_video", "audio_inputs")


@dataclass(frozen=True, slots=True)
class VideoRequest:
    """A valid request; ``input_images`` are the keyframes and references that it sends."""

    model: str
    spec: VideoSpec
    input_images: int = 0

    @property
    def size(self) -> VideoSize:
        """What its price depends on."""
        return VideoSize(self.spec.seconds, min(self.spec.width, self.spec.height), self.input_images)


def read_video_request(fields: Any, wire: str, models: GenerationModels, *, strict: bool) -> VideoRequest:
    """Check a request.

    Args:
        fields: the request's fields.
        wire: the wire format: together, openai or xai.
        models: the known models.
        strict: whether unknown models are refused.

    Raises:
        ApiError: for the first invalid field, which it names.
    """
    if not isinstance(fields, dict):
        raise ApiError("bad_value", "the body must be a JSON object")
    default_model = next(iter(models.videos), "any")
    model = read_optional_text(fields, "model") or (
        default_model if wire == "openai" or not strict else read_required_text(fields, "model")
    )
    served_model = models.find_video_model(model) or (None if strict else ServedVideoModel())
    if served_model is None:
        message = f"The model `{model}` does not exist or does not make videos."
        raise ApiError("unknown_model", message, param="model")
    read_fields = {"together": _read_together_video, "openai": _read_openai_video, "xai": _read_xai_video}[wire]
    spec = read_fields(fields, served_model, _read_video_prompt(fields, served_model))
    if spec.width * spec.height * spec.fps * spec.seconds > _MAX_PIXELS:
        message = f"the built-in engine renders at most {_MAX_PIXELS} pixels in all frames together"
        raise ApiError("bad_value", message, param="seconds")
    return VideoRequest(model, spec, _count_input_images(fields))


def _read_video_prompt(fields: Mapping[str, Any], served_model: ServedVideoModel) -> str:
    prompt = (
        (read_optional_text(fields, "prompt") or "") if served_model.optional else read_required_text(fields, "prompt")
    )
    minimum, maximum = served_model.prompt
    if prompt and not minimum <= len(prompt) <= maximum:
        message = f"prompt must have {minimum} to {maximum} characters, not {len(prompt)}"
        raise ApiError("bad_value", message, param="prompt")
    return prompt


def _read_together_video(fields: Mapping[str, Any], served_model: ServedVideoModel, prompt: str) -> VideoSpec:
    width, height = _read_video_size(fields, served_model)
    seconds = _read_seconds(fields.get("seconds"), served_model, "seconds", _TOGETHER_SECONDS)
    fps = read_optional_integer(fields, "fps", 1, _MAX_FPS) or (served_model.fps or (_DEFAULT_FPS,))[0]
    if served_model.fps and fps not in served_model.fps and fps not in _TOGETHER_FPS:
        raise ApiError("bad_value", f"fps must be one of {_join_numbers(served_model.fps)}", param="fps")
    read_optional_integer(fields, "steps", 10)
    read_optional_integer(fields, "output_quality", 0, 100)
    check_number(fields, "guidance_scale")
    read_optional_text(fields, "negative_prompt")
    check_boolean(fields, "generate_audio")
    _check_media(fields, served_model)
    video_format = read_choice(fields, "output_format", {"MP4", "WEBM"}, "MP4").lower()
    return VideoSpec(
        prompt[:MAX_PROMPT_CHARS], read_optional_integer(fields, "seed") or 0, width, height, seconds, fps, video_format
    )


def _read_openai_video(fields: Mapping[str, Any], served_model: ServedVideoModel, prompt: str) -> VideoSpec:
    seconds = _read_seconds(fields.get("seconds"), served_model, "seconds")
    size = fields.get("size")
    width, height = (served_model.sizes or (_DEFAULT_SIZE,))[0] if size is None else parse_size(size)
    _check_video_size(served_model, width, height)
    return VideoSpec(
        prompt[:MAX_PROMPT_CHARS], 0, width, height, seconds, (served_model.fps or (_DEFAULT_FPS,))[0], "mp4"
    )


def _read_xai_video(fields: Mapping[str, Any], served_model: ServedVideoModel, prompt: str) -> VideoSpec:
    seconds = read_optional_integer(fields, "duration", *_XAI_SECONDS) or (served_model.seconds or (6,))[0]
    ratio = read_choice(fields, "aspect_ratio", RATIOS, "16:9")
    short = _SHORT_SIDES[read_choice(fields, "resolution", _XAI_RESOLUTIONS, "480p")]
    for name in ("image", "last_frame"):
        if fields.get(name) is not None:
            _check_url_object(fields[name], name)
    for one in read_object_list(fields, "reference_images"):
        _check_url_object(one, "reference_images")
    check_boolean(fields, "generate_audio")
    width, height = compute_size(short, ratio, "aspect_ratio")
    return VideoSpec(
        prompt[:MAX_PROMPT_CHARS], 0, width, height, seconds, (served_model.fps or (_DEFAULT_FPS,))[0], "mp4"
    )


def _read_video_size(fields: Mapping[str, Any], served_model: ServedVideoModel) -> tuple[int, int]:
    width, height = read_optional_integer(fields, "width", 16, 4096), read_optional_integer(fields, "height", 16, 4096)
    if (width is None) != (height is None):
        missing = "width" if width is None else "height"
        raise ApiError("missing_field", f"width and height go together; {missing} is missing", param=missing)
    resolution = read_optional_text(fields, "resolution")
    if width is not None and height is not None:
        size = (width, height)
    elif resolution is not None:
        short = _SHORT_SIDES[read_choice({"resolution": resolution.lower()}, "resolution", _SHORT_SIDES, "720p")]
        size = compute_size(short, read_optional_text(fields, "ratio") or "16:9", "ratio")
    else:
        size = (served_model.sizes or (_DEFAULT_SIZE,))[0]
    _check_video_size(served_model, *size)
    return size


def _check_video_size(served_model: ServedVideoModel, width: int, height: int) -> None:
    if served_model.sizes and (width, height) not in served_model.sizes:
        allowed = ", ".join(f"{wide}x{high}" for wide, high in served_model.sizes)
        raise ApiError("bad_value", f"{width}x{height} is not supported; it must be one of {allowed}", param="size")


def _read_seconds(value: Any, served_model: ServedVideoModel, name: str, documented: Sequence[int] = ()) -> int:
    """Whole seconds, given as a text or a number; those ``documented`` for all models are accepted, too."""
    if value is None:
        return (served_model.seconds or (5,))[0]
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    seconds = int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else 0  # noqa: PLR2004
    if served_model.seconds and seconds not in served_model.seconds and seconds not in documented:
        raise ApiError("bad_value", f"{name} must be one of {_join_numbers(served_model.seconds)}", param=name)
    if not 0 < seconds <= _MAX_SECONDS:
        raise ApiError("bad_value", f"{name} must be between 1 and {_MAX_SECONDS}", param=name)
    return seconds


def _check_media(fields: Mapping[str, Any], served_model: ServedVideoModel) -> None:
    media = fields.get("media")
    if media is None:
        media = {}
    if not isinstance(media, dict) or media.keys() - set(_MEDIA_FIELDS):
        raise ApiError("bad_value", f"media must be an object of {', '.join(_MEDIA_FIELDS)}", param="media")
    read_url_list(fields, "reference_images")
    read_url_list(media, "reference_images")
    frames = [*read_object_list(fields, "frame_images"), *read_object_list(media, "frame_images")]
    if served_model.frames is not None and len(frames) > served_model.frames:
        message = f"this model takes {served_model.frames} frame_images, not {len(frames)}"
        raise ApiError("bad_value", message, param="frame_images")
    for one in frames:
        read_required_text(one, "input_image")
        frame = one.get("frame")
        if isinstance(frame, bool) or not (frame is None or isinstance(frame, int) or frame in ("first", "last")):
            raise ApiError("bad_value", "frame must be a number, first or last", param="frame_images")


def _count_input_images(fields: Mapping[str, Any]) -> int:
    media = fields.get("media")
    lists = [
        holder.get(name)
        for holder in (fields, media if isinstance(media, dict) else {})
        for name in ("frame_images", "reference_images", "keyframes")
    ]
    singles = [fields.get(name) for name in ("image", "last_frame", "input_reference")]
    return sum(len(one) for one in lists if isinstance(one, list)) + sum(one is not None for one in singles)


def _check_url_object(value: Any, name: str) -> None:
    if not isinstance(value, dict) or not isinstance(value.get("url"), str) or not value["url"]:
        raise ApiError("bad_value", f"{name} must be an object with a url", param=name)


def _join_numbers(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))
