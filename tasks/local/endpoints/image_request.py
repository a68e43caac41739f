"""Image requests: their JSON, checked as the dialect's provider checks it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
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
_FORMAT_ALIASES = {"jpg": "jpeg"}
_OPENAI_FIELDS = frozenset(
    [
        *("model", "prompt", "n", "size", "quality", "background", "moderation", "output_format"),
        *("output_compression", "partial_images", "stream", "user", "safety_identifier"),
    ]
)
_TOKENS_BY_QUALITY = {"low": 272, "medium": 1056, "high": 4160, "xhigh": 4160, "max": 4160}
"""Output tokens per 1024 x 1024 pixels (provider docs; above high the server's own values)."""

_QUALITY_PIXELS = 1024 * 1024
_DEFAULT_SIZE = (1024, 1024)
_SHORT_SIDES = {"1k": 1024, "2k": 2048}
_XAI_UNSUPPORTED = ("size", "width", "height")


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """A valid request.

    ``as_base64``: images are in the reply; ``tokens``: output tokens of all images; ``steps``: None for the usual ones.
    """

    model: str
    prompt: str
    images: tuple[ImageSpec, ...]
    as_base64: bool
    quality: str = "auto"
    background: str = "opaque"
    tokens: int = 0
    steps: int | None = None

    @property
    def megapixels(self) -> Decimal | None:
        """The million pixels that are billed; None where steps are given, for they cost more than the usual ones."""
        if self.steps is not None:
            return None
        return Decimal(sum(image.width * image.height for image in self.images)) / 1_000_000


def read_image_request(fields: Any, dialect: str, models: GenerationModels) -> ImageRequest:
    """Check a request.

    Raises:
        ApiError: for the first invalid field, which it names.
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
    served_model = _find_image_model(models, model)
    if fields.get("stream"):
        raise ApiError("unsupported", "Unsupported parameter: 'stream' is not supported here.", param="stream")
    count = read_optional_integer(fields, "n", 1, served_model.max_n or 10) or 1
    size = fields.get("size")
    width, height = _DEFAULT_SIZE if size in (None, "auto") else parse_size(size)
    _check_image_size(served_model, width, height)
    quality = read_choice(fields, "quality", {*_TOKENS_BY_QUALITY, "auto"}, "auto")
    background = read_choice(fields, "background", {"transparent", "opaque", "auto"}, "auto")
    image_format = read_choice(fields, "output_format", {"png", "jpeg", "webp"}, "png")
    read_optional_integer(fields, "output_compression", 0, 100)
    if background == "transparent" and image_format == "jpeg":
        raise ApiError("bad_value", "Transparent background is not supported for JPEG.", param="background")
    tokens_per_image = round(
        _TOKENS_BY_QUALITY.get(quality, _TOKENS_BY_QUALITY["medium"]) * width * height / _QUALITY_PIXELS
    )
    return ImageRequest(
        model,
        prompt,
        _make_image_specs(prompt, 0, width, height, image_format, count),
        as_base64=True,
        quality=quality if quality != "auto" else "medium",
        background="opaque",
        tokens=tokens_per_image * count,
    )


def _read_together_images(fields: Mapping[str, Any], models: GenerationModels) -> ImageRequest:
    model, prompt = read_required_text(fields, "model"), _read_image_prompt(fields)
    served_model = _find_image_model(models, model)
    count = read_optional_integer(fields, "n", 1, served_model.max_n or 4) or 1
    width = read_optional_integer(fields, "width", *served_model.sides) or 1024
    height = read_optional_integer(fields, "height", *served_model.sides) or 1024
    _check_image_size(served_model, width, height)
    steps = read_optional_integer(fields, "steps", 1, served_model.steps)
    _check_inputs(fields)
    image_format = read_choice(fields, "output_format", {"jpeg", "png"}, "jpeg")
    reply_format = read_choice(fields, "response_format", {"base64", "url"}, "url")
    seed = read_optional_integer(fields, "seed") or 0
    return ImageRequest(
        model,
        prompt,
        _make_image_specs(prompt, seed, width, height, image_format, count),
        as_base64=reply_format == "base64",
        steps=steps,
    )


def _read_xai_images(fields: Mapping[str, Any], models: GenerationModels) -> ImageRequest:
    model, prompt = read_required_text(fields, "model"), _read_image_prompt(fields)
    served_model = _find_image_model(models, model)
    for name in _XAI_UNSUPPORTED:
        if fields.get(name) is not None:
            raise ApiError("unsupported", f"Argument not supported: {name}", param=name)
    count = read_optional_integer(fields, "n", 1, served_model.max_n or 10) or 1
    ratio = read_optional_text(fields, "aspect_ratio") or "1:1"
    if ratio not in (*RATIOS, "auto"):
        raise ApiError("bad_value", f"aspect_ratio must be one of {', '.join(RATIOS)}, auto", param="aspect_ratio")
    short = _SHORT_SIDES[read_choice(fields, "resolution", _SHORT_SIDES, "1k")]
    width, height = compute_size(short, "1:1" if ratio == "auto" else ratio, "aspect_ratio", 8)
    reply_format = read_choice(fields, "response_format", {"url", "b64_json"}, "url")
    return ImageRequest(
        model, prompt, _make_image_specs(prompt, 0, width, height, "jpeg", count), as_base64=reply_format == "b64_json"
    )


def _read_any_images(fields: Mapping[str, Any]) -> ImageRequest:
    """Read a request with the fields of any provider and any model."""
    model, prompt = read_optional_text(fields, "model") or "any", _read_image_prompt(fields)
    count = read_optional_integer(fields, "n", 1, 10) or 1
    size = fields.get("size")
    width, height = _DEFAULT_SIZE if size in (None, "auto") else parse_size(size)
    if read_optional_text(fields, "aspect_ratio") not in (None, "auto"):
        short = _SHORT_SIDES[read_choice(fields, "resolution", _SHORT_SIDES, "1k")]
        width, height = compute_size(short, str(fields["aspect_ratio"]), "aspect_ratio")
    width, height = (
        read_optional_integer(fields, "width", 16, 4096) or width,
        read_optional_integer(fields, "height", 16, 4096) or height,
    )
    read_optional_integer(fields, "steps", 1, 1000)
    _check_inputs(fields)
    image_format = read_choice(fields, "output_format", {"png", "jpeg", "jpg", "webp"}, "png")
    reply_format = read_choice(fields, "response_format", {"url", "base64", "b64_json"}, "b64_json")
    seed = read_optional_integer(fields, "seed") or 0
    images = _make_image_specs(prompt, seed, width, height, _FORMAT_ALIASES.get(image_format, image_format), count)
    return ImageRequest(model, prompt, images, as_base64=reply_format != "url")


def _read_image_prompt(fields: Mapping[str, Any]) -> str:
    prompt = read_required_text(fields, "prompt")
    if len(prompt) > _MAX_PROMPT:
        message = f"prompt has {len(prompt)} characters, more than {_MAX_PROMPT}"
        raise ApiError("bad_value", message, param="prompt")
    return prompt


def _find_image_model(models: GenerationModels, model: str) -> ServedImageModel:
    served_model = models.find_image_model(model)
    if served_model is None:
        message = f"The model `{model}` does not exist or does not make images."
        raise ApiError("unknown_model", message, param="model")
    return served_model


def _check_image_size(served_model: ServedImageModel, width: int, height: int) -> None:
    if served_model.sizes and (width, height) not in served_model.sizes:
        allowed = ", ".join(f"{wide}x{high}" for wide, high in served_model.sizes)
        raise ApiError("bad_value", f"size must be one of {allowed}", param="size")
    minimum, maximum = served_model.sides
    if not served_model.sizes and not all(
        minimum <= side <= maximum and side % served_model.step == 0 for side in (width, height)
    ):
        message = f"width and height must be multiples of {served_model.step} between {minimum} and {maximum}"
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


def _make_image_specs(
    prompt: str, seed: int, width: int, height: int, image_format: str, count: int
) -> tuple[ImageSpec, ...]:
    text = prompt[:MAX_PROMPT_CHARS]
    return tuple(ImageSpec(text, seed + index, width, height, image_format) for index in range(count))
