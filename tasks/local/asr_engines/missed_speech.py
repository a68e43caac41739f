"""Stretches of a chunk in which Silero finds speech and Whisper wrote no words.

Within a chunk Whisper sometimes jumps over sentences, surely and without any sign in its figures. Heard by itself such
a stretch is written down.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mediamill.tasks.local.asr_engines.speech_chunks import RATE, Span

_MIN_SPEECH_SAMPLES = 2 * RATE
"""Speech without words that is worth another hearing; breath and laughter are shorter."""
_MIN_OVERLAP_SAMPLES = RATE // 10
_PADDING_SAMPLES = RATE // 5
_MAX_SHARE = 0.9
"""A stretch that is nearly the whole chunk was just heard by itself."""
_MIN_LOG_PROBABILITY, _MAX_NO_SPEECH, _MAX_COMPRESSION = -0.8, 0.6, 2.4
"""What a segment of a second hearing must keep to: the stretch may also be noise, in which Whisper invents text."""
_REHEARINGS_PER_CHUNK = 0.3
"""How much work is added at most: a stretch, however short, is encoded like a chunk."""


class RehearingBudget:
    """How many stretches of a recording may be heard again: one, and 0.3 for each chunk."""

    def __init__(self) -> None:
        self._left = 1.0

    def add_chunk(self) -> None:
        """Count a chunk that was heard."""
        self._left += _REHEARINGS_PER_CHUNK

    def take(self) -> bool:
        """Use one up; False where none is left."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


def find_missed_speech(speech: Sequence[Span], words: Sequence[Span], size: int) -> list[Span]:
    """Stretches between words that hold at least two seconds of speech, those with the most of it first.

    Args:
        speech: where the chunk has speech, in samples, in order.
        words: from each word's first to its last sample, in order.
        size: the chunk's samples.
    """
    found: list[tuple[int, Span]] = []
    end_of_last = 0
    for start, end in [*words, (size, size)]:
        missed = list(_clip(speech, end_of_last, start))
        amount = sum(last - first for first, last in missed)
        if amount >= _MIN_SPEECH_SAMPLES:
            first = max(end_of_last, missed[0][0] - _PADDING_SAMPLES)
            last = min(start, missed[-1][1] + _PADDING_SAMPLES)
            if last - first < _MAX_SHARE * size:
                found.append((amount, (first, last)))
        end_of_last = max(end_of_last, end)
    return [span for _, span in sorted(found, reverse=True)]


def keep_sure_segments(segments: Iterable[Any]) -> list[Any]:
    """Those of faster-whisper's segments that are likely to be speech."""
    return [
        part
        for part in segments
        if part.avg_logprob >= _MIN_LOG_PROBABILITY
        and part.no_speech_prob <= _MAX_NO_SPEECH
        and part.compression_ratio <= _MAX_COMPRESSION
    ]


def _clip(speech: Sequence[Span], first: int, last: int) -> Iterable[Span]:
    """The parts of the speech between two samples; slivers at a word's edge are the word's."""
    for start, end in speech:
        inside = max(start, first), min(end, last)
        if inside[1] - inside[0] >= _MIN_OVERLAP_SAMPLES:
            yield inside
