"""How a page is turned: from the directions of its lines, and from which way up they can be read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mediamill.tasks.local.ocr.base import Quads

_MIN_ASPECT = 2.0
"""A box that is less long than this has no clear direction."""


def measure_line_angle(quads: Quads) -> float:
    """The direction in which most of the text runs, in degrees clockwise: above -90, at most 90.

    It is 0 where no box has a clear direction. Which way along that direction it is read cannot be seen in boxes.
    """
    import numpy as np

    across, down = quads[:, 1] - quads[:, 0], quads[:, 3] - quads[:, 0]
    across_lengths, down_lengths = np.linalg.norm(across, axis=1), np.linalg.norm(down, axis=1)
    is_wide = (across_lengths >= down_lengths)[:, None]
    direction = np.where(is_wide, across, down)
    lengths = np.maximum(across_lengths, down_lengths)
    is_clear = lengths >= _MIN_ASPECT * np.minimum(across_lengths, down_lengths)
    if not is_clear.any():
        return 0.0
    angles = np.degrees(np.arctan2(direction[is_clear, 1], direction[is_clear, 0]))
    weights = lengths[is_clear]
    # Lines have no ends here, so 179 and 1 degrees are neighbours: the mean is taken of doubled angles.
    doubled = np.radians(2 * angles)
    mean = math.degrees(math.atan2((weights * np.sin(doubled)).sum(), (weights * np.cos(doubled)).sum())) / 2
    deviations = (angles - mean + 90) % 180 - 90
    order = np.argsort(deviations)
    middle = np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)
    angle = float((mean + deviations[order][middle] + 90) % 180 - 90)
    return 90.0 if angle == -90.0 else angle  # noqa: PLR2004


def turn_upright(quads: Quads, angle: float) -> Quads:
    """The corners as they are on the page turned upright around the origin; ``angle`` is the text's, clockwise."""
    import numpy as np

    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    x, y = quads[..., 0], quads[..., 1]
    return np.stack([x * cos + y * sin, y * cos - x * sin], axis=-1).astype(np.float32)


def order_corners(quads: Quads, angle: float) -> Quads:
    """Each box's corners clockwise as the text is read, the first where it begins, above."""
    import numpy as np

    upright = turn_upright(quads, angle)
    total, difference = upright.sum(axis=2), upright[..., 0] - upright[..., 1]
    order = np.stack(
        [total.argmin(axis=1), difference.argmax(axis=1), total.argmax(axis=1), difference.argmin(axis=1)], axis=1
    )
    is_whole = (np.sort(order, axis=1) == np.arange(4)).all(axis=1)
    order[~is_whole] = np.arange(4)  # turned by nearly 45 degrees against the page
    return np.take_along_axis(quads, order[..., None], axis=1)
