"""The quietest moment of a stretch of sound."""

from __future__ import annotations

import numpy as np

from mediamill.tasks.media.encode import Samples

_HOP = 320


def quietest(sound: Samples, width: int) -> int:
    """The middle of the quietest ``width`` samples, as an index into ``sound``.

    No threshold: in noise there is a quietest moment too. Of several equally quiet moments in a row (digital
    silence) the middle one is taken, as far from speech as can be.

    Args:
        sound: at least ``width`` samples at 16 kHz.
        width: how long it should be quiet, in samples.
    """
    power = np.zeros(len(sound) + 1, dtype=np.int64)
    np.cumsum(np.square(sound, dtype=np.int32), dtype=np.int64, out=power[1:])
    windows = power[width::_HOP] - power[: len(power) - width : _HOP]
    best = np.flatnonzero(windows == windows.min())
    runs = np.split(best, np.flatnonzero(np.diff(best) > 1) + 1)
    longest = max(runs, key=len)
    return int(longest[len(longest) // 2]) * _HOP + width // 2
