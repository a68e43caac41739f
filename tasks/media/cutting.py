"""What is wished for where a recording is too long to go whole."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cutting:
    """How a recording is made ready.

    Attributes:
        seconds: longest piece asked for; None leaves it to what the endpoint takes.
        overlap: seconds neighbouring pieces share.
        keep_whole: cut only what cannot go whole, and then as little as possible.
        normalize, trim: shape short clips first.
    """

    seconds: float | None = None
    overlap: float = 0.0
    keep_whole: bool = False
    normalize: bool = False
    trim: bool = False


@dataclass(frozen=True, slots=True)
class Cuts:
    """Where a recording was cut, in samples at 16 kHz; its length once it is known."""

    points: tuple[int, ...] = ()
    length: int | None = None
