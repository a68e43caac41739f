"""Chat models: what those of each dialect can do, and how a prompt's tokens are counted.

Text is counted by the server's own fixed rule; images are counted by the providers' documented rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import ROUND_CEILING, Decimal
from fractions import Fraction
from math import ceil, floor, isqrt
from typing import TYPE_CHECKING, Any, Literal

from mediamill.tasks.local.server.api_error import ApiError

if TYPE_CHECKING:
    from mediamill.tasks.local.chat.visual_inputs import VisualInput

_TOKENS_PER_MESSAGE = 4
_TILE_PIXELS = 560
_PATCH_PIXELS = 32
_MAX_PATCHES = 30_000
_DEFAULT_BOUNDS = (2048, 1536)
_VIDEO_FRAMES = 16
_ROOT_PRECISION = 1 << 40


@dataclass(frozen=True, slots=True)
class ImageTokenRule:
    """How an image's tokens are counted (provider docs).

    Attributes:
        by: ``tiles560``: at most two by two tiles of ``each`` tokens; ``tiles512``: tiles of ``each`` tokens and a
            ``base``; ``patches``: patches of 32 pixels times ``multiplier``.
        details: maximum side in pixels and maximum patches, by ``detail``; None for no such limit. ``auto`` is like
            ``original`` when that is given and neither ``auto`` nor ``high`` is, else like ``high``.
    """

    by: Literal["tiles560", "tiles512", "patches"] = "patches"
    base: int = 0
    each: int = 1601
    multiplier: str = "1"
    details: Mapping[str, tuple[int | None, int | None]] | None = None


@dataclass(frozen=True, slots=True)
class ServedChatModel:
    """A chat model: whether it accepts images, whether it reasons, how it counts images."""

    sees: bool = True
    thinks: bool = False
    image_token_rule: ImageTokenRule = ImageTokenRule()


def read_chat_models(known: Mapping[str, Mapping[str, Any]], named: Iterable[str]) -> dict[str, ServedChatModel]:
    """The models of a dialect from the configuration, and those that the server's options name.

    Args:
        known: configuration by model; that of ``*`` holds for every model that is only named.
        named: models of the server's options.
    """
    other = _read_chat_model(known.get("*") or {})
    listed = {name: _read_chat_model(facts or {}) for name, facts in known.items()}
    return {"*": other} | dict.fromkeys(named, other) | listed


def _read_chat_model(params: Mapping[str, Any]) -> ServedChatModel:
    options = dict(params)
    rule = {name: options.pop(name) for name in [f.name for f in fields(ImageTokenRule)] if name in options}
    if "details" in rule:
        rule["details"] = {name: (side, maximum) for name, (side, maximum) in rule["details"].items()}
    if "multiplier" in rule:
        rule["multiplier"] = str(rule["multiplier"])
    return ServedChatModel(image_token_rule=ImageTokenRule(**rule), **options)


def count_tokens(text: str) -> int:
    """A token for every four characters, rounded up."""
    return -(-len(text) // 4) if text else 0


def count_prompt_tokens(text: str, messages: int, inputs: Sequence[VisualInput], rule: ImageTokenRule) -> int:
    """Count a prompt's tokens: its text, four for each message, and its images by the provider's rule.

    Raises:
        ApiError: for an image that is too large to be counted.
    """
    return count_tokens(text) + _TOKENS_PER_MESSAGE * messages + sum(count_image_tokens(one, rule) for one in inputs)


def count_image_tokens(image: VisualInput, rule: ImageTokenRule) -> int:
    """Count the tokens of an image by its model's rule, and of a video as those of at most sixteen frames.

    Raises:
        ApiError: above 30,000 patches (provider docs).
    """
    if rule.by == "tiles560":
        each = _count_tiles_of_560(image.width, image.height, rule.each)
    elif rule.by == "tiles512":
        each = rule.base + rule.each * _count_tiles_of_512(image.width, image.height, image.detail)
    else:
        patches = _count_patches(image.width, image.height, *_find_bounds(rule, image.detail))
        each = int((patches * Decimal(rule.multiplier)).to_integral_value(ROUND_CEILING))
    return each * min(_VIDEO_FRAMES, image.frames or 1) if image.kind == "video" else each


def _count_tiles_of_560(width: int, height: int, each: int) -> int:
    """Tokens of the whole tiles of 560 pixels: one or two tiles each way."""
    return min(2, max(1, width // _TILE_PIXELS)) * min(2, max(1, height // _TILE_PIXELS)) * each


def _count_tiles_of_512(width: int, height: int, detail: str) -> int:
    """Number of tiles: 0 at low detail; else fitted into 2048 by 2048, its shorter side to 768, never enlarged."""
    if detail == "low":
        return 0
    wide, high = _fit_longest_side(Fraction(width), Fraction(height), 2048)
    if min(wide, high) > 768:  # noqa: PLR2004
        scale = 768 / min(wide, high)
        wide, high = wide * scale, high * scale
    return ceil(round(wide) / 512) * ceil(round(high) / 512)


def _count_patches(width: int, height: int, max_side: int | None, max_patches: int | None) -> int:
    wide, high = (round(length) for length in _fit_longest_side(Fraction(width), Fraction(height), max_side))
    count = ceil(wide / _PATCH_PIXELS) * ceil(high / _PATCH_PIXELS)
    if max_patches is not None and count > max_patches:
        wide, high = _shrink_to_budget(wide, high, max_patches)
        count = max(1, ceil(wide / _PATCH_PIXELS) * ceil(high / _PATCH_PIXELS))
    if count > _MAX_PATCHES:
        raise ApiError("bad_image", f"the image has {count} patches, more than {_MAX_PATCHES}", param="messages")
    return count


def _shrink_to_budget(wide: int, high: int, max_patches: int) -> tuple[int, int]:
    """Shrink to at most ``max_patches`` patches, and further to a whole number of patches one way."""
    root = Fraction(
        isqrt(_PATCH_PIXELS * _PATCH_PIXELS * max_patches * _ROOT_PRECISION * _ROOT_PRECISION // (wide * high)),
        _ROOT_PRECISION,
    )
    across, down = wide * root / _PATCH_PIXELS, high * root / _PATCH_PIXELS
    scale = root * min(Fraction(max(1, floor(across))) / across, Fraction(max(1, floor(down))) / down)
    return max(1, floor(wide * scale)), max(1, floor(high * scale))


def _fit_longest_side(width: Fraction, height: Fraction, max_side: int | None) -> tuple[Fraction, Fraction]:
    longest = max(width, height)
    if max_side is None or longest <= max_side:
        return width, height
    return max(Fraction(1), width * max_side / longest), max(Fraction(1), height * max_side / longest)


def _find_bounds(rule: ImageTokenRule, detail: str) -> tuple[int | None, int | None]:
    known = rule.details or {}
    if detail == "auto" and "auto" not in known:
        detail = "original" if "original" in known and "high" not in known else "high"
    return known.get(detail) or known.get("high") or _DEFAULT_BOUNDS
