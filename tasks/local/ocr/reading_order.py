"""The order in which lines are read: columns one after the other, rows from above, and tables row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

_MIN_GUTTER_HEIGHTS = 0.8
"""How wide the gap between two columns is at least, in line heights."""
_MIN_COLUMN_HEIGHTS = 8.0
"""How wide the lines of a column are: what is narrower are a table's cells, which are read row by row."""
_MIN_COLUMN_LINES = 2
_MIN_LINES = 6
"""So many lines, in all columns, are enough to see columns in them."""
_MIN_SAME_ROW = 0.5
"""Share of the lower box's height by which two boxes of one row overlap."""
_MIN_SAME_BLOCK = 0.5
"""Share of the shorter column's height by which two columns stand beside each other."""


@dataclass(frozen=True, slots=True)
class Box:
    """Where a line is on the upright page, in pixels; ``index`` is its place in what the caller has."""

    index: int
    left: float
    top: float
    right: float
    bottom: float

    @property
    def height(self) -> float:
        """In pixels."""
        return self.bottom - self.top


@dataclass(frozen=True, slots=True)
class Placed:
    """A line's place in the order: its index, its row and its block, each counted from 0 over the page."""

    index: int
    row: int
    block: int


def order_lines(boxes: Sequence[Box]) -> list[Placed]:
    """All lines in the order in which they are read."""
    placed: list[Placed] = []
    row = 0
    for number, block in enumerate(_split_blocks(list(boxes))):
        for line in _group_rows(block):
            placed += [Placed(box.index, row, number) for box in line]
            row += 1
    return placed


def _split_blocks(boxes: list[Box]) -> list[list[Box]]:
    """Blocks in reading order: where there are no columns, all of it is one."""
    if len(boxes) < _MIN_LINES:
        return [boxes] if boxes else []
    columns = _split_columns(boxes)
    if columns is not None:
        return [block for column in columns for block in _split_blocks(column)]
    # A heading, a wide picture's caption or a footer may hide the columns: look for them between rows.
    rows = _group_rows(boxes)
    first, last = _find_columns_between(rows)
    if last <= first:
        return [boxes]
    above, below = _join_rows(rows[:first]), _join_rows(rows[last:])
    return [*([above] if above else []), *_split_blocks(_join_rows(rows[first:last])), *_split_blocks(below)]


def _find_columns_between(rows: Sequence[list[Box]]) -> tuple[int, int]:
    """The first and the last of the rows, counted from above, that stand in columns; (0, 0) where none do."""
    first = 0
    while first < len(rows):
        # Enough rows for a column; then as many more as keep to its gutter.
        last = first + _MIN_COLUMN_LINES
        found = 0
        while last <= len(rows) and _find_gutters(_join_rows(rows[first:last])):
            found, last = last, last + 1
        if found and _split_columns(_join_rows(rows[first:found])) is not None:
            return first, found
        first = max(first + 1, found - _MIN_COLUMN_LINES)  # the rows between have the same gutters
    return 0, 0


def _split_columns(boxes: list[Box]) -> list[list[Box]] | None:
    """The boxes left and right of a gutter that runs from top to bottom; None where there is none."""
    for gutter in _find_gutters(boxes):
        sides = [box for box in boxes if box.right <= gutter], [box for box in boxes if box.right > gutter]
        if _are_columns(*sides):
            return list(sides)
    return None


def _are_columns(left: Sequence[Box], right: Sequence[Box]) -> bool:
    """Whether both sides are as wide as text, and stand beside each other."""
    sides = left, right
    if min(map(len, sides)) < _MIN_COLUMN_LINES:
        return False
    if any(_measure_width(side) < _MIN_COLUMN_HEIGHTS * median(box.height for box in side) for side in sides):
        return False
    tops, bottoms = (
        [min(box.top for box in side) for side in sides],
        [max(box.bottom for box in side) for side in sides],
    )
    shorter = min(bottom - top for bottom, top in zip(bottoms, tops, strict=True))
    return min(bottoms) - max(tops) >= _MIN_SAME_BLOCK * shorter


def _measure_width(boxes: Sequence[Box]) -> float:
    """Median width of the rows, each from its first to its last box."""
    return median(row[-1].right - row[0].left for row in _group_rows(boxes))


def _find_gutters(boxes: Sequence[Box]) -> list[float]:
    """The left edges of the gaps that no box crosses and that are wide enough, the widest first."""
    min_width = _MIN_GUTTER_HEIGHTS * median(box.height for box in boxes)
    gaps: list[tuple[float, float]] = []
    in_order = sorted(boxes, key=lambda each: each.left)
    reached = in_order[0].right
    for box in in_order:
        if box.left - reached >= min_width:
            gaps.append((box.left - reached, reached))
        reached = max(reached, box.right)
    return [edge for _, edge in sorted(gaps, reverse=True)]


def _group_rows(boxes: Sequence[Box]) -> list[list[Box]]:
    """Boxes beside each other, from the left; the rows from above."""
    rows: list[list[Box]] = []
    for box in sorted(boxes, key=lambda each: (each.top + each.bottom) / 2):
        if rows and _share_row(rows[-1], box):
            rows[-1].append(box)
        else:
            rows.append([box])
    return [sorted(row, key=lambda each: each.left) for row in rows]


def _share_row(row: Sequence[Box], box: Box) -> bool:
    top, bottom = median(each.top for each in row), median(each.bottom for each in row)
    overlap = min(bottom, box.bottom) - max(top, box.top)
    is_beside = all(box.left >= each.right or box.right <= each.left or _is_sliver(box, each) for each in row)
    return is_beside and overlap >= _MIN_SAME_ROW * min(bottom - top, box.height)


def _is_sliver(box: Box, other: Box) -> bool:
    """Boxes are drawn generously: neighbours may overlap by part of a letter."""
    return min(box.right, other.right) - max(box.left, other.left) < min(box.height, other.height)


def _join_rows(rows: Sequence[list[Box]]) -> list[Box]:
    return [box for row in rows for box in row]
