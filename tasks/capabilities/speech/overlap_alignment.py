"""Where the transcript changes from one piece to the next, when both heard the stretch between them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mediamill.tasks.capabilities.speech.piece_transcript import (
    RATE,
    Part,
    PieceTranscript,
    end_of,
    middle,
    start_of,
    units_of,
)

_AT_ONCE = 0.6
"""Seconds by which two pieces may differ about when a word is said."""

_NOT_LETTERS = re.compile(r"[^\w']+")


@dataclass(frozen=True, slots=True)
class SwitchPoint:
    """The earlier piece's words count up to ``earlier`` (exclusive), the later one's from ``later`` on."""

    earlier: int
    later: int


def find_switch_point(earlier: PieceTranscript, later: PieceTranscript) -> SwitchPoint:
    """Where to change from one piece's words to the next one's.

    Words that both tell alike and at about the same time are the same words; the change is made within the
    longest run of them, after the word nearest the middle of the overlap. Without any it is made at the middle.
    """
    before, after = units_of(earlier), units_of(later)
    begin, end = later.start / RATE, earlier.end / RATE
    centre = (begin + end) / 2
    tail = next((n for n, unit in enumerate(before) if end_of(unit) > begin), len(before))
    head = next((n for n, unit in enumerate(after) if start_of(unit) >= end), len(after))
    run = _longest_run(before[tail:], after[:head])
    if run is None:
        return SwitchPoint(
            next((n for n, u in enumerate(before) if n >= tail and middle(u) >= centre), len(before)),
            next((n for n, u in enumerate(after) if n >= head or middle(u) >= centre), head),
        )
    first, second, length = run
    nearest = min(range(length), key=lambda n: abs(middle(before[tail + first + n]) - centre))
    return SwitchPoint(tail + first + nearest + 1, second + nearest + 1)


def _longest_run(before: Sequence[Part], after: Sequence[Part]) -> tuple[int, int, int] | None:
    """The longest run of equal words at equal times; of several, the one whose times agree best."""
    ours, theirs = [_plain(u) for u in before], [_plain(u) for u in after]
    runs: dict[tuple[int, int], tuple[int, float]] = {}
    best: tuple[int, float] | None = None
    where = (0, 0)
    for i, word in enumerate(ours):
        for j, other in enumerate(theirs):
            apart = abs(start_of(before[i]) - start_of(after[j]))
            if not word or word != other or apart > _AT_ONCE:
                continue
            length, off = runs.get((i - 1, j - 1), (0, 0.0))
            runs[i, j] = found = (length + 1, off - apart)
            if best is None or found > best:
                best, where = found, (i, j)
    if best is None:
        return None
    return where[0] - best[0] + 1, where[1] - best[0] + 1, best[0]


def _plain(unit: Part) -> str:
    return _NOT_LETTERS.sub("", unit["word"]).casefold()
