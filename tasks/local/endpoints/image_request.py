"""What a request for images asks for: its JSON, checked as the dialect's provider would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
from mediamill.tasks.local.media_generation.generation_state import GenerationModels, ServedImageModel
from mediamill.tasks.local.media_generation.specs import MAX_PROMPT_CHARS, ImageSpec, parse_size
from mediamill.tasks.local.server.api_error import ApiError

_MAX_PROMPT = 32_000
_FORMS = {"jpg": "jpeg"}
_OPENAI_FIELDS = frozenset(
    [
        *("model", "prompt", "n", "size", "quality", "background", "moderation", "output_format"),
        *("output_compression", "partial_images", "stream", "user", "safety_identifier"),
    ]
)
_QUALITIES = {"low": 272, "medium": 1056, "high": 4160, "xhigh": 4160, "max": 4160}
"""Output tokens of a million pixels (provider docs; above high the server's own reckoning)."""

_QUALITY_PIXELS = 1024 * 1024
_OPENAI_ORDINARY = (1024, 1024)
_SHORT = {"1k": 1024, "2k": 2048}
_SIZELESS = ("size", "width", "height")


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """A valid request; ``b64`` is whether images come in the reply, ``tokens`` what all of them count as."""

    model: str
    prompt: str
    images: tuple[ImageSpec, ...]
    b64: bool
    quality: str = "auto"
    background: str = "opaque"
    tokens: int = 0


def read_image_request(fields: Any, dialect: str, models: GenerationModels) -> ImageRequest:
    """Check a request.

    Raises:
        ApiError: naming the first field at fault.
    """
    if not isinstance(fields, dict):
        raise ApiError("bad_value", "the body must be a JSON object")
    if dialect == "openai":
        return _read_openai_images(fields, models)
    if dialect == "xai":
        return _read_xai_images(fields, models)
    if dialect == "together":
        return _read_together_images(fields, models)
    return _read_any_images(fields)


def _read_openai_images(fields: Mapping[str, Any], models: GenerationModels) -> ImageRequest:
    for name in fields:
        if name not in _OPENAI_FIELDS:
            raise ApiError("unknown_field", f"Unknown parameter: '{name}'.", param=name)
    prompt = _read_image_prompt(fields)
    model = read_optional_text(fields, "model") or next(iter(models.images), "gpt-image")
    known = _find_image_model(models, model)
    if fields.get("stream"):
        raise ApiError("unsupported", "Unsupported parameter: 'stream' is not supported here.", param="stream")
    count = read_optional_integer(fields, "n", 1, known.max_n or 10) or 1
    size = fields.get("size")
    width, height = _OPENAI_ORDINARY if size in (None, "auto") else parse_size(size)
    _check_image_size(known, width, height)
    quality = read_choice(fields, "quality", {*_QUALITIES, "auto"}, "auto")
    background = read_choice(fields, "background", {"transparent", "opaque", "auto"}, "auto")
    form = read_choice(fields, "output_format", {"png", "jpeg", "webp"}, "png")
    read_optional_integer(fields, "output_compression", 0, 100)
    if background == "transparent" and form == "jpeg":
        raise ApiError("bad_value", "Transparent background is not supported for JPEG.", param="background")
    each = round(_QUALITIES.get(quality, _QUALITIES["medium"]) * width * height / _QUALITY_PIXELS)
    return ImageRequest(
        model,
        prompt,
        _make_image_specs(prompt, 0, width, height, form, count),
        b64=True,
        quality=quality if quality != "auto" else "medium",
        background="opaque",
        tokens=each * count,
    )


def _read_together_images(fields: Mapping[str, Any], models: GenerationModels) -> ImageRequest:
    model, prompt = read_required_text(fields, "model"), _read_image_prompt(fields)
    known = _find_image_model(models, model)
    count = read_optional_integer(fields, "n", 1, known.max_n or 4) or 1
    width = read_optional_integer(fields, "width", *known.sides) or 1024
    height = read_optional_integer(fields, "height", *known.sides) or 1024
    _check_image_size(known, width, height)
    read_optional_integer(fields, "steps", 1, known.steps)
    _check_inputs(fields)
    form = read_choice(fields, "output_format", {"jpeg", "png"}, "jpeg")
    reply = read_choice(fields, "response_format", {"base64", "url"}, "url")
    seed = read_optional_integer(fields, "seed") or 0
    return ImageRequest(
        model, prompt, _make_image_specs(prompt, seed, width, height, form, count), b64=reply == "base64"
    )


def _read_xai_images(fields: Mapping[str, Any], models: GenerationModels) -> ImageRequest:
    model, prompt = read_required_text(fields, "model"), _read_image_prompt(fields)
    known = _find_image_model(models, model)
    for name in _SIZELESS:
        if fields.get(name) is not None:
            raise ApiError("unsupported", f"Argument not supported: {name}", param=name)
    count = read_optional_integer(fields, "n", 1, known.max_n or 10) or 1
    ratio = read_optional_text(fields, "aspect_ratio") or "1:1"
    if ratio not in (*RATIOS, "auto"):
        raise ApiError("bad_value", f"aspect_ratio must be one of {', '.join(RATIOS)}, auto", param="aspect_ratio")
    short = _SHORT[read_choice(fields, "resolution", _SHORT, "1k")]
    width, height = compute_size(short, "1:1" if ratio == "auto" else ratio, "aspect_ratio", 8)
    reply = read_choice(fields, "response_format", {"url", "b64_json"}, "url")
    return ImageRequest(
        model, prompt, _make_image_specs(prompt, 0, width, height, "jpeg", count), b64=reply == "b64_json"
    )


def _read_any_images(fields: Mapping[str, Any]) -> ImageRequest:
    """Everybody's fields, any model."""
    model, prompt = read_optional_text(fields, "model") or "any", _read_image_prompt(fields)
    count = read_optional_integer(fields, "n", 1, 10) or 1
    size = fields.get("size")
    width, height = _OPENAI_ORDINARY if size in (None, "auto") else parse_size(size)
    if read_optional_text(fields, "aspect_ratio") not in (None, "auto"):
        short = _SHORT[read_choice(fields, "resolution", _SHORT, "1k")]
        width, height = compute_size(short, str(fields["aspect_ratio"]), "aspect_ratio")
    width, height = (
        read_optional_integer(fields, "width", 16, 4096) or width,
        read_optional_integer(fields, "height", 16, 4096) or height,
    )
    read_optional_integer(fields, "steps", 1, 1000)
    _check_inputs(fields)
    form = read_choice(fields, "output_format", {"png", "jpeg", "jpg", "webp"}, "png")
    reply = read_choice(fields, "response_format", {"url", "base64", "b64_json"}, "b64_json")
    seed = read_optional_integer(fields, "seed") or 0
    images = _make_image_specs(prompt, seed, width, height, _FORMS.get(form, form), count)
    return ImageRequest(model, prompt, images, b64=reply != "url")


def _read_image_prompt(fields: Mapping[str, Any]) -> str:
    prompt = read_required_text(fields, "prompt")
    if len(prompt) > _MAX_PROMPT:
        message = f"prompt has {len(prompt)} characters, more than {_MAX_PROMPT}"
        raise ApiError("bad_value", message, param="prompt")
    return prompt


def _find_image_model(models: GenerationModels, model: str) -> ServedImageModel:
    known = models.find_image_model(model)
    if known is None:
        message = f"The model `{model}` does not exist or does not make images."
        raise ApiError("unknown_model", message, param="model")
    return known


def _check_image_size(known: ServedImageModel, width: int, height: int) -> None:
    if known.sizes and (width, height) not in known.sizes:
        allowed = ", ".join(f"{wide}x{high}" for wide, high in known.sizes)
        raise ApiError("bad_value", f"size must be one of {allowed}", param="size")
    minimum, maximum = known.sides
    if not known.sizes and not all(minimum <= side <= maximum and side % known.step == 0 for side in (width, height)):
        message = f"width and height must be multiples of {known.step} between {minimum} and {maximum}"
        raise ApiError("bad_value", message, param="width")


def _check_inputs(fields: Mapping[str, Any]) -> None:
    read_optional_text(fields, "negative_prompt")
    read_optional_text(fields, "image_url")
    read_url_list(fields, "reference_images")
    check_number(fields, "guidance_scale")
    check_boolean(fields, "disable_safety_checker")
    for lora in read_object_list(fields, "image_loras"):
        read_required_text(lora, "path")
        if lora.get("scale") is None:
            raise ApiError("missing_field", "Missing required parameter: 'image_loras.scale'.", param="image_loras")
        check_number(lora, "scale")


def _make_image_specs(prompt: str, seed: int, width: int, height: int, form: str, count: int) -> tuple[ImageSpec, ...]:
    shown = prompt[:MAX_PROMPT_CHARS]
    return tuple(ImageSpec(shown, seed + index, width, height, form) for index in range(count))
