"""Long pages are cut into bands, and each line is found once however it lies across the cuts."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mediamill.tasks.local.ocr.bands import MAX_LENGTH, Band, cut_bands, fit_scale, merge_bands
from tests.helpers.integration import require_integration

if TYPE_CHECKING:
    from mediamill.tasks.local.ocr.base import Quads

require_integration("cv2")
_SIDE = 2048


def box(left: float, top: float, right: float, bottom: float) -> Quads:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], dtype=np.float32)


def see(bands: list[Band], lines: list[Quads]) -> list[Quads]:
    """What a perfect detector finds in each band: of each line what is in it."""
    found = []
    for band in bands:
        parts = []
        for line in lines:
            part = line.copy()
            part[:, band.axis] = part[:, band.axis].clip(band.start, band.stop)
            if np.ptp(part[:, band.axis]) > 3:
                parts.append(part)
        found.append(np.array(parts, dtype=np.float32).reshape(-1, 4, 2))
    return found


@pytest.mark.parametrize(("width", "height"), [(900, 7900), (7900, 900), (60, 30_000), (1448, 2300), (2048, 1448)])
def test_bands_cover_the_page_and_overlap(width: int, height: int) -> None:
    bands = cut_bands(width, height, _SIDE)
    assert (bands[0].start, bands[-1].stop) == (0, max(width, height))
    for before, after in pairwise(bands):
        assert before.stop - after.start >= 0.2 * (before.stop - before.start)
    assert (len(bands) == 1) == (max(width, height) <= _SIDE)


def test_paper_is_reduced_by_its_length_and_a_scroll_by_its_width() -> None:
    assert fit_scale(2480, 3508, _SIDE) == pytest.approx(3508 / _SIDE)
    assert fit_scale(3000, 3000, _SIDE) == pytest.approx(3000 / _SIDE)
    assert fit_scale(900, 7900, _SIDE) == 1
    assert fit_scale(2900, 20_000, _SIDE) == pytest.approx(2900 / 1448, rel=0.001)
    assert fit_scale(100, 64_000, _SIDE) == 64_000 / MAX_LENGTH


@pytest.mark.parametrize("offset", range(0, 40, 3))
def test_lines_across_a_long_page_are_found_once_and_whole(offset: int) -> None:
    bands = cut_bands(900, 7900, _SIDE)
    lines = [box(40, y, 700, y + 26) for y in range(20 + offset, 7850, 40)]
    merged = merge_bands(bands, see(bands, lines), (900, 7900))
    assert np.array_equal(sorted(merged.tolist()), sorted(np.array(lines).tolist()))


def test_lines_along_a_wide_page_are_joined_from_their_pieces() -> None:
    bands = cut_bands(7900, 900, _SIDE)
    lines = [box(40, y, 7000, y + 26) for y in range(20, 850, 40)]
    merged = merge_bands(bands, see(bands, lines), (7900, 900))
    assert len(merged) == len(lines)
    for quad in merged:
        assert (quad.min(axis=0)[0], quad.max(axis=0)[0]) == pytest.approx((40, 7000), abs=1)
        assert quad.max(axis=0)[1] - quad.min(axis=0)[1] == pytest.approx(26, abs=1)
