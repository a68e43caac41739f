"""What was heard in one piece of a recording, with times counted from the recording's first sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SAMPLE_RATE = 16_000
"""Samples a second of everything that is cut and counted."""

_MICROSECOND_DIGITS = 6

TimedText = dict[str, Any]
"""A segment or a word, as providers' replies are normalised."""


@dataclass(slots=True)
class PieceTranscript:
    """One piece's answer.

    Attributes:
        start, end: what was sent, in samples at 16 kHz from the recording's first.
        text, language: as told.
        segments, words: times from the recording's start; None where the model tells none.
    """

    start: int
    end: int
    text: str
    language: str | None
    segments: list[TimedText] | None
    words: list[TimedText] | None

    @classmethod
    def from_answer(cls, data: Mapping[str, Any], start: int, end: int) -> PieceTranscript:
        """An answer's data, moved to where its piece begins."""
        return cls(
            start,
            end,
            data.get("text") or "",
            data.get("language"),
            shift_times(data.get("segments"), start),
            shift_times(data.get("words"), start),
        )


def shift_times(parts: list[TimedText] | None, start: int) -> list[TimedText] | None:
    """Parts whose times count from ``start`` samples earlier; exact to the microsecond."""
    if not start or not parts:
        return parts
    shift = start / SAMPLE_RATE
    return [{**part, **{t: _shift_time(part[t], shift) for t in ("start", "end")}} for part in parts]


def _shift_time(time: float | None, shift: float) -> float | None:
    return None if time is None else round(time + shift, _MICROSECOND_DIGITS)


def to_word_units(piece: PieceTranscript) -> list[TimedText]:
    """What a seam is found by: the words; of a model that tells none, its segments' or its text's, spread evenly."""
    if piece.words and all(w["start"] is not None for w in piece.words):
        return piece.words
    told = piece.segments or [{"start": piece.start / SAMPLE_RATE, "end": piece.end / SAMPLE_RATE, "text": piece.text}]
    units: list[TimedText] = []
    for segment in told:
        tokens = segment["text"].split()
        begin, end = get_start(segment), get_end(segment)
        step = (end - begin) / max(len(tokens), 1)
        units += [{"word": t, "start": begin + n * step, "end": begin + (n + 1) * step} for n, t in enumerate(tokens)]
    return units


def get_start(part: TimedText) -> float:
    """Seconds; 0 where none are told."""
    return float(part["start"] or 0.0)


def get_end(part: TimedText) -> float:
    """Seconds; its start where no end is told."""
    return float(part["end"]) if part["end"] is not None else get_start(part)


def get_middle(part: TimedText) -> float:
    """Seconds, halfway between start and end."""
    return (get_start(part) + get_end(part)) / 2
