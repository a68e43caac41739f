"""Where a transcript switches from one piece to the next, when both contain the same stretch of audio."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mediamill.tasks.capabilities.speech.piece_transcript import (
    SAMPLE_RATE,
    PieceTranscript,
    TimedText,
    get_end,
    get_middle,
    get_start,
    to_word_units,
)

_MAX_TIME_DIFFERENCE_SECONDS = 0.6
"""Maximum difference between two pieces' times of the same word."""

_NON_WORD_CHARACTERS = re.compile(r"[^\w']+")


@dataclass(frozen=True, slots=True)
class SwitchPoint:
    """The earlier piece's words are used up to ``earlier`` (exclusive), the later one's from ``later`` on."""

    earlier: int
    later: int


def find_switch_point(earlier: PieceTranscript, later: PieceTranscript) -> SwitchPoint:
    """Where to switch from one piece's words to the next one's.

    Equal words at about the same time are the same words. The switch is made within the longest run of them, after
    the word nearest to the middle of the overlap; when there is no such word, at the middle.
    """
    before, after = to_word_units(earlier), to_word_units(later)
    begin, end = later.start / SAMPLE_RATE, earlier.end / SAMPLE_RATE
    centre = (begin + end) / 2
    tail = next((n for n, unit in enumerate(before) if get_end(unit) > begin), len(before))
    head = next((n for n, unit in enumerate(after) if get_start(unit) >= end), len(after))
    run = _find_longest_run(before[tail:], after[:head])
    if run is None:
        return SwitchPoint(
            next((n for n, u in enumerate(before) if n >= tail and get_middle(u) >= centre), len(before)),
            next((n for n, u in enumerate(after) if n >= head or get_middle(u) >= centre), head),
        )
    first, second, length = run
    nearest = min(range(length), key=lambda n: abs(get_middle(before[tail + first + n]) - centre))
    return SwitchPoint(tail + first + nearest + 1, second + nearest + 1)


def _find_longest_run(before: Sequence[TimedText], after: Sequence[TimedText]) -> tuple[int, int, int] | None:
    """The longest run of equal words at equal times; of several, the one whose times agree best.

    Returns:
        Where it begins in ``before`` and in ``after``, and how many words it has; None without equal words.
    """
    before_words, after_words = [_normalize_word(u) for u in before], [_normalize_word(u) for u in after]
    runs: dict[tuple[int, int], tuple[int, float]] = {}
    best: tuple[int, float] | None = None
    best_end = (0, 0)
    for i, word in enumerate(before_words):
        for j, other in enumerate(after_words):
            difference = abs(get_start(before[i]) - get_start(after[j]))
            if not word or word != other or difference > _MAX_TIME_DIFFERENCE_SECONDS:
                continue
            length, agreement = runs.get((i - 1, j - 1), (0, 0.0))
            runs[i, j] = found = (length + 1, agreement - difference)
            if best is None or found > best:
                best, best_end = found, (i, j)
    if best is None:
        return None
    return best_end[0] - best[0] + 1, best_end[1] - best[0] + 1, best[0]


def _normalize_word(unit: TimedText) -> str:
    return _NON_WORD_CHARACTERS.sub("", unit["word"]).casefold()
