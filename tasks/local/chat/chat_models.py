"""Models that answer prompts: what each dialect's can do, and how many tokens a prompt is counted as.

The count is the server's own, stated and repeatable; images are counted as the providers' documents have it.
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

_PER_MESSAGE = 4
_TILE = 560
_PATCH = 32
_MAX_PATCHES = 30_000
_USUAL = (2048, 1536)
_VIDEO_FRAMES = 16
_FINE = 1 << 40


@dataclass(frozen=True, slots=True)
class ImageTokenRule:
    """How a picture is counted (provider docs).

    Attributes:
        by: ``tiles560`` at most two by two of ``each``; ``tiles512`` of ``each`` above a ``base``; ``patches`` of 32
            pixels times ``multiplier``.
        details: longest side in pixels and most patches, by ``detail``; None for no such limit. ``auto`` is as
            ``original`` where that is told and ``auto`` is not, else as ``high``.
    """

    by: Literal["tiles560", "tiles512", "patches"] = "patches"
    base: int = 0
    each: int = 1601
    multiplier: str = "1"
    details: Mapping[str, tuple[int | None, int | None]] | None = None


@dataclass(frozen=True, slots=True)
class ServedChatModel:
    """A model: whether it sees, whether it thinks before it answers, how it counts pictures."""

    sees: bool = True
    thinks: bool = False
    counting: ImageTokenRule = ImageTokenRule()


def read_chat_models(known: Mapping[str, Mapping[str, Any]], named: Iterable[str]) -> dict[str, ServedChatModel]:
    """The models of a dialect as the configuration has them, and those that were named besides.

    Args:
        known: facts by model; those of ``*`` hold for every model that is only named.
        named: models of the server's options.
    """
    other = _read_chat_model(known.get("*") or {})
    listed = {name: _read_chat_model(facts or {}) for name, facts in known.items()}
    return {"*": other} | dict.fromkeys(named, other) | listed


def _read_chat_model(facts: Mapping[str, Any]) -> ServedChatModel:
    options = dict(facts)
    counting = {name: options.pop(name) for name in [f.name for f in fields(ImageTokenRule)] if name in options}
    if "details" in counting:
        counting["details"] = {name: (side, maximum) for name, (side, maximum) in counting["details"].items()}
    if "multiplier" in counting:
        counting["multiplier"] = str(counting["multiplier"])
    return ServedChatModel(counting=ImageTokenRule(**counting), **options)


def count_tokens(text: str) -> int:
    """A token for every four characters, at least one for any text."""
    return -(-len(text) // 4) if text else 0


def count_prompt_tokens(text: str, messages: int, seen: Sequence[VisualInput], counting: ImageTokenRule) -> int:
    """Of the words, of what surrounds each message, and of the pictures as the provider's documents count them.

    Raises:
        ApiError: for a picture that is too large to be counted.
    """
    return count_tokens(text) + _PER_MESSAGE * messages + sum(count_image_tokens(one, counting) for one in seen)


def count_image_tokens(seen: VisualInput, counting: ImageTokenRule) -> int:
    """A picture by its model's formula; a video as its first sixteen frames.

    Raises:
        ApiError: above 30,000 patches (provider docs).
    """
    if counting.by == "tiles560":
        each = _count_tiles_of_560(seen.width, seen.height, counting.each)
    elif counting.by == "tiles512":
        each = counting.base + counting.each * _count_tiles_of_512(seen.width, seen.height, seen.detail)
    else:
        patches = _count_patches(seen.width, seen.height, *_find_bounds(counting, seen.detail))
        each = int((patches * Decimal(counting.multiplier)).to_integral_value(ROUND_CEILING))
    return each * min(_VIDEO_FRAMES, seen.frames or 1) if seen.kind == "video" else each


def _count_tiles_of_560(width: int, height: int, each: int) -> int:
    """Whole tiles of 560 pixels, one or two each way."""
    return min(2, max(1, width // _TILE)) * min(2, max(1, height // _TILE)) * each


def _count_tiles_of_512(width: int, height: int, detail: str) -> int:
    """None at low detail; else fitted into 2048 by 2048, its shorter side to 768, never enlarged."""
    if detail == "low":
        return 0
    wide, high = _fit_longest_side(Fraction(width), Fraction(height), 2048)
    if min(wide, high) > 768:  # noqa: PLR2004
        scale = 768 / min(wide, high)
        wide, high = wide * scale, high * scale
    return ceil(round(wide) / 512) * ceil(round(high) / 512)


def _count_patches(width: int, height: int, side: int | None, budget: int | None) -> int:
    wide, high = (round(length) for length in _fit_longest_side(Fraction(width), Fraction(height), side))
    count = ceil(wide / _PATCH) * ceil(high / _PATCH)
    if budget is not None and count > budget:
        wide, high = _shrink_to_budget(wide, high, budget)
        count = max(1, ceil(wide / _PATCH) * ceil(high / _PATCH))
    if count > _MAX_PATCHES:
        raise ApiError("bad_picture", f"the image has {count} patches, more than {_MAX_PATCHES}", param="messages")
    return count


def _shrink_to_budget(wide: int, high: int, budget: int) -> tuple[int, int]:
    """As small as keeps within the budget, then down to a whole patch one way."""
    root = Fraction(isqrt(_PATCH * _PATCH * budget * _FINE * _FINE // (wide * high)), _FINE)
    across, down = wide * root / _PATCH, high * root / _PATCH
    scale = root * min(Fraction(max(1, floor(across))) / across, Fraction(max(1, floor(down))) / down)
    return max(1, floor(wide * scale)), max(1, floor(high * scale))


def _fit_longest_side(width: Fraction, height: Fraction, side: int | None) -> tuple[Fraction, Fraction]:
    longest = max(width, height)
    if side is None or longest <= side:
        return width, height
    return max(Fraction(1), width * side / longest), max(Fraction(1), height * side / longest)


def _find_bounds(counting: ImageTokenRule, detail: str) -> tuple[int | None, int | None]:
    known = counting.details or {}
    if detail == "auto" and "auto" not in known:
        detail = "original" if "original" in known and "high" not in known else "high"
    return known.get(detail) or known.get("high") or _USUAL
