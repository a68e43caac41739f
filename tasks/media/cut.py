"""Sound cut into pieces while it streams by: each cut is at the quietest moment near a piece's end.

Positions are counted in samples at 16 kHz from the recording's first. Without overlap the pieces are the
recording, no sample lost or doubled; with it each reaches half the overlap over its cuts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mediamill.tasks.media.encode import RATE, Samples

_SEARCH_SECONDS = 60
_QUIET_SECONDS = 0.3
_HOP = 320
"""Samples between two moments that are compared."""


@dataclass(frozen=True, slots=True)
class CutPlan:
    """How a recording is to be cut.

    Attributes:
        longest: most samples in a piece, overlap included.
        overlap: samples that neighbouring pieces share; at most a third of ``longest``.
    """

    longest: int
    overlap: int = 0

    @classmethod
    def of(cls, piece_seconds: float, overlap_seconds: float = 0.0) -> CutPlan:
        """A plan from seconds; too long an overlap is shortened."""
        longest = int(piece_seconds * RATE)
        return cls(longest, min(int(overlap_seconds * RATE), longest // 3) // 2 * 2)

    @property
    def half(self) -> int:
        """How far a piece reaches over its cuts."""
        return self.overlap // 2

    @property
    def quiet(self) -> int:
        """How long it should be quiet where a cut is made."""
        return min(int(_QUIET_SECONDS * RATE), self.longest // 12)

    @property
    def window(self) -> tuple[int, int]:
        """Where the cut at a piece's end may be: first and last sample, from the piece's start.

        It ends early enough that what is left of a recording is never too short to be taken.
        """
        last = self.longest - self.half - min(RATE, self.longest // 10)
        return last - min(_SEARCH_SECONDS * RATE, self.longest // 3), last


class Cutter:
    """Cuts a stream of sound into pieces; holds no more of it than the cut's surroundings.

    Args:
        blocks: 16 kHz mono, of any size.
        plan: how to cut.
        known: cuts that were made before and are made again.

    Attributes:
        start, end: of the piece that was last taken, in samples.
        cuts: every cut so far, the known ones first.
        last: the piece that was last taken is the last.
    """

    def __init__(self, blocks: Iterable[Samples], plan: CutPlan, known: Sequence[int] = ()) -> None:
        self._blocks = iter(blocks)
        self._plan = plan
        self._known = list(known)
        self._held: deque[Samples] = deque()
        self._read = 0
        self._ended = False
        self.start = 0
        self.end = 0
        self.cuts: list[int] = []
        self.last = False

    def piece(self) -> Iterator[Samples]:
        """The next piece's sound, in blocks; ``end`` is right once it is used up."""
        plan = self._plan
        self.start = at = self.cuts[-1] - plan.half if self.cuts else 0
        number = len(self.cuts)
        if number < len(self._known):
            first = cut = self._known[number]
            until = cut + plan.half
        else:
            first, until, cut = self.start + plan.window[0], self.start + plan.longest, None
        free = first - max(plan.half, plan.quiet)
        while at < free and self._fill(min(free, at + RATE)):
            upto = min(free, self._read)
            yield from self._take(upto - at)
            at = upto
        if not self._fill(until + 1):
            self.last, self.end = True, self._read
            yield from self._take(self._read - at)
            return
        if cut is None:
            cut = self._search()
        self.cuts.append(cut)
        self.end = cut + plan.half
        yield from self._shared(at, self.end, cut - plan.half)

    def _search(self) -> int:
        first, last = (self.start + at for at in self._plan.window)
        wide = self._plan.quiet // 2
        held = np.concatenate(list(self._held))
        self._held = deque([held])
        origin = self._read - len(held)
        low, high = first - wide - origin, last + wide - origin
        return origin + low + find_quietest(held[low:high], 2 * wide)

    def _fill(self, until: int) -> bool:
        """Read up to a sample; False when the recording ends before it."""
        while self._read < until and not self._ended:
            block = next(self._blocks, None)
            if block is None:
                self._ended = True
            elif len(block):
                self._held.append(block)
                self._read += len(block)
        return self._read >= until

    def _take(self, count: int) -> Iterator[Samples]:
        """Hand out the first samples of what is held, and hold them no longer."""
        while count > 0:
            block = self._held.popleft()
            if len(block) > count:
                self._held.appendleft(block[count:])
                block = block[:count]
            count -= len(block)
            yield block

    def _shared(self, at: int, end: int, keep: int) -> Iterator[Samples]:
        """The piece's rest; what follows ``keep`` belongs to the next piece too."""
        yield from self._take(keep - at)
        count = end - keep
        for block in list(self._held):
            if count <= 0:
                return
            yield block[:count]
            count -= len(block)


def find_quietest(sound: Samples, width: int) -> int:
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
