"""What a request for pictures asks for: its JSON, checked as the dialect's provider would."""

from __future__ import annotations

from collections.abc import Mapping
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
from mediamill.tasks.local.media_generation.models import ImageModel, Makers
from mediamill.tasks.local.media_generation.specs import MOST_WORDS, Picture
from mediamill.tasks.local.server.api_error import Refusal

_MOST_PROMPT = 32_000
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
class AskedImages:
    """A valid request; ``b64`` is whether pictures come in the reply, ``tokens`` what all of them count as."""

    model: str
    prompt: str
    pictures: tuple[Picture, ...]
    b64: bool
    quality: str = "auto"
    background: str = "opaque"
    tokens: int = 0


def read_images(told: Any, dialect: str, makers: Makers) -> AskedImages:
    """Check a request.

    Raises:
        Refusal: naming the first field at fault.
    """
    if not isinstance(told, dict):
        raise Refusal("bad_value", "the body must be a JSON object")
    if dialect == "openai":
        return _openai(told, makers)
    if dialect == "xai":
        return _xai(told, makers)
    if dialect == "together":
        return _together(told, makers)
    return _lenient(told)


def _openai(told: Mapping[str, Any], makers: Makers) -> AskedImages:
    for name in told:
        if name not in _OPENAI_FIELDS:
            raise Refusal("unknown_field", f"Unknown parameter: '{name}'.", param=name)
    prompt = _prompt(told)
    model = words(told, "model") or next(iter(makers.images), "gpt-image")
    known = _known(makers, model)
    if told.get("stream"):
        raise Refusal("unsupported", "Unsupported parameter: 'stream' is not supported here.", param="stream")
    count = whole(told, "n", 1, known.most or 10) or 1
    size = told.get("size")
    width, height = _OPENAI_ORDINARY if size in (None, "auto") else sized(size)
    _check_size(known, width, height)
    quality = choice(told, "quality", {*_QUALITIES, "auto"}, "auto")
    background = choice(told, "background", {"transparent", "opaque", "auto"}, "auto")
    form = choice(told, "output_format", {"png", "jpeg", "webp"}, "png")
    whole(told, "output_compression", 0, 100)
    if background == "transparent" and form == "jpeg":
        raise Refusal("bad_value", "Transparent background is not supported for JPEG.", param="background")
    each = round(_QUALITIES.get(quality, _QUALITIES["medium"]) * width * height / _QUALITY_PIXELS)
    return AskedImages(
        model,
        prompt,
        _pictures(prompt, 0, width, height, form, count),
        b64=True,
        quality=quality if quality != "auto" else "medium",
        background="opaque",
        tokens=each * count,
    )


def _together(told: Mapping[str, Any], makers: Makers) -> AskedImages:
    model, prompt = text(told, "model"), _prompt(told)
    known = _known(makers, model)
    count = whole(told, "n", 1, known.most or 4) or 1
    width = whole(told, "width", *known.sides) or 1024
    height = whole(told, "height", *known.sides) or 1024
    _check_size(known, width, height)
    whole(told, "steps", 1, known.steps)
    _check_inputs(told)
    form = choice(told, "output_format", {"jpeg", "png"}, "jpeg")
    reply = choice(told, "response_format", {"base64", "url"}, "url")
    seed = whole(told, "seed") or 0
    return AskedImages(model, prompt, _pictures(prompt, seed, width, height, form, count), b64=reply == "base64")


def _xai(told: Mapping[str, Any], makers: Makers) -> AskedImages:
    model, prompt = text(told, "model"), _prompt(told)
    known = _known(makers, model)
    for name in _SIZELESS:
        if told.get(name) is not None:
            raise Refusal("unsupported", f"Argument not supported: {name}", param=name)
    count = whole(told, "n", 1, known.most or 10) or 1
    ratio = words(told, "aspect_ratio") or "1:1"
    if ratio not in (*RATIOS, "auto"):
        raise Refusal("bad_value", f"aspect_ratio must be one of {', '.join(RATIOS)}, auto", param="aspect_ratio")
    short = _SHORT[choice(told, "resolution", _SHORT, "1k")]
    width, height = shaped(short, "1:1" if ratio == "auto" else ratio, "aspect_ratio", 8)
    reply = choice(told, "response_format", {"url", "b64_json"}, "url")
    return AskedImages(model, prompt, _pictures(prompt, 0, width, height, "jpeg", count), b64=reply == "b64_json")


def _lenient(told: Mapping[str, Any]) -> AskedImages:
    """Everybody's fields, any model."""
    model, prompt = words(told, "model") or "any", _prompt(told)
    count = whole(told, "n", 1, 10) or 1
    size = told.get("size")
    width, height = _OPENAI_ORDINARY if size in (None, "auto") else sized(size)
    if words(told, "aspect_ratio") not in (None, "auto"):
        short = _SHORT[choice(told, "resolution", _SHORT, "1k")]
        width, height = shaped(short, str(told["aspect_ratio"]), "aspect_ratio")
    width, height = whole(told, "width", 16, 4096) or width, whole(told, "height", 16, 4096) or height
    whole(told, "steps", 1, 1000)
    _check_inputs(told)
    form = choice(told, "output_format", {"png", "jpeg", "jpg", "webp"}, "png")
    reply = choice(told, "response_format", {"url", "base64", "b64_json"}, "b64_json")
    seed = whole(told, "seed") or 0
    pictures = _pictures(prompt, seed, width, height, _FORMS.get(form, form), count)
    return AskedImages(model, prompt, pictures, b64=reply != "url")


def _prompt(told: Mapping[str, Any]) -> str:
    prompt = text(told, "prompt")
    if len(prompt) > _MOST_PROMPT:
        message = f"prompt has {len(prompt)} characters, more than {_MOST_PROMPT}"
        raise Refusal("bad_value", message, param="prompt")
    return prompt


def _known(makers: Makers, model: str) -> ImageModel:
    known = makers.image(model)
    if known is None:
        message = f"The model `{model}` does not exist or does not make images."
        raise Refusal("unknown_model", message, param="model")
    return known


def _check_size(known: ImageModel, width: int, height: int) -> None:
    if known.sizes and (width, height) not in known.sizes:
        allowed = ", ".join(f"{wide}x{high}" for wide, high in known.sizes)
        raise Refusal("bad_value", f"size must be one of {allowed}", param="size")
    least, most = known.sides
    if not known.sizes and not all(least <= side <= most and side % known.step == 0 for side in (width, height)):
        message = f"width and height must be multiples of {known.step} between {least} and {most}"
        raise Refusal("bad_value", message, param="width")


def _check_inputs(told: Mapping[str, Any]) -> None:
    words(told, "negative_prompt")
    words(told, "image_url")
    urls(told, "reference_images")
    number(told, "guidance_scale")
    flag(told, "disable_safety_checker")
    for lora in objects(told, "image_loras"):
        text(lora, "path")
        if lora.get("scale") is None:
            raise Refusal("missing_field", "Missing required parameter: 'image_loras.scale'.", param="image_loras")
        number(lora, "scale")


def _pictures(prompt: str, seed: int, width: int, height: int, form: str, count: int) -> tuple[Picture, ...]:
    shown = prompt[:MOST_WORDS]
    return tuple(Picture(shown, seed + index, width, height, form) for index in range(count))
