"""What is read in a picture: lines of text, where they are, and how sure the model is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Quads: TypeAlias = npt.NDArray[np.float32]
    """Corners of boxes in pixels, y downwards: (boxes, 4, 2)."""


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line of text, or the part of it in one column or table cell.

    Attributes:
        confidence: from 0 to 1, the mean over its characters.
        corners: x and y in pixels, clockwise as the text is read: from where it begins, above.
        row: lines beside each other share a row; from 0.
        block: a column, or what stands above, below or between columns; from 0.
    """

    text: str
    confidence: float
    corners: tuple[tuple[int, int], ...]
    row: int
    block: int


@dataclass(frozen=True, slots=True)
class PageText:
    """All lines of a picture in reading order.

    Attributes:
        width, height: of the picture in pixels; the corners are in it.
        angle: by how many degrees clockwise its text is turned, from -180 to 180; None where there is no text.
    """

    width: int
    height: int
    angle: float | None
    lines: tuple[TextLine, ...]


def join_lines(lines: tuple[TextLine, ...]) -> str:
    """The text: rows are lines, and blocks have an empty line between them."""
    text = ""
    for before, line in zip((None, *lines), lines, strict=False):
        if before is not None:
            text += "\n\n" if line.block != before.block else "\n" if line.row != before.row else " "
        text += line.text
    return text
