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
class Counting:
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
class ChatModel:
    """A model: whether it sees, whether it thinks before it answers, how it counts pictures."""

    sees: bool = True
    thinks: bool = False
    counting: Counting = Counting()


def read_models(known: Mapping[str, Mapping[str, Any]], named: Iterable[str]) -> dict[str, ChatModel]:
    """The models of a dialect as the configuration has them, and those that were named besides.

    Args:
        known: facts by model; those of ``*`` hold for every model that is only named.
        named: models of the server's options.
    """
    other = _model(known.get("*") or {})
    listed = {name: _model(facts or {}) for name, facts in known.items()}
    return {"*": other} | dict.fromkeys(named, other) | listed


def _model(facts: Mapping[str, Any]) -> ChatModel:
    options = dict(facts)
    counting = {name: options.pop(name) for name in [f.name for f in fields(Counting)] if name in options}
    if "details" in counting:
        counting["details"] = {name: (side, maximum) for name, (side, maximum) in counting["details"].items()}
    if "multiplier" in counting:
        counting["multiplier"] = str(counting["multiplier"])
    return ChatModel(counting=Counting(**counting), **options)


def tokens_of(text: str) -> int:
    """A token for every four characters, at least one for any text."""
    return -(-len(text) // 4) if text else 0


def prompt_tokens(text: str, messages: int, seen: Sequence[VisualInput], counting: Counting) -> int:
    """Of the words, of what surrounds each message, and of the pictures as the provider's documents count them.

    Raises:
        ApiError: for a picture that is too large to be counted.
    """
    return tokens_of(text) + _PER_MESSAGE * messages + sum(picture_tokens(one, counting) for one in seen)


def picture_tokens(seen: VisualInput, counting: Counting) -> int:
    """A picture by its model's formula; a video as its first sixteen frames.

    Raises:
        ApiError: above 30,000 patches (provider docs).
    """
    if counting.by == "tiles560":
        each = _tiles560(seen.width, seen.height, counting.each)
    elif counting.by == "tiles512":
        each = counting.base + counting.each * _tiles512(seen.width, seen.height, seen.detail)
    else:
        patches = _patches(seen.width, seen.height, *_bounds(counting, seen.detail))
        each = int((patches * Decimal(counting.multiplier)).to_integral_value(ROUND_CEILING))
    return each * min(_VIDEO_FRAMES, seen.frames or 1) if seen.kind == "video" else each


def _tiles560(width: int, height: int, each: int) -> int:
    """Whole tiles of 560 pixels, one or two each way."""
    return min(2, max(1, width // _TILE)) * min(2, max(1, height // _TILE)) * each


def _tiles512(width: int, height: int, detail: str) -> int:
    """None at low detail; else fitted into 2048 by 2048, its shorter side to 768, never enlarged."""
    if detail == "low":
        return 0
    wide, high = _fitted(Fraction(width), Fraction(height), 2048)
    if min(wide, high) > 768:  # noqa: PLR2004
        scale = 768 / min(wide, high)
        wide, high = wide * scale, high * scale
    return ceil(round(wide) / 512) * ceil(round(high) / 512)


def _patches(width: int, height: int, side: int | None, budget: int | None) -> int:
    wide, high = (round(length) for length in _fitted(Fraction(width), Fraction(height), side))
    count = ceil(wide / _PATCH) * ceil(high / _PATCH)
    if budget is not None and count > budget:
        wide, high = _shrunk(wide, high, budget)
        count = max(1, ceil(wide / _PATCH) * ceil(high / _PATCH))
    if count > _MAX_PATCHES:
        raise ApiError("bad_picture", f"the image has {count} patches, more than {_MAX_PATCHES}", param="messages")
    return count


def _shrunk(wide: int, high: int, budget: int) -> tuple[int, int]:
    """As small as keeps within the budget, then down to a whole patch one way."""
    root = Fraction(isqrt(_PATCH * _PATCH * budget * _FINE * _FINE // (wide * high)), _FINE)
    across, down = wide * root / _PATCH, high * root / _PATCH
    scale = root * min(Fraction(max(1, floor(across))) / across, Fraction(max(1, floor(down))) / down)
    return max(1, floor(wide * scale)), max(1, floor(high * scale))


def _fitted(width: Fraction, height: Fraction, side: int | None) -> tuple[Fraction, Fraction]:
    longest = max(width, height)
    if side is None or longest <= side:
        return width, height
    return max(Fraction(1), width * side / longest), max(Fraction(1), height * side / longest)


def _bounds(counting: Counting, detail: str) -> tuple[int | None, int | None]:
    known = counting.details or {}
    if detail == "auto" and "auto" not in known:
        detail = "original" if "original" in known and "high" not in known else "high"
    return known.get(detail) or known.get("high") or _USUAL
