"""Speaker labels over the pieces of a recording: one label for one person, where that can be known.

A provider labels the speakers of each piece anew. Where pieces overlap, who speaks at the same time is the same
person and gets the label of the earlier piece. Where they do not overlap, or a speaker is silent in the overlap,
this is unknown: the label gets the piece's number in front, and the row has a warning.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from mediamill.tasks.capabilities.speech.piece_transcript import SAMPLE_RATE, PieceTranscript, TimedText

_MIN_SHARED_SECONDS = 0.2
"""Two labels with at least this much speech at the same time are one person."""


def match_speakers(pieces: Sequence[PieceTranscript]) -> tuple[list[PieceTranscript], tuple[str, ...]]:
    """Give the pieces labels that mean the same in all of them.

    Returns:
        The pieces, and a warning when some labels are valid in one piece only.
    """
    renamed: list[PieceTranscript] = []
    n_unmatched = 0
    for number, piece in enumerate(pieces, 1):
        names = {}
        if renamed and piece.start < renamed[-1].end:
            names = _match_labels(renamed[-1], piece)
        labels = _collect_labels(piece)
        if renamed:
            n_unmatched += len(labels - names.keys())
            names |= {label: f"{number}:{label}" for label in labels - names.keys()}
        renamed.append(_rename_speakers(piece, names))
    if not n_unmatched:
        return renamed, ()
    warning = "speakers: labels with a piece's number in front (2:...) hold within that piece only"
    overlap = any(later.start < earlier.end for earlier, later in pairwise(pieces))
    return renamed, (warning if overlap else f"{warning}; an overlap lets them be matched",)


def _match_labels(earlier: PieceTranscript, later: PieceTranscript) -> dict[str, str]:
    """The later piece's labels and their equals in the earlier one, by who speaks when in the overlap."""
    begin, end = later.start / SAMPLE_RATE, earlier.end / SAMPLE_RATE
    shared: dict[tuple[str, str], float] = defaultdict(float)
    later_turns = list(_find_speaker_turns(later, begin, end))
    for label, start, stop in _find_speaker_turns(earlier, begin, end):
        for later_label, first, last in later_turns:
            if min(stop, last) > max(start, first):
                shared[later_label, label] += min(stop, last) - max(start, first)
    matches: dict[str, str] = {}
    for (later_label, label), seconds in sorted(shared.items(), key=lambda found: (-found[1], found[0])):
        if seconds >= _MIN_SHARED_SECONDS and later_label not in matches and label not in matches.values():
            matches[later_label] = label
    return matches


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
