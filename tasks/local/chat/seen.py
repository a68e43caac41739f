"""What there is to say of a picture or a video."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Seen:
    """One picture or video. Sizes are in pixels as it is looked at, its orientation applied; ``size`` is in bytes.

    Attributes:
        brightness: 0 for black to 1 for white.
        colors: names of the most frequent, most frequent first.
        turned: it was stored on its side or head and is shown upright by its orientation.
        taken: when, as the camera wrote it.
        text: what was read in it.
    """

    kind: str
    sha256: str
    size: int
    format: str
    width: int
    height: int
    detail: str = "auto"
    colors: tuple[str, ...] = ()
    brightness: float = 0.0
    turned: bool = False
    camera: str | None = None
    taken: str | None = None
    text: str | None = None
    seconds: float | None = None
    frames: int | None = None
    fps: float | None = None
    ending: float | None = None
