"""Cut streamed audio into pieces: each cut is at the quietest moment near a piece's end.

Positions count in samples at 16 kHz from the start of the recording. Without overlap the pieces are the recording,
with no sample lost or doubled; with overlap each piece reaches half of it over its cuts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mediamill.tasks.media.encode import RATE, Samples

_SEARCH_SECONDS = 60
_QUIET_SECONDS = 0.3
_HOP_SAMPLES = 320
"""Samples between two moments whose loudness is compared."""


@dataclass(frozen=True, slots=True)
class CutPlan:
    """How a recording is to be cut.

    Attributes:
        max_samples: of a piece, overlap included.
        overlap: samples that neighbouring pieces share; at most a third of ``max_samples``.
    """

    max_samples: int
    overlap: int = 0

    @classmethod
    def from_seconds(cls, piece_seconds: float, overlap_seconds: float = 0.0) -> CutPlan:
        """A plan from lengths in seconds; too long an overlap is shortened."""
        max_samples = int(piece_seconds * RATE)
        return cls(max_samples, min(int(overlap_seconds * RATE), max_samples // 3) // 2 * 2)

    @property
    def half_overlap(self) -> int:
        """Samples by which a piece reaches over its cuts."""
        return self.overlap // 2

    @property
    def quiet_samples(self) -> int:
        """Samples for which it should be quiet around a cut."""
        return min(int(_QUIET_SECONDS * RATE), self.max_samples // 12)

    @property
    def search_window(self) -> tuple[int, int]:
        """Where the cut at a piece's end may be: first and last sample, counted from the piece's start.

        The window ends early enough that the rest of a recording is never too short for an endpoint.
        """
        last = self.max_samples - self.half_overlap - min(RATE, self.max_samples // 10)
        return last - min(_SEARCH_SECONDS * RATE, self.max_samples // 3), last


class Cutter:
    """Cuts streamed audio into pieces; holds no more of it in memory than the surroundings of a cut.

    Args:
        blocks: 16 kHz mono samples, in blocks of any size.
        plan: how to cut.
        known_cuts: cuts of an earlier run, which are made again.

    Attributes:
        start, end: of the latest piece, in samples.
        cuts: every cut so far, the known ones first.
        is_last: the latest piece is the last one.
    """

    def __init__(self, blocks: Iterable[Samples], plan: CutPlan, known_cuts: Sequence[int] = ()) -> None:
        self._blocks = iter(blocks)
        self._plan = plan
        self._known_cuts = list(known_cuts)
        self._buffer: deque[Samples] = deque()
        self._read_samples = 0
        self._is_exhausted = False
        self.start = 0
        self.end = 0
        self.cuts: list[int] = []
        self.is_last = False

    def cut_piece(self) -> Iterator[Samples]:
        """Yield the samples of the next piece, in blocks; ``end`` is set once all were yielded."""
        plan = self._plan
        self.start = position = self.cuts[-1] - plan.half_overlap if self.cuts else 0
        number = len(self.cuts)
        if number < len(self._known_cuts):
            search_start = cut = self._known_cuts[number]
            piece_end = cut + plan.half_overlap
        else:
            search_start, piece_end, cut = self.start + plan.search_window[0], self.start + plan.max_samples, None
        surely_inside = search_start - max(plan.half_overlap, plan.quiet_samples)
        while position < surely_inside and self._read_until(min(surely_inside, position + RATE)):
            block_end = min(surely_inside, self._read_samples)
            yield from self._release(block_end - position)
            position = block_end
        if not self._read_until(piece_end + 1):
            self.is_last, self.end = True, self._read_samples
            yield from self._release(self._read_samples - position)
            return
        if cut is None:
            cut = self._find_cut()
        self.cuts.append(cut)
        self.end = cut + plan.half_overlap
        yield from self._yield_overlap(position, self.end, cut - plan.half_overlap)

    def _find_cut(self) -> int:
        first, last = (self.start + at for at in self._plan.search_window)
        half_width = self._plan.quiet_samples // 2
        buffered = np.concatenate(list(self._buffer))
        self._buffer = deque([buffered])
        origin = self._read_samples - len(buffered)
        low, high = first - half_width - origin, last + half_width - origin
        return origin + low + find_quietest_moment(buffered[low:high], 2 * half_width)

    def _read_until(self, position: int) -> bool:
        """Read up to a position; False when the recording ends before it."""
        while self._read_samples < position and not self._is_exhausted:
            block = next(self._blocks, None)
            if block is None:
                self._is_exhausted = True
            elif len(block):
                self._buffer.append(block)
                self._read_samples += len(block)
        return self._read_samples >= position

    def _release(self, count: int) -> Iterator[Samples]:
        """Yield the first samples of the buffer, and drop them from it."""
        while count > 0:
            block = self._buffer.popleft()
            if len(block) > count:
                self._buffer.appendleft(block[count:])
                block = block[:count]
            count -= len(block)
            yield block

    def _yield_overlap(self, position: int, end: int, next_start: int) -> Iterator[Samples]:
        """Yield the rest of the piece; samples from ``next_start`` on stay, for the next piece has them too."""
        yield from self._release(next_start - position)
        count = end - next_start
        for block in list(self._buffer):
            if count <= 0:
                return
            yield block[:count]
            count -= len(block)


def find_quietest_moment(samples: Samples, width: int) -> int:
    """The middle of the quietest ``width`` samples, as an index into ``samples``.

    There is no threshold: noise has a quietest moment too. Of several equally quiet moments in a row (digital
    silence) the middle one is taken, as far from speech as possible.

    Args:
        samples: at least ``width`` samples at 16 kHz.
        width: how long it should be quiet, in samples.
    """
    power = np.zeros(len(samples) + 1, dtype=np.int64)
    np.cumsum(np.square(samples, dtype=np.int32), dtype=np.int64, out=power[1:])
    windows = power[width::_HOP_SAMPLES] - power[: len(power) - width : _HOP_SAMPLES]
    best = np.flatnonzero(windows == windows.min())
    runs = np.split(best, np.flatnonzero(np.diff(best) > 1) + 1)
    longest_run = max(runs, key=len)
    return int(longest_run[len(longest_run) // 2]) * _HOP_SAMPLES + width // 2
