"""How many tokens a prompt and an answer are counted as: the server's own reckoning, stated and repeatable."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal
from fractions import Fraction
from math import ceil, floor, isqrt

from mediamill.tasks.local.chat.chat_models import Counting
from mediamill.tasks.local.chat.seen import Seen
from mediamill.tasks.local.server.api_error import Refusal

_PER_MESSAGE = 4
_TILE = 560
_PATCH = 32
_MOST_PATCHES = 30_000
_USUAL = (2048, 1536)
_VIDEO_FRAMES = 16
_FINE = 1 << 40


def tokens_of(text: str) -> int:
    """A token for every four characters, at least one for any text."""
    return -(-len(text) // 4) if text else 0


def prompt_tokens(text: str, messages: int, seen: Sequence[Seen], counting: Counting) -> int:
    """Of the words, of what surrounds each message, and of the pictures as the provider's documents count them.

    Raises:
        Refusal: for a picture that is too large to be counted.
    """
    return tokens_of(text) + _PER_MESSAGE * messages + sum(picture_tokens(one, counting) for one in seen)


def picture_tokens(seen: Seen, counting: Counting) -> int:
    """A picture by its model's formula; a video as its first sixteen frames.

    Raises:
        Refusal: above 30,000 patches (provider docs).
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
    if count > _MOST_PATCHES:
        raise Refusal("bad_picture", f"the image has {count} patches, more than {_MOST_PATCHES}", param="messages")
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
