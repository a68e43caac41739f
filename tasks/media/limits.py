"""What media an endpoint takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """What audio an endpoint takes: containers by name (``wav``, ``mp3`` ...), bytes, seconds."""

    formats: frozenset[str]
    max_bytes: int
    max_seconds: float | None = None
    takes_urls: bool = False
