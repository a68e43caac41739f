"""The parameters of generate-video, checked against what the model can do before anything is paid."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from mediamill.tasks.capabilities.parameters import NamesFiles, Option, Template, parse_list
from mediamill.tasks.capabilities.text.prompts import check_template
from mediamill.tasks.domain import JSON
from mediamill.tasks.errors import BadInput
from mediamill.tasks.providers.operations.videos import DocumentedRange, VideoConfig, VideoModel, count_pixels

_SIZE_PATTERN = re.compile(r"[1-9]\d{1,3}x[1-9]\d{1,3}")
_NO_GIF = (
    "is mp4 or webm: Together's guide names MP4 and GIF, its API specification MP4 and WEBM alone, "
    "and no other provider generates GIF"
)
_DEFAULT_FRAMES: Mapping[int, tuple[Literal["first", "last"], ...]] = {1: ("first",), 2: ("first", "last")}


class Keyframe(BaseModel):
    """An image that is one frame of a video."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str = Field(min_length=1, description="path or URL of the image")
    frame: int | Literal["first", "last"] | None = Field(
        None, description="its position: first, last, or a frame's number"
    )


class GenerateVideoParams(BaseModel):
    """Parameters of video generation. What is unset is not sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: Annotated[str | None, Template()] = Field(
        None,
        min_length=1,
        max_length=32_000,
        description="the prompt, a template: {{ column }} becomes the row's value",
    )
    model: Annotated[str | None, Option(offered=False)] = Field(
        None, min_length=1, description="another model of the provider, for a single row"
    )
    size: str | None = Field(None, description="width and height in pixels, e.g. 1280x720")
    width: int | None = Field(None, ge=16, le=8192, description="width in pixels; needs height")
    height: int | None = Field(None, ge=16, le=8192, description="height in pixels; needs width")
    resolution: str | None = Field(None, description="resolution by name, e.g. 720p, for models that use names")
    aspect_ratio: str | None = Field(None, pattern=r"^\d{1,2}:\d{1,2}$", description="aspect ratio, e.g. 16:9")
    seconds: int | None = Field(None, ge=1, le=60, description="length of the video in seconds")
    fps: int | None = Field(None, ge=1, le=120, description="frames per second")
    steps: int | None = Field(None, ge=1, le=200, description="denoising steps; more are better, slower and dearer")
    seed: int | None = Field(
        None, ge=0, lt=2**63, description="random seed, for repeatable videos where the model supports it"
    )
    guidance_scale: float | None = Field(
        None, ge=0, le=100, allow_inf_nan=False, description="guidance scale: how closely to follow the prompt"
    )
    negative_prompt: Annotated[str | None, Template()] = Field(
        None, max_length=32_000, description="negative prompt: what to leave out of the video"
    )
    output_format: Literal["mp4", "webm"] | None = Field(None, description="container of the file: mp4 or webm")
    output_quality: int | None = Field(None, ge=0, le=100, description="encoder quality of the file; lower is better")
    generate_audio: bool | None = Field(None, description="with audio, where the model generates it")
    keyframes: Annotated[list[Keyframe] | None, NamesFiles("image", urls=True)] = Field(
        None, max_length=20, description="images as frames: one becomes the first, two become the first and the last"
    )
    reference_images: Annotated[list[str] | None, NamesFiles(urls=True)] = Field(
        None, max_length=20, description="reference images that show how things look: paths or URLs"
    )
    preview: bool = Field(
        default=False,
        description="generate the cheapest version first: smallest, shortest, fewest steps; see retry --promote",
    )

    _check_templates = field_validator("prompt", "negative_prompt")(check_template)

    @field_validator("keyframes", mode="before", json_schema_input_type=list[Keyframe | str] | str | None)
    @classmethod
    def _parse_keyframes(cls, value: Any) -> Any:
        values = parse_list(value)
        if not isinstance(values, list):
            return values
        return [{"image": value} if isinstance(value, str) else value for value in values]

    @field_validator("reference_images", mode="before", json_schema_input_type=list[str] | str | None)
    @classmethod
    def _parse_reference_images(cls, value: Any) -> Any:
        return parse_list(value)

    @field_validator("size")
    @classmethod
    def _check_size(cls, value: str | None) -> str | None:
        if value is not None and not _SIZE_PATTERN.fullmatch(value):
            raise ValueError(f"{value!r} is no size; write it as 1280x720")
        return value

    @field_validator("output_format", mode="before")
    @classmethod
    def _lowercase_format(cls, value: Any, _: ValidationInfo) -> Any:
        value = value.lower() if isinstance(value, str) else value
        if value == "gif":
            raise ValueError(_NO_GIF)
        return value

    @model_validator(mode="after")
    def _check_dimensions(self) -> GenerateVideoParams:
        if (self.width is None) != (self.height is None):
            raise ValueError("width and height go together")
        if self.size is not None and self.width is not None:
            raise ValueError("a size is given twice: as size, and as width and height")
        return self


_COPIED_FIELDS = (
    *("resolution", "aspect_ratio", "seconds", "fps", "steps", "seed", "guidance_scale", "negative_prompt"),
    *("output_format", "output_quality", "generate_audio"),
)


def build_request_params(
    params: GenerateVideoParams, prompt: str, video_model: VideoModel, config: VideoConfig, model: str
) -> dict[str, JSON]:
    """The request's fields, by their provider-neutral names; for a preview the cheapest values.

    Raises:
        BadInput: naming the field, and what the model takes.
    """
    size = params.size or (f"{params.width}x{params.height}" if params.width is not None else None)
    requested: dict[str, JSON] = {"size": size, **{name: getattr(params, name) for name in _COPIED_FIELDS}}
    if params.preview:
        requested |= _find_cheapest(video_model, config)
    fields: dict[str, JSON] = {name: value for name, value in requested.items() if value is not None}
    for name in fields:
        if name not in config.takes:
            raise _to_bad_input(f"{model} takes no {name}", f"leave {name} out")
    for name, allowed in _list_allowed(video_model).items():
        _check_allowed(model, name, fields.get(name), allowed, config.documented.get(name))
    _check_steps(model, fields.get("steps"), video_model, config)
    frames = place_keyframes(params, video_model, config, model)
    if frames:
        fields["frames"] = list(frames)
    if params.reference_images and (video_model.references is False or "reference_images" not in config.takes):
        raise _to_bad_input(f"{model} takes no reference_images", "leave them out, or choose another model")
    _check_prompt_length(prompt, video_model, model, has_keyframes=bool(frames))
    if prompt:
        fields["prompt"] = prompt
    return fields


def place_keyframes(
    params: GenerateVideoParams, video_model: VideoModel, config: VideoConfig, model: str
) -> Sequence[int | Literal["first", "last"]]:
    """The keyframes' positions; for one or two keyframes without a position it follows from their number.

    Raises:
        BadInput: when a position is missing, or the model takes no keyframe there.
    """
    frames = params.keyframes or []
    if not frames:
        return ()
    if "keyframes" not in config.takes:
        raise _to_bad_input(f"{model} takes no keyframes", "leave them out, or choose another model")
    defaults = _DEFAULT_FRAMES.get(len(frames))
    positions: list[int | Literal["first", "last"]] = []
    for number, frame in enumerate(frames):
        position = frame.frame if frame.frame is not None else defaults[number] if defaults else None
        if position is None:
            raise _to_bad_input(
                "with more than two keyframes, each needs its frame", "write {image: ..., frame: 48} for each"
            )
        positions.append("first" if position == 0 else position)
    allowed = video_model.keyframes
    if allowed is not None and (
        len(positions) > len(allowed) or any(position not in allowed for position in positions)
    ):
        takes = " and ".join(allowed) or "none"
        raise _to_bad_input(
            f"{model} takes keyframes at {takes}, not at {', '.join(map(str, positions))}", "change the keyframes"
        )
    return positions


def _find_cheapest(video_model: VideoModel, config: VideoConfig) -> dict[str, JSON]:
    """The smallest, shortest and roughest version, of the fields that the model takes."""
    lowest_resolution = min(
        video_model.resolutions, key=lambda name: int("".join(filter(str.isdigit, name)) or 0), default=None
    )
    cheapest: dict[str, JSON] = {
        "size": video_model.smallest_size(),
        "seconds": min(video_model.seconds, default=None),
        "steps": video_model.steps[0] if video_model.steps else None,
        "resolution": lowest_resolution,
    }
    return {name: value for name, value in cheapest.items() if value is not None and name in config.takes}


def _check_prompt_length(prompt: str, video_model: VideoModel, model: str, *, has_keyframes: bool) -> None:
    min_characters, max_characters = video_model.prompt
    if not prompt and video_model.prompt_optional and has_keyframes:
        return
    if not min_characters <= len(prompt) <= max_characters:
        raise _to_bad_input(
            f"{model} takes prompts of {min_characters} to {max_characters} characters, not {len(prompt)}",
            "change the prompt",
        )


def find_documented_warnings(
    fields: Mapping[str, JSON], video_model: VideoModel, config: VideoConfig, model: str
) -> list[str]:
    """A warning for each field that the provider's documents disagree about or advise against."""
    warnings = []
    allowed = _list_allowed(video_model)
    for name, documented in config.documented.items():
        value = fields.get(name)
        if not isinstance(value, int | float):
            continue
        listed = allowed.get(name)
        if listed:
            if value not in listed:
                values = ", ".join(map(str, listed))
                warnings.append(f"{name} {value:g}: {model} is listed with {values}, but {documented.says}")
        elif not _is_documented(value, documented) or (
            documented.warn_above is not None and value > documented.warn_above
        ):
            warnings.append(f"{name} {value:g}: {documented.says}")
    return warnings


