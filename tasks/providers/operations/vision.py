"""Image inputs of vision models: their limits, and how many tokens an image costs (provider docs)."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from mediamill.tasks.media.images.prepare import ImageLimits
from mediamill.tasks.providers.operations.base import StrictModel

Detail = Literal["auto", "full", "economy"]
"""``auto``: as large as the model can use; ``full``: as the endpoint accepts; ``economy``: as small as is useful."""

_PATCH_PIXELS = 32
_TILE_PIXELS, _TILE_TOKENS, _MAX_TILES_PER_SIDE = 560, 1601, 2
_SMALL_TILE_PIXELS, _SHORT_SIDE_PIXELS, _FIT_PIXELS = 512, 768, 2048
_MAX_SMALL_TILES = 8
"""Maximum number of 512-pixel tiles: four along 2048 pixels, two along 768."""
_SMALLEST_PATCH_PIXELS = 14
"""Side of the smallest patch that any known encoder turns into a token."""


class Patches(StrictModel):
    """Patches of 32 pixels: at most ``budget`` of an image that is first scaled to fit into ``side`` pixels."""

    side: int
    budget: int | None = None


class Vision(StrictModel):
    """The image inputs of a model.

    ``tokens`` names the formula: ``tiles560`` (Together's docs), ``patches`` and ``tiles512`` (OpenAI's), ``unknown``
    if none is published; then only bounds are known.
    """

    tokens: Literal["tiles560", "patches", "tiles512", "unknown"] = "unknown"
    high: Patches | None = Field(default=None, description="patches at full detail")
    low: Patches | None = Field(default=None, description="patches at low detail")
    multiplier: float = Field(default=1.0, description="tokens per patch")
    base: int = Field(default=0, description="tokens of an image in addition to its tiles")
    per_tile: int = Field(default=0, description="tokens of a tile of 512 pixels")
    formats: frozenset[str] = frozenset({"jpeg", "png", "webp", "gif"})
    max_bytes: int = Field(default=20_000_000, description="maximum number of bytes of one image")
    max_request: int = Field(
        default=90_000_000, description="maximum number of bytes of all images of a request, in base64"
    )
    max_pixels: int | None = None
    max_pictures: int = 10
    takes_urls: bool = True
    detail: bool = Field(default=False, description="accepts the detail field")
    auto_side: int = Field(default=2048, description="longest side the model can use")
    economy_side: int = Field(default=768, description="smallest longest side that still shows the content")
    video: bool = Field(default=False, description="accepts video_url")

    def image_limits(self, images: int = 1) -> ImageLimits:
        """The limits for each image of a request with this many images."""
        share = self.max_request * 3 // 4 // max(images, 1)
        return ImageLimits(self.formats, min(self.max_bytes, share), self.max_pixels)

    def max_side(self, detail: Detail) -> int | None:
        """Maximum longest side of an image, in pixels; None for its full size."""
        return {"auto": self.auto_side, "economy": self.economy_side, "full": None}[detail]

    def estimate_tokens(self, width: int, height: int, detail: Detail = "auto") -> tuple[int, int]:
        """The minimum and the maximum number of tokens of an image as it is sent.

        If the docs disagree, these are the lower and the higher number; if no formula is published, they are the
        numbers of patches of 32 and of 14 pixels (an estimate).
        """
        if self.tokens == "tiles560":
            return _count_tiles560_tokens(width, height)
        if self.tokens == "patches":
            chosen = self.low if detail == "economy" and self.detail and self.low else self.high
            count = _count_patch_tokens(width, height, chosen or Patches(side=_FIT_PIXELS), self.multiplier)
            return max(count - 1, 1), count + 1
        if self.tokens == "tiles512":
            if detail == "economy" and self.detail:
                return self.base, self.base
            low, high = (_count_tiles512(width, height, enlarge=enlarge) for enlarge in (False, True))
            return self.base + low * self.per_tile, self.base + max(low, high) * self.per_tile
        return (
            math.ceil(width / _PATCH_PIXELS) * math.ceil(height / _PATCH_PIXELS),
            math.ceil(width / _SMALLEST_PATCH_PIXELS) * math.ceil(height / _SMALLEST_PATCH_PIXELS),
        )

    def max_tokens(self, detail: Detail) -> int:
        """Maximum number of tokens of an image of unknown size, which the provider fetches itself."""
        if self.tokens == "tiles512":
            return self.base + _MAX_SMALL_TILES * self.per_tile
        side = self.max_side(detail) or 2 * self.auto_side
        return max(self.estimate_tokens(side, side, detail)[1], self.estimate_tokens(2 * side, side, detail)[1])


def _count_tiles560_tokens(width: int, height: int) -> tuple[int, int]:
    """Tokens for tiles of 560 pixels, at most two by two: Together's code rounds down, its table rounds up."""
    down = min(_MAX_TILES_PER_SIDE, max(width // _TILE_PIXELS, 1)) * min(
        _MAX_TILES_PER_SIDE, max(height // _TILE_PIXELS, 1)
    )
    up = min(_MAX_TILES_PER_SIDE, max(1, -(-width // _TILE_PIXELS))) * min(
        _MAX_TILES_PER_SIDE, max(1, -(-height // _TILE_PIXELS))
    )
    return down * _TILE_TOKENS, up * _TILE_TOKENS


def _count_patch_tokens(width: int, height: int, bound: Patches, multiplier: float) -> int:
    """Tokens of OpenAI's patch models: the image is scaled to fit the side, then until whole patches fit the budget."""
    scale = min(1.0, bound.side / max(width, height))
    w, h = max(1, round(width * scale)), max(1, round(height * scale))
    count = -(-w // _PATCH_PIXELS) * -(-h // _PATCH_PIXELS)
    if bound.budget is not None and count > bound.budget:
        r = math.sqrt(_PATCH_PIXELS * _PATCH_PIXELS * bound.budget / (w * h))
        across, down = w * r / _PATCH_PIXELS, h * r / _PATCH_PIXELS
        a = r * min(max(math.floor(across), 1) / across, max(math.floor(down), 1) / down)
        w, h = max(1, math.floor(w * a)), max(1, math.floor(h * a))
        count = -(-w // _PATCH_PIXELS) * -(-h // _PATCH_PIXELS)
    return math.ceil(round(count * multiplier, 6))


def _count_tiles512(width: int, height: int, *, enlarge: bool) -> int:
    """Tiles of 512 of OpenAI's tile models: scaled to fit 2048, the short side to 768 (older guides enlarge, too)."""
    scale = min(1.0, _FIT_PIXELS / max(width, height))
    w, h = width * scale, height * scale
    short = min(w, h)
    if short > _SHORT_SIDE_PIXELS or enlarge:
        scale = min(_SHORT_SIDE_PIXELS / short, _FIT_PIXELS / max(w, h))
        w, h = w * scale, h * scale
    return math.ceil(round(w, 6) / _SMALL_TILE_PIXELS) * math.ceil(round(h, 6) / _SMALL_TILE_PIXELS)
