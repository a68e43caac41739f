"""Speakers over the pieces of a recording: the same person under one label, or labels that claim nothing.

A provider names the speakers of each piece anew. Where pieces overlap, who speaks at the same time is the same
person, and takes the label of the earlier piece. Where they do not, or a speaker is silent in the overlap,
nobody knows: the label gets the piece's number, and the row says so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from mediamill.tasks.capabilities.speech.piece_transcript import SAMPLE_RATE, PieceTranscript, TimedText

_MIN_SHARED_SECONDS = 0.2
"""Seconds of speech in common from which two labels are one person."""


def match_speakers(pieces: Sequence[PieceTranscript]) -> tuple[list[PieceTranscript], tuple[str, ...]]:
    """The pieces with labels that mean the same in all of them.

    Returns:
        The pieces, and a warning when some labels hold for one piece only.
    """
    renamed: list[PieceTranscript] = []
    unsure = 0
    for number, piece in enumerate(pieces, 1):
        names = {}
        if renamed and piece.start < renamed[-1].end:
            names = _match_labels(renamed[-1], piece)
        labels = _collect_labels(piece)
        if renamed:
            unsure += len(labels - names.keys())
            names |= {label: f"{number}:{label}" for label in labels - names.keys()}
        renamed.append(_rename_speakers(piece, names))
    if not unsure:
        return renamed, ()
    why = "speakers: labels with a piece's number in front (2:...) hold within that piece only"
    overlap = any(later.start < earlier.end for earlier, later in pairwise(pieces))
    return renamed, (why if overlap else f"{why}; an overlap lets them be matched",)


def _match_labels(earlier: PieceTranscript, later: PieceTranscript) -> dict[str, str]:
    """Labels of the later piece as the earlier one's, by who speaks when in their overlap."""
    begin, end = later.start / SAMPLE_RATE, earlier.end / SAMPLE_RATE
    shared: dict[tuple[str, str], float] = defaultdict(float)
    theirs = list(_find_speaker_turns(later, begin, end))
    for who, start, stop in _find_speaker_turns(earlier, begin, end):
        for other, first, last in theirs:
            if min(stop, last) > max(start, first):
                shared[other, who] += min(stop, last) - max(start, first)
    names: dict[str, str] = {}
    for (other, who), seconds in sorted(shared.items(), key=lambda found: (-found[1], found[0])):
        if seconds >= _MIN_SHARED_SECONDS and other not in names and who not in names.values():
            names[other] = who
    return names


def _find_speaker_turns(piece: PieceTranscript, begin: float, end: float) -> list[tuple[str, float, float]]:
    parts = piece.words if any(w.get("speaker") for w in piece.words or ()) else piece.segments
    timed = [p for p in parts or () if p.get("speaker") and p["start"] is not None and p["end"] is not None]
    return [
        (p["speaker"], max(p["start"], begin), min(p["end"], end))
        for p in timed
        if p["end"] > begin and p["start"] < end
    ]


def _collect_labels(piece: PieceTranscript) -> set[str]:
    return {p["speaker"] for p in (*(piece.segments or ()), *(piece.words or ())) if p.get("speaker")}


def _rename_speakers(piece: PieceTranscript, names: Mapping[str, str]) -> PieceTranscript:
    return replace(piece, segments=_rename_labels(piece.segments, names), words=_rename_labels(piece.words, names))


def _rename_labels(parts: list[TimedText] | None, names: Mapping[str, str]) -> list[TimedText] | None:
    if parts is None:
        return None
    return [{**p, "speaker": names.get(p["speaker"], p["speaker"]) if p.get("speaker") else None} for p in parts]
