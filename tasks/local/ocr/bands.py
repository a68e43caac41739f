"""Long and wide pages: lines are looked for in overlapping bands, whose boxes are then joined on the whole page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mediamill.tasks.local.ocr.base import Quads

MAX_LENGTH = 32_000
"""Longest side of a page in pixels: OpenCV's limit is 32,767."""
_PAGE_ASPECT = math.sqrt(2)
"""That of paper: so much longer than wide is a band, as the models are used to."""
_LONG_ASPECT = 1.7
"""That of sheets ends here (legal is 1.65): what is longer is a scroll."""
_MIN_BAND = 1280
_OVERLAP = 0.25
"""Share of a band that the next one repeats: more than a line's height, also on a page that lies askew."""
_NEAR_EDGE = 12
"""A box so near to where the page was cut, in pixels, may be part of a line."""
_MIN_SHARED = 0.5
"""Share of a box that others cover, from which on they are the same text."""


@dataclass(frozen=True, slots=True)
class Band:
    """Part of a page, from ``start`` to ``stop`` in pixels along its longer side; ``axis`` is 0 for x, 1 for y."""

    axis: int
    start: int
    stop: int


def fit_scale(width: int, height: int, max_side: int) -> float:
    """By how much a page is reduced to be read: to ``max_side``, and a longer one to the width of paper of that length.

    Returns:
        At least 1.
    """
    long, short = max(width, height), min(width, height)
    if long <= _LONG_ASPECT * short:
        return max(1.0, long / max_side)
    return max(1.0, min(long / max_side, short / (max_side / _PAGE_ASPECT)), long / MAX_LENGTH)


def cut_bands(width: int, height: int, max_side: int) -> list[Band]:
    """Bands of one length over the longer side: one for a page that is not longer than ``max_side``."""
    long, short = max(width, height), min(width, height)
    axis = 1 if height >= width else 0
    if long <= max_side:
        return [Band(axis, 0, long)]
    length = min(max(round(short * _PAGE_ASPECT), _MIN_BAND), max_side)
    count = max(1, math.ceil((long - _OVERLAP * length) / (length * (1 - _OVERLAP))))
    starts = [round(number * (long - length) / max(count - 1, 1)) for number in range(count)]
    return [Band(axis, start, min(start + length, long)) for start in starts]


@dataclass(slots=True)
class _Found:
    """A box, and the first and last of the bands that it was seen in; whether the page was cut at its ends."""

    quad: Quads
    first: int
    last: int
    is_cut_before: bool
    is_cut_after: bool

    @property
    def cuts(self) -> int:
        return self.is_cut_before + self.is_cut_after


def merge_bands(bands: Sequence[Band], quads: Sequence[Quads], shape: tuple[int, int]) -> Quads:
    """The boxes of all bands, each line once: pieces that two bands have of a line become one box.

    Args:
        bands: in order, each overlapping the next.
        quads: the boxes of each band, in pixels of the whole page.
        shape: the page's width and height.

    Returns:
        Boxes in no order.
    """
    import numpy as np

    end = shape[bands[0].axis]
    found: list[_Found] = []
    for number, (band, boxes) in enumerate(zip(bands, quads, strict=True)):
        for quad in boxes:
            low, high = quad[:, band.axis].min(), quad[:, band.axis].max()
            is_cut_before = bool(band.start > 0 and low - band.start <= _NEAR_EDGE)
            is_cut_after = bool(band.stop < end and band.stop - high <= _NEAR_EDGE)
            found.append(_Found(quad, number, number, is_cut_before, is_cut_after))
    kept = _drop_doubles(_join_pieces(found, bands))
    return np.asarray([each.quad for each in kept], dtype=np.float32).reshape(-1, 4, 2)


def _join_pieces(found: Sequence[_Found], bands: Sequence[Band]) -> list[_Found]:
    """Lines that run on where the page was cut, each as one box from its first piece to its last."""
    import cv2
    import numpy as np

    joined: list[_Found] = []
    for each in found:
        before = [other for other in joined if other.is_cut_after and other.last == each.first - 1]
        match = None
        if each.is_cut_before and before:
            overlap = _to_strip(
                bands[each.first - 1], bands[each.first], [each.quad, *(other.quad for other in before)]
            )
            here = _intersect(each.quad, overlap)
            shares = [
                _share_area(here, _intersect(other.quad, overlap)) if _are_near(each, other) else 0.0
                for other in before
            ]
            match = before[int(np.argmax(shares))] if max(shares) >= _MIN_SHARED else None
        if match is None:
            joined.append(each)
            continue
        corners = cv2.boxPoints(cv2.minAreaRect(np.concatenate([match.quad, each.quad])))
        match.quad, match.last, match.is_cut_after = np.float32(corners), each.last, each.is_cut_after  # type: ignore[assignment]
    return joined


def _drop_doubles(found: Sequence[_Found]) -> list[_Found]:
    """Of boxes of several bands that show the same text the whole ones, and of those the larger."""
    kept: list[_Found] = []
    for each in sorted(found, key=lambda box: (box.cuts, -_measure_area(box.quad))):
        rivals = [other for other in kept if not (other.first == each.first and other.last == each.last)]
        covered = sum(_measure_area(_intersect(each.quad, other.quad)) for other in rivals if _are_near(each, other))
        if covered < _MIN_SHARED * _measure_area(each.quad):
            kept.append(each)
    return kept


def _are_near(one: _Found, other: _Found) -> bool:
    """Whether the upright boxes around them meet: a quick check."""
    return bool(
        (one.quad.min(axis=0) <= other.quad.max(axis=0)).all()
        and (other.quad.min(axis=0) <= one.quad.max(axis=0)).all()
    )


def _to_strip(before: Band, after: Band, quads: Sequence[Quads]) -> Quads:
    """What two bands share, as wide as the boxes."""
    import numpy as np

    across = np.concatenate(quads)[:, 1 - before.axis]
    corners = [
        (along, beside)
        for along, beside in (
            (after.start, across.min()),
            (before.stop, across.min()),
            (before.stop, across.max()),
            (after.start, across.max()),
        )
    ]
    strip = np.array(corners, dtype=np.float32)
    return strip if before.axis == 0 else strip[:, ::-1]


def _intersect(one: Quads, other: Quads) -> Quads:
    """The polygon that two convex polygons share; without corners where they share none."""
    import cv2
    import numpy as np

    if len(one) < 3 or len(other) < 3:  # noqa: PLR2004 (a polygon's corners)
        return np.zeros((0, 2), dtype=np.float32)
    area, polygon = cv2.intersectConvexConvex(np.ascontiguousarray(one), np.ascontiguousarray(other))
    return (
        np.asarray(polygon, dtype=np.float32).reshape(-1, 2)
        if area > 0 and polygon is not None
        else np.zeros((0, 2), dtype=np.float32)
    )


def _share_area(one: Quads, other: Quads) -> float:
    """The share of the smaller of two polygons that both have."""
    smaller = min(_measure_area(one), _measure_area(other))
    return _measure_area(_intersect(one, other)) / smaller if smaller else 0.0


def _measure_area(polygon: Quads) -> float:
    import cv2

    return float(cv2.contourArea(polygon)) if len(polygon) > 2 else 0.0  # noqa: PLR2004 (a polygon's corners)
