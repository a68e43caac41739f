"""What pictures an endpoint takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PictureLimits:
    """Formats by name (``jpeg``, ``png``, ``webp``, ``gif``), most bytes and pixels of one picture.

    ``longest`` is the longest side in pixels that the model makes use of; None for any.
    """

    formats: frozenset[str] = frozenset({"jpeg", "png", "webp", "gif"})
    max_bytes: int = 20_000_000
    max_pixels: int | None = None
    longest: int | None = None
