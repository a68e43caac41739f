"""What pictures an endpoint takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PictureLimits:
    """Formats by name (``jpeg``, ``png``, ``webp``, ``gif``), most bytes and pixels of one picture."""

    formats: frozenset[str] = frozenset({"jpeg", "png", "webp", "gif"})
    max_bytes: int = 20_000_000
    max_pixels: int | None = None