def _list_allowed(video_model: VideoModel) -> dict[str, Sequence[Any]]:
    """The values listed for the model by field; empty where none are."""
    return {
        "size": video_model.sizes,
        "seconds": video_model.seconds,
        "fps": video_model.fps,
        "resolution": video_model.resolutions,
        "aspect_ratio": video_model.ratios,
    }


def _check_allowed(
    model: str, name: str, value: Any, allowed: Sequence[Any], documented: DocumentedRange | None
) -> None:
    """Refuse what no document of the provider allows."""
    if value is None or not allowed or value in allowed:
        return
    if documented is not None and _is_documented(value, documented):
        return
    sorted_values = sorted(allowed, key=count_pixels) if name == "size" else allowed
    takes = f"{model} takes {name} {', '.join(map(str, sorted_values))}, not {value}"
    raise _to_bad_input(takes + (f"; {documented.says}" if documented else ""), f"change {name}")


def _check_steps(model: str, steps: JSON, video_model: VideoModel, config: VideoConfig) -> None:
    if not isinstance(steps, int) or video_model.steps is None:
        return
    minimum, maximum = video_model.steps
    documented = config.documented.get("steps")
    if minimum <= steps <= maximum or (documented is not None and _is_documented(steps, documented)):
        return
    raise _to_bad_input(f"{model} takes {minimum} to {maximum} steps, not {steps}", "change steps")


def _is_documented(value: float, documented: DocumentedRange) -> bool:
    """True for a value in the range that the documents give for all models."""
    minimum, maximum = documented.minimum, documented.maximum
    return (minimum is None or value >= minimum) and (maximum is None or value <= maximum)


def _to_bad_input(message: str, hint: str) -> BadInput:
    return BadInput(message, kind="bad_request", hint=hint)
