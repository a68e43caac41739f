"""Columns are read one after the other, tables row by row, and lines in the direction of their page."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mediamill.tasks.local.ocr.base import PageText, TextLine, join_lines
from mediamill.tasks.local.ocr.page_angle import measure_line_angle, order_corners, turn_upright
from mediamill.tasks.local.ocr.reading_order import Box, order_lines

_HEIGHT = 20


def line(number: int, left: float, row: float, width: float) -> Box:
    top = row * 30.0
    return Box(number, left, top, left + width, top + _HEIGHT)


def read(boxes: list[Box]) -> list[int]:
    return [each.index for each in order_lines(boxes)]


def test_columns_below_a_heading_are_read_one_after_the_other() -> None:
    heading, footer = line(0, 0, 0, 800), line(9, 0, 6, 800)
    left = [line(1 + n, 0, 1 + n, 380) for n in range(4)]
    right = [line(5 + n, 420, 1 + n, 380) for n in range(4)]
    mixed = [footer, *(box for pair in zip(right, left, strict=True) for box in pair), heading]
    assert read(mixed) == list(range(10))
    assert [each.block for each in order_lines(mixed)] == [0, 1, 1, 1, 1, 2, 2, 2, 2, 3]


def test_a_table_is_read_row_by_row() -> None:
    cells = [line(3 * row + column, 200 * column, row, 90) for row in range(5) for column in range(3)]
    assert read(cells[::-1]) == list(range(15))
    assert [each.row for each in order_lines(cells)] == [row for row in range(5) for _ in range(3)]
    assert {each.block for each in order_lines(cells)} == {0}


def test_a_long_table_takes_no_longer_by_its_square() -> None:
    cells = [line(2 * row + column, 300 * column, row, 90) for row in range(500) for column in range(2)]
    assert read(cells) == list(range(1000))


@pytest.mark.parametrize("angle", [0.0, 4.0, -30.0, 89.0, 90.0, -60.0])
def test_a_pages_direction_is_that_of_its_lines(angle: float) -> None:
    flat = np.array([[(0, y), (300, y), (300, y + 20), (0, y + 20)] for y in range(0, 200, 40)], dtype=np.float32)
    turned = turn_upright(flat, -angle)
    rolled = np.roll(turned, 1, axis=1)  # a detector begins at any corner
    assert math.isclose(measure_line_angle(rolled), angle, abs_tol=0.01)
    assert np.allclose(order_corners(rolled, angle), turned)


def test_rows_and_blocks_become_lines_and_empty_lines() -> None:
    corners = ((0, 0), (1, 0), (1, 1), (0, 1))
    parts = (("a", 0, 0), ("b", 0, 0), ("c", 1, 0), ("d", 2, 1))
    page = PageText(9, 9, 0.0, tuple(TextLine(text, 1.0, corners, row, block) for text, row, block in parts))
    assert join_lines(page.lines) == "a b\nc\n\nd"
