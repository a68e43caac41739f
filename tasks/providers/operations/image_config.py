"""What models that make pictures take, and what a picture comes to: pixels, tokens, parameters out of range."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

from pydantic import Field

from mediamill.tasks.errors import BadInput
from mediamill.tasks.providers.operations.base import ModelFacts, OperationConfig

IMAGE = "image"
"""The operation, as the price list names it."""

SIZE_PATTERN = re.compile(r"([1-9]\d{0,4})\s?[xX*\u00d7]\s?([1-9]\d{0,4})")
_MIN_DEFAULT_STEPS = 4
"""Steps that the quickest models take unasked (provider docs); bounds what more of them can cost elsewhere."""
_PIXELS_OF_LISTED_TOKENS = 1024 * 1024
_TOKEN_MARGIN = Decimal("1.25")
_PIXELS_PER_MEGAPIXEL = Decimal(1_000_000)

Quality = Literal["low", "medium", "high", "xhigh", "max", "auto", "standard", "hd"]


class ImageModel(ModelFacts):
    """A model that makes pictures (provider docs). What is null or empty is not limited, or not known."""

    max_n: int = Field(default=1, gt=0, description="most pictures of one request; more are asked for in several")
    sizes: tuple[str, ...] = Field(default=(), description="WIDTHxHEIGHT that can be asked for; empty for any")
    sides: tuple[int, int] | None = Field(default=None, description="shortest and longest side in pixels")
    multiple: int = Field(default=1, gt=0, description="sides are multiples of it")
    default_size: str | None = Field(default=None, description="what is made unless another is asked for")
    max_megapixels: Decimal = Field(default=Decimal("4.2"), description="largest picture of a size nobody asked for")
    max_steps: int | None = Field(default=None, gt=0, description="most denoising steps")
    default_steps: int | None = Field(default=None, gt=0, description="steps its price is for; more cost in proportion")
    flat: bool = Field(default=False, description="priced by the picture, whatever its size")
    references: int = Field(default=0, ge=0, description="most reference pictures")
    reference_field: Literal["image_url", "reference_images"] = "reference_images"
    loras: int = Field(default=0, ge=0, description="most LoRAs")
    max_prompt: int | None = Field(default=None, gt=0, description="most characters of a prompt")
    qualities: tuple[Quality, ...] = ()
    ratios: tuple[str, ...] = ()
    resolutions: tuple[str, ...] = ()
    formats: tuple[Literal["jpeg", "png", "webp"], ...] = ()
    tokens: Mapping[Quality, int] = Field(
        default_factory=dict, description="output tokens of 1024x1024 pixels by quality, where tokens are billed"
    )

    def abilities(self) -> tuple[str, ...]:
        """How many pictures it makes at once, and their sizes."""
        sizes = self.sizes or self.resolutions
        return ("draws", f"{self.max_n} a request", *([" ".join(sizes)] if sizes else []))

    def check_params(self, model: str, params: Mapping[str, Any]) -> None:
        """Compare parameters with what the model takes; the endpoint's own fields are the wire's to check.

        Raises:
            BadInput: naming the parameter and what may stand there.
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
        prompt = len(str(params.get("prompt") or ""))
        if self.max_prompt is not None and prompt > self.max_prompt:
            raise unsupported_param(model, f"a prompt of {prompt} characters", f"at most {self.max_prompt}")
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
        """Width and height in pixels that a request comes to; None where the provider decides.

        Raises:
            BadInput: when ``size`` is none, or says something else than ``width`` and ``height``.
        """
        text, width, height = (params.get(name) for name in ("size", "width", "height"))
        requested = parse_image_size(text)
        if text is not None and text != "auto" and requested is None:
            raise BadInput(f"size {text!r} is none", kind="bad_request", hint="write it as 1024x1024, or auto")
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
        """What so many steps multiply the price by, never less than 1; None where that is not known."""
        if steps is None:
            return Decimal(1)
        return None if self.default_steps is None else max(Decimal(1), Decimal(steps) / self.default_steps)

    def max_billed_megapixels(self, params: Mapping[str, Any]) -> Decimal:
        """Millions of pixels that one picture is billed for at the most, its steps counted in."""
        size, steps = self.resolve_size(params), params.get("steps")
        factor = self.steps_factor(steps)
        if factor is None:
            factor = max(Decimal(1), Decimal(int(steps or 0)) / _MIN_DEFAULT_STEPS)
        return (to_megapixels(*size) if size else self.largest_megapixels) * factor

    def likely_billed_megapixels(self, params: Mapping[str, Any]) -> Decimal:
        """The same for what is likely: a picture of a size nobody asked for has about a million."""
        factor = self.steps_factor(params.get("steps")) or Decimal(1)
        return (
            to_megapixels(*(self.resolve_size(params) or parse_image_size(self.default_size) or (1024, 1024))) * factor
        )

    @property
    def largest_megapixels(self) -> Decimal:
        """Millions of pixels of the largest picture whose size the provider decides (estimate where not listed)."""
        return max(
            (to_megapixels(*size) for size in map(parse_image_size, self.sizes) if size), default=self.max_megapixels
        )

    def output_tokens(self, params: Mapping[str, Any], *, ceiling: bool) -> int | None:
        """Tokens of one picture: likely, or with a margin the most; None where they are not what is billed."""
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
    """An endpoint that makes pictures; the style ``any`` is everybody's fields at once."""

    api_style: Literal["together", "openai", "xai", "any"] = "any"


def parse_image_size(size: object) -> tuple[int, int] | None:
    """Width and height of a text such as ``1024x768``; None for anything else."""
    match = SIZE_PATTERN.fullmatch(size.strip()) if isinstance(size, str) else None
    return (int(match[1]), int(match[2])) if match else None


def to_megapixels(width: int, height: int) -> Decimal:
    """Millions of pixels."""
    return Decimal(width * height) / _PIXELS_PER_MEGAPIXEL


def unsupported_param(model: str, what: str, allowed: str | None) -> BadInput:
    """What a model does not take, and what it does; None for a parameter that it does not know at all."""
    hint = f"it takes {allowed}" if allowed else "leave it out, or choose another --model"
    return BadInput(f"{model} does not take {what}", kind="bad_request", hint=hint)
