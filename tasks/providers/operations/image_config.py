"""Image models: the parameters they accept, and how many pixels and tokens an image is billed for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

from pydantic import Field

from mediamill.tasks.errors import BadInput
from mediamill.tasks.providers.operations.base import API_STYLE, ModelFacts, OperationConfig

IMAGE = "image"
"""The operation's name, also in price lists."""

SIZE_PATTERN = re.compile(r"([1-9]\d{0,4})\s?[xX*\u00d7]\s?([1-9]\d{0,4})")
_MIN_DEFAULT_STEPS = 4
"""Default steps of the fastest models (provider docs); bounds the price factor of models whose default is not known."""
_PIXELS_OF_LISTED_TOKENS = 1024 * 1024
_TOKEN_MARGIN = Decimal("1.25")
_PIXELS_PER_MEGAPIXEL = Decimal(1_000_000)

Quality = Literal["low", "medium", "high", "xhigh", "max", "auto", "standard", "hd"]


class ImageModel(ModelFacts):
    """A model that generates images (provider docs). Null or empty means no limit, or not known."""

    max_n: int = Field(
        default=1, gt=0, description="maximum number of images in one request; more need several requests"
    )
    sizes: tuple[str, ...] = Field(default=(), description="the sizes it generates, WIDTHxHEIGHT; empty for any size")
    sides: tuple[int, int] | None = Field(default=None, description="shortest and longest side in pixels")
    multiple: int = Field(default=1, gt=0, description="sides must be multiples of it")
    default_size: str | None = Field(default=None, description="the size it generates if none is requested")
    max_megapixels: Decimal = Field(
        default=Decimal("4.2"), description="largest image it generates if no size is requested"
    )
    max_steps: int | None = Field(default=None, gt=0, description="maximum number of denoising steps")
    default_steps: int | None = Field(
        default=None, gt=0, description="number of steps that its price is for; more steps cost proportionally more"
    )
    flat: bool = Field(default=False, description="priced per image, independent of its size")
    references: int = Field(default=0, ge=0, description="maximum number of reference images")
    reference_field: Literal["image_url", "reference_images"] = "reference_images"
    loras: int = Field(default=0, ge=0, description="maximum number of LoRAs")
    max_prompt: int | None = Field(default=None, gt=0, description="maximum number of characters in a prompt")
    qualities: tuple[Quality, ...] = ()
    ratios: tuple[str, ...] = ()
    resolutions: tuple[str, ...] = ()
    formats: tuple[Literal["jpeg", "png", "webp"], ...] = ()
    tokens: Mapping[Quality, int] = Field(
        default_factory=dict, description="output tokens of 1024x1024 pixels by quality, if tokens are billed"
    )

    def abilities(self) -> tuple[str, ...]:
        """How many images one request may generate, and their sizes."""
        sizes = self.sizes or self.resolutions
        return ("images", f"{self.max_n} per request", *([" ".join(sizes)] if sizes else []))

    def check_params(self, model: str, params: Mapping[str, Any]) -> None:
        """Check the parameters against the model's limits. Fields of the endpoint are checked in ``to_wire``.

        Raises:
            BadInput: naming the parameter and its allowed values.
        """
        for name, allowed in (
            ("quality", self.qualities),
            ("aspect_ratio", self.ratios),
            ("resolution", self.resolutions),
            ("output_format", self.formats),
        ):
            if allowed and params.get(name) is not None and params[name] not in allowed:
                raise unsupported_param(model, f"{name} {params[name]}", f"one of {', '.join(allowed)}")
        if params.get("steps") is not None and self.max_steps is not None and params["steps"] > self.max_steps:
            raise unsupported_param(model, f"steps {params['steps']}", f"1 to {self.max_steps}")
        for name, limit in (("image_loras", self.loras), ("reference_images", self.references)):
            if len(params.get(name) or ()) > limit:
                raise unsupported_param(model, f"{len(params[name])} {name}", f"at most {limit}" if limit else None)
        prompt_length = len(str(params.get("prompt") or ""))
        if self.max_prompt is not None and prompt_length > self.max_prompt:
            raise unsupported_param(model, f"a prompt of {prompt_length} characters", f"at most {self.max_prompt}")
        self._check_size(model, params)

    def _check_size(self, model: str, params: Mapping[str, Any]) -> None:
        size = self.resolve_size(params)
        if size is None or size == parse_image_size(self.default_size):
            return
        label = f"size {size[0]}x{size[1]}"
        if self.sizes:
            if size not in map(parse_image_size, self.sizes):
                raise unsupported_param(model, label, f"one of {', '.join(self.sizes)}")
            return
        shortest, longest = self.sides or (1, 65_535)
        if not all(shortest <= side <= longest and side % self.multiple == 0 for side in size):
            multiples = f" in multiples of {self.multiple}" if self.multiple > 1 else ""
            raise unsupported_param(model, label, f"sides of {shortest} to {longest} pixels{multiples}")

    def resolve_size(self, params: Mapping[str, Any]) -> tuple[int, int] | None:
        """Width and height in pixels of the requested image; None if the provider decides.

        Raises:
            BadInput: when ``size`` is not a size, or contradicts ``width`` and ``height``.
        """
        text, width, height = (params.get(name) for name in ("size", "width", "height"))
        requested = parse_image_size(text)
        if text is not None and text != "auto" and requested is None:
            raise BadInput(f"{text!r} is not a size", kind="bad_request", hint="write it as 1024x1024, or auto")
        if requested is not None:
            if (width or requested[0], height or requested[1]) != requested:
                raise BadInput(
                    f"size {text} is not {width or requested[0]}x{height or requested[1]}", kind="bad_request"
                )
            return requested
        if text is None and width is None and height is None and params.get("aspect_ratio") not in (None, "auto"):
            return None
        default = parse_image_size(self.default_size) if text is None else None
        if default is None and (width is None or height is None):
            return None
        return int(width or (default or (0, 0))[0]), int(height or (default or (0, 0))[1])

    def steps_factor(self, steps: int | None) -> Decimal | None:
        """The factor by which a number of steps multiplies the price, at least 1; None if it is not known."""
        if steps is None:
            return Decimal(1)
        return None if self.default_steps is None else max(Decimal(1), Decimal(steps) / self.default_steps)

    def max_billed_megapixels(self, params: Mapping[str, Any]) -> Decimal:
        """The maximum of megapixels that one image is billed for, including the factor for its steps."""
        size, steps = self.resolve_size(params), params.get("steps")
        factor = self.steps_factor(steps)
        if factor is None:
            factor = max(Decimal(1), Decimal(int(steps or 0)) / _MIN_DEFAULT_STEPS)
        return (to_megapixels(*size) if size else self.largest_megapixels) * factor

    def likely_billed_megapixels(self, params: Mapping[str, Any]) -> Decimal:
        """The likely number of billed megapixels: an image without a requested size has about one megapixel."""
        factor = self.steps_factor(params.get("steps")) or Decimal(1)
        return (
            to_megapixels(*(self.resolve_size(params) or parse_image_size(self.default_size) or (1024, 1024))) * factor
        )

    @property
    def largest_megapixels(self) -> Decimal:
        """Megapixels of the largest image if the provider decides the size (an estimate if no sizes are listed)."""
        return max(
            (to_megapixels(*size) for size in map(parse_image_size, self.sizes) if size), default=self.max_megapixels
        )

    def estimate_output_tokens(self, params: Mapping[str, Any], *, ceiling: bool) -> int | None:
        """Output tokens of an image: the likely number, or the maximum with a margin; None if they are not billed."""
        if not self.tokens:
            return None
        max_tokens = max(self.tokens.values())
        default_tokens = max_tokens if ceiling else self.tokens.get("medium", max_tokens)
        listed_tokens = self.tokens.get(params.get("quality") or "auto", default_tokens)
        pixels = (
            self.max_billed_megapixels(params) if ceiling else self.likely_billed_megapixels(params)
        ) * _PIXELS_PER_MEGAPIXEL
        margin = _TOKEN_MARGIN if ceiling else Decimal(1)
        return int(listed_tokens * pixels / _PIXELS_OF_LISTED_TOKENS * margin) + 1


class ImageConfig(OperationConfig[ImageModel]):
    """An endpoint that generates images; the style ``any`` accepts the fields of all providers."""

    api_style: Literal["together", "openai", "xai", "any"] = Field(default="any", validation_alias=API_STYLE)


def parse_image_size(size: object) -> tuple[int, int] | None:
    """Width and height of a text such as ``1024x768``; None for anything else."""
    match = SIZE_PATTERN.fullmatch(size.strip()) if isinstance(size, str) else None
    return (int(match[1]), int(match[2])) if match else None


def to_megapixels(width: int, height: int) -> Decimal:
    """Megapixels of an image."""
    return Decimal(width * height) / _PIXELS_PER_MEGAPIXEL


def unsupported_param(model: str, what: str, allowed: str | None) -> BadInput:
    """The error for a parameter that a model does not accept.

    Args:
        model: its name.
        what: the parameter and its value.
        allowed: what the model accepts; None if it does not know the parameter at all.
    """
    hint = f"it takes {allowed}" if allowed else "leave it out, or choose another --model"
    return BadInput(f"{model} does not take {what}", kind="bad_request", hint=hint)
