"""What a video is asked to be, held against what the model makes, before anything is paid."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from mediamill.tasks.capabilities.parameters import Option, parse_list
from mediamill.tasks.capabilities.text.prompts import checked_template
from mediamill.tasks.domain import JSON
from mediamill.tasks.errors import BadInput
from mediamill.tasks.providers.operations.videos import VideoConfig, VideoModel, pixels

_SIZE = re.compile(r"[1-9]\d{1,3}x[1-9]\d{1,3}")
_PLACES: Mapping[int, tuple[Literal["first", "last"], ...]] = {1: ("first",), 2: ("first", "last")}


class Keyframe(BaseModel):
    """A picture that stands at one place of a video."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str = Field(min_length=1, description="path or URL of the picture")
    frame: int | Literal["first", "last"] | None = Field(
        None, description="its place: first, last, or a frame's number"
    )


class GenerateVideoParams(BaseModel):
    """What can be asked of a video. What is unset is not sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str | None = Field(
        None, min_length=1, max_length=32_000, description="what is shown; {{ column }} stands for the row's value"
    )
    model: Annotated[str | None, Option(offered=False)] = Field(
        None, min_length=1, description="another model of the provider, for a row of its own"
    )
    size: str | None = Field(None, description="width and height in pixels, e.g. 1280x720")
    width: int | None = Field(None, ge=16, le=8192, description="pixels; goes with height")
    height: int | None = Field(None, ge=16, le=8192, description="pixels; goes with width")
    resolution: str | None = Field(None, description="by name, e.g. 720p, for models that go by it")
    aspect_ratio: str | None = Field(None, pattern=r"^\d{1,2}:\d{1,2}$", description="of width to height, e.g. 16:9")
    seconds: int | None = Field(None, ge=1, le=60, description="how long")
    fps: int | None = Field(None, ge=1, le=120, description="frames a second")
    steps: int | None = Field(None, ge=1, le=200, description="more are better, slower and dearer")
    seed: int | None = Field(None, ge=0, lt=2**63, description="for videos that repeat, where the model can")
    guidance_scale: float | None = Field(None, ge=0, le=100, allow_inf_nan=False, description="how closely to follow")
    negative_prompt: str | None = Field(None, max_length=32_000, description="what is not to be shown")
    output_format: Literal["mp4", "webm"] | None = Field(None, description="the file's container")
    output_quality: int | None = Field(None, ge=0, le=100, description="lower is better")
    generate_audio: bool | None = Field(None, description="with sound, where the model makes it")
    keyframes: list[Keyframe] | None = Field(
        None, max_length=20, description="pictures at places: one stands first, two first and last"
    )
    reference_images: list[str] | None = Field(None, max_length=20, description="pictures that show how things look")
    preview: bool = Field(
        default=False, description="the cheapest version first: smallest, shortest, fewest steps; see retry --promote"
    )

    _template = field_validator("prompt", "negative_prompt")(checked_template)

    @field_validator("keyframes", mode="before", json_schema_input_type=list[Keyframe | str] | str | None)
    @classmethod
    def _frames(cls, value: Any) -> Any:
        listed = parse_list(value)
        if not isinstance(listed, list):
            return listed
        return [{"image": one} if isinstance(one, str) else one for one in listed]

    @field_validator("reference_images", mode="before", json_schema_input_type=list[str] | str | None)
    @classmethod
    def _pictures(cls, value: Any) -> Any:
        return parse_list(value)

    @field_validator("size")
    @classmethod
    def _pixels(cls, value: str | None) -> str | None:
        if value is not None and not _SIZE.fullmatch(value):
            raise ValueError(f"{value!r} is no size; write it as 1280x720")
        return value

    @field_validator("output_format", mode="before")
    @classmethod
    def _lower(cls, value: Any, _: ValidationInfo) -> Any:
        return value.lower() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _whole_size(self) -> GenerateVideoParams:
        if (self.width is None) != (self.height is None):
            raise ValueError("width and height go together")
        if self.size is not None and self.width is not None:
            raise ValueError("a size is given twice: as size, and as width and height")
        return self


_PLAIN = (
    *("resolution", "aspect_ratio", "seconds", "fps", "steps", "seed", "guidance_scale", "negative_prompt"),
    *("output_format", "output_quality", "generate_audio"),
)


def video_request_params(
    params: GenerateVideoParams, prompt: str, films: VideoModel, wire: VideoConfig, model: str
) -> dict[str, JSON]:
    """The fields a video is asked for with, by their neutral names; a preview's are the cheapest there are.

    Raises:
        BadInput: naming the field, and what the model takes.
    """
    size = params.size or (f"{params.width}x{params.height}" if params.width is not None else None)
    asked: dict[str, JSON] = {"size": size, **{name: getattr(params, name) for name in _PLAIN}}
    if params.preview:
        asked |= _cheapest(films, wire)
    told: dict[str, JSON] = {name: value for name, value in asked.items() if value is not None}
    for name in told:
        if name not in wire.takes:
            raise _wrong(f"{model} takes no {name}", f"leave {name} out")
    _one_of(model, "size", told.get("size"), films.sizes)
    _one_of(model, "seconds", told.get("seconds"), films.seconds)
    _one_of(model, "fps", told.get("fps"), films.fps)
    _one_of(model, "resolution", told.get("resolution"), films.resolutions)
    _one_of(model, "aspect_ratio", told.get("aspect_ratio"), films.ratios)
    steps = told.get("steps")
    if isinstance(steps, int) and films.steps is not None and not films.steps[0] <= steps <= films.steps[1]:
        raise _wrong(f"{model} takes {films.steps[0]} to {films.steps[1]} steps, not {steps}", "change steps")
    frames = place_keyframes(params, films, wire, model)
    if frames:
        told["frames"] = list(frames)
    if params.reference_images and (films.references is False or "reference_images" not in wire.takes):
        raise _wrong(f"{model} takes no reference_images", "leave them out, or choose another model")
    _check_prompt(prompt, films, model, pictures=bool(frames))
    if prompt:
        told["prompt"] = prompt
    return told


def place_keyframes(
    params: GenerateVideoParams, films: VideoModel, wire: VideoConfig, model: str
) -> Sequence[int | Literal["first", "last"]]:
    """Where the keyframes stand; told by their number where that says it.

    Raises:
        BadInput: when a place is missing, or the model has none there.
    """
    frames = params.keyframes or []
    if not frames:
        return ()
    if "keyframes" not in wire.takes:
        raise _wrong(f"{model} takes no keyframes", "leave them out, or choose another model")
    usual = _PLACES.get(len(frames))
    found: list[int | Literal["first", "last"]] = []
    for number, frame in enumerate(frames):
        place = frame.frame if frame.frame is not None else usual[number] if usual else None
        if place is None:
            raise _wrong("of more than two keyframes each needs its frame", "write {image: ..., frame: 48} for each")
        found.append("first" if place == 0 else place)
    allowed = films.keyframes
    if allowed is not None and (len(found) > len(allowed) or any(place not in allowed for place in found)):
        able = " and ".join(allowed) or "none"
        raise _wrong(f"{model} takes keyframes at {able}, not at {', '.join(map(str, found))}", "change the keyframes")
    return found


def _cheapest(films: VideoModel, wire: VideoConfig) -> dict[str, JSON]:
    """The smallest, shortest, roughest version, of what the model lets be chosen."""
    lowest = min(films.resolutions, key=lambda name: int("".join(filter(str.isdigit, name)) or 0), default=None)
    cheap: dict[str, JSON] = {
        "size": films.smallest(),
        "seconds": min(films.seconds, default=None),
        "steps": films.steps[0] if films.steps else None,
        "resolution": lowest,
    }
    return {name: value for name, value in cheap.items() if value is not None and name in wire.takes}


def _check_prompt(prompt: str, films: VideoModel, model: str, *, pictures: bool) -> None:
    least, most = films.prompt
    if not prompt and films.prompt_optional and pictures:
        return
    if not least <= len(prompt) <= most:
        raise _wrong(f"{model} takes prompts of {least} to {most} characters, not {len(prompt)}", "change the prompt")


def _one_of(model: str, name: str, value: Any, allowed: Sequence[Any]) -> None:
    if value is not None and allowed and value not in allowed:
        chosen = sorted(allowed, key=pixels) if name == "size" else allowed
        raise _wrong(f"{model} takes {name} {', '.join(map(str, chosen))}, not {value}", f"change {name}")


def _wrong(message: str, hint: str) -> BadInput:
    return BadInput(message, kind="bad_request", hint=hint)
