"""Files that were joined byte by byte, such as recordings of broadcasts: where their clock starts anew.

Players and FFmpeg take a jump of the timestamps ahead by more than ten seconds, in MPEG streams, for a new clock, and
play on: FFmpeg's ``-dts_delta_threshold``, and the longest frame of ffplay in formats that may be discontinuous.
A pause of one track is no jump: another track goes on through it.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from itertools import pairwise
from pathlib import Path

from mediamill.tasks.media.file_extent import may_be_joined_matroska

JUMP_SECONDS = 10.0
"""A jump ahead by more, in every track of a joined file, is a clock that starts anew."""

MAX_HOLE_SECONDS = 600.0
"""A longer hole is not filled: nobody pays for it. Times jump over it, unless such a clock is known to start anew."""

_BROADCASTS = frozenset({"mpegts", "mpeg"})
_WITH_LONG_JUMPS = frozenset({"flv", "ogg"})
"""Streams whose clock may start anew, but in which a hole of minutes is a pause."""
_MATROSKA = frozenset({"matroska", "webm"})
_MAX_STEP_BACK_SECONDS = 10.0


def find_jump_seconds(path: Path, demuxers: Collection[str]) -> float:
    """By how many seconds timestamps must jump ahead for a clock that starts anew; infinite where they never do.

    Args:
        path: the file.
        demuxers: FFmpeg's names of its format.
    """
    names = frozenset(demuxers)
    if names & _BROADCASTS or (names & _MATROSKA and may_be_joined_matroska(path)):
        return JUMP_SECONDS
    return MAX_HOLE_SECONDS if names & _WITH_LONG_JUMPS else math.inf


class SeenTimes:
    """When there were packets in a file's other tracks, in the order of the file."""

    def __init__(self) -> None:
        self._seconds: set[int] = set()
        self._latest = -math.inf

    def add(self, time: float) -> None:
        """Note the timestamp of a packet, in seconds. A step back is a new clock: what was before it counts no more."""
        if time < self._latest - _MAX_STEP_BACK_SECONDS:
            self._seconds.clear()
            self._latest = time
        self._latest = max(self._latest, time)
        self._seconds.add(int(time))

    def go_on(self, start: float, end: float) -> bool:
        """True when another track has no hole of :data:`JUMP_SECONDS` itself between two timestamps, in seconds."""
        times = [start, *sorted(second for second in self._seconds if start < second < end), end]
        return all(later - earlier <= JUMP_SECONDS for earlier, later in pairwise(times))
