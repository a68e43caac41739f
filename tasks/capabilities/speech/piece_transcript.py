"""The transcript of one piece of a recording, with times from the recording's first sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mediamill.tasks.media.audio_info import Timeline

SAMPLE_RATE = 16_000
"""Samples per second of all positions in a recording."""

_MICROSECOND_DIGITS = 6

TimedText = dict[str, Any]
"""A segment or a word of a normalised reply: ``start`` and ``end`` in seconds, and ``text`` or ``word``."""


@dataclass(slots=True)
class PieceTranscript:
    """The transcript of one piece.

    Attributes:
        start, end: the piece's position in the recording, in samples at 16 kHz.
        text, language: as the provider returned them.
        segments, words: with times from the recording's start; None when the model returns none.
    """

    start: int
    end: int
    text: str
    language: str | None
    segments: list[TimedText] | None
    words: list[TimedText] | None

    @classmethod
    def from_answer(cls, data: Mapping[str, Any], start: int, end: int) -> PieceTranscript:
        """From an answer's data, with its times moved to where the piece begins."""
        return cls(
            start,
            end,
            data.get("text") or "",
            data.get("language"),
            shift_times(data.get("segments"), start),
            shift_times(data.get("words"), start),
        )


def shift_times(timed_texts: list[TimedText] | None, start: int) -> list[TimedText] | None:
    """Move times so that they count from ``start`` samples earlier; exact to the microsecond."""
    if not start or not timed_texts:
        return timed_texts
    shift = start / SAMPLE_RATE
    return [
        {**timed_text, **{edge: _shift_time(timed_text[edge], shift) for edge in ("start", "end")}}
        for timed_text in timed_texts
    ]


def set_to_clock(timed_texts: list[TimedText] | None, timeline: Timeline) -> list[TimedText] | None:
    """Times in decoded audio as times on the file's own clock."""
    if not timeline or not timed_texts:
        return timed_texts
    return [
        {
            **timed_text,
            "start": None if timed_text["start"] is None else timeline.find_start(timed_text["start"]),
            "end": None if timed_text["end"] is None else timeline.find_end(timed_text["end"]),
        }
        for timed_text in timed_texts
    ]


def _shift_time(time: float | None, shift: float) -> float | None:
    return None if time is None else round(time + shift, _MICROSECOND_DIGITS)


def to_word_units(piece: PieceTranscript) -> list[TimedText]:
    """The words by which overlapping pieces are aligned.

    For a model without word times these are the words of its segments, or of its text, spread evenly over the time.
    """
    if piece.words and all(w["start"] is not None for w in piece.words):
        return piece.words
    segments = piece.segments or [
        {"start": piece.start / SAMPLE_RATE, "end": piece.end / SAMPLE_RATE, "text": piece.text}
    ]
    units: list[TimedText] = []
    for segment in segments:
        tokens = segment["text"].split()
        begin, end = get_start(segment), get_end(segment)
        step = (end - begin) / max(len(tokens), 1)
        units += [
            {"word": token, "start": begin + n * step, "end": begin + (n + 1) * step} for n, token in enumerate(tokens)
        ]
    return units


def get_start(timed_text: TimedText) -> float:
    """Start in seconds; 0 when there is none."""
    return float(timed_text["start"] or 0.0)


def get_end(timed_text: TimedText) -> float:
    """End in seconds; the start when there is no end."""
    return float(timed_text["end"]) if timed_text["end"] is not None else get_start(timed_text)


def get_middle(timed_text: TimedText) -> float:
    """The time halfway between start and end, in seconds."""
    return (get_start(timed_text) + get_end(timed_text)) / 2
