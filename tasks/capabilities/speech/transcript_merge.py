"""Pieces' answers stitched to one: times from the recording's start, no word lost or doubled at a seam.

Pieces without overlap are simply put behind one another. Where they overlap, both heard the same words: the
longest run of words that both tell at about the same time is found, and the transcript changes from one to the
other within it, as near the cut as it can. Without such a run it changes at the cut.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mediamill.tasks.capabilities.speech.overlap_alignment import SwitchPoint, find_switch_point
from mediamill.tasks.capabilities.speech.piece_transcript import (
    SAMPLE_RATE,
    PieceTranscript,
    TimedText,
    get_middle,
    to_word_units,
)
from mediamill.tasks.capabilities.speech.speaker_matching import match_speakers

_UNSPACED_SCRIPTS = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]"
)


def merge_transcripts(
    pieces: Sequence[PieceTranscript], *, diarized: bool = False
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """One transcript from the pieces' answers, in order.

    Args:
        pieces: at least one, in order; neighbours may overlap.
        diarized: speakers were asked for; theirs are brought together over the pieces.

    Returns:
        The columns text, language, duration_s, segments, words and speakers; and what the user should know.
    """
    warnings: tuple[str, ...] = ()
    if diarized:
        pieces, warnings = match_speakers(pieces)
    kept = list(_drop_doubled_words(pieces))
    segments = [part for piece in kept for part in piece.segments or ()]
    words = [part for piece in kept for part in piece.words or ()]
    speakers = sorted({p["speaker"] for p in (*segments, *words) if p.get("speaker")})
    columns = {
        "text": join_texts([piece.text for piece in kept]),
        "language": _find_main_language(pieces),
        "duration_s": pieces[-1].end / SAMPLE_RATE - pieces[0].start / SAMPLE_RATE,
        "segments": [{**segment, "id": n} for n, segment in enumerate(segments)] or None,
        "words": words or None,
        "speakers": speakers or None,
    }
    return columns, warnings


def join_texts(texts: Sequence[str]) -> str:
    """Texts one behind the other, with a space between where their script has one."""
    joined = ""
    for text in filter(None, (t.strip() for t in texts)):
        close = not joined or (_UNSPACED_SCRIPTS.match(joined[-1]) and _UNSPACED_SCRIPTS.match(text[0]))
        joined += text if close else f" {text}"
    return joined


def _drop_doubled_words(pieces: Sequence[PieceTranscript]) -> Iterator[PieceTranscript]:
    """The pieces, each without what its neighbour tells."""
    behind: SwitchPoint | None = None
    for n, piece in enumerate(pieces):
        ahead = None
        if n + 1 < len(pieces) and pieces[n + 1].start < piece.end:
            ahead = find_switch_point(piece, pieces[n + 1])
        yield _keep_between(piece, behind, ahead) if behind or ahead else piece
        behind = ahead


def _keep_between(piece: PieceTranscript, behind: SwitchPoint | None, ahead: SwitchPoint | None) -> PieceTranscript:
    """What a piece tells between its two seams. Its text is made from what is kept, where it has times to tell by."""
    units = to_word_units(piece)
    first = behind.later if behind else 0
    last = ahead.earlier if ahead else len(units)
    last = max(last, first)
    words = units[first:last] if units is piece.words else piece.words
    if piece.segments is None:
        return replace(piece, text=_slice_text(piece.text, units, (0, len(units)), (first, last)), words=words)
    segments = list(_slice_segments(piece.segments, units, first, last))
    return replace(piece, text=join_texts([s["text"] for s in segments]), segments=segments, words=words)


def _slice_text(text: str, units: Sequence[TimedText], whole: tuple[int, int], kept: tuple[int, int]) -> str:
    """The kept words of a text that ``whole`` are the words of; with its own punctuation where they can be counted."""
    tokens = text.split()
    if len(tokens) != whole[1] - whole[0]:
        tokens = [u["word"] for u in units[whole[0] : whole[1]]]
    return join_texts(tokens[kept[0] - whole[0] : kept[1] - whole[0]])


def _slice_segments(
    segments: Sequence[TimedText], units: Sequence[TimedText], first: int, last: int
) -> Iterator[TimedText]:
    """Segments with only the kept words in them; those that a seam goes through are told by their words."""
    groups = _assign_words(segments, units)
    for segment, (begin, end) in zip(segments, groups, strict=True):
        if first <= begin and end <= last:
            yield segment
            continue
        inside = (max(begin, first), min(end, last))
        held = units[inside[0] : inside[1]]
        if held:
            text = _slice_text(segment["text"], units, (begin, end), inside)
            start = segment["start"] if begin >= first else held[0]["start"]
            until = segment["end"] if end <= last else held[-1]["end"]
            yield {**segment, "start": start, "end": until, "text": text}


def _assign_words(segments: Sequence[TimedText], units: Sequence[TimedText]) -> list[tuple[int, int]]:
    """Which words are whose: from and to, for each segment, by the middle of each word."""
    groups, at = [], 0
    for n, _ in enumerate(segments):
        begin = at
        until = segments[n + 1]["start"] if n + 1 < len(segments) else None
        while at < len(units) and (until is None or get_middle(units[at]) < until):
            at += 1
        groups.append((begin, at))
    return groups


def _find_main_language(pieces: Sequence[PieceTranscript]) -> str | None:
    """The one most of the recording is in."""
    length: Counter[str] = Counter()
    for piece in pieces:
        if piece.language and piece.text:
            length[piece.language] += piece.end - piece.start
    if not length:
        return next((piece.language for piece in pieces if piece.language), None)
    return length.most_common(1)[0][0]
