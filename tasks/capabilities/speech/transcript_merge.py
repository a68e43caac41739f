"""Pieces' answers merged to one transcript: times from the recording's start, no word lost or doubled at a cut.

Pieces without overlap are simply joined. Where pieces overlap, both contain the same words: the longest run of words
that both have at about the same time is found, and the transcript switches from one piece to the other within it, as
near to the cut as possible. Without such a run it switches at the cut.
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
    """Merge the pieces' transcripts into one.

    Args:
        pieces: at least one, in order; neighbours may overlap.
        diarized: the pieces have speaker labels, which are matched over the pieces.

    Returns:
        The columns text, language, duration_s, segments, words and speakers; and warnings for the user.
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
    """Join texts, with a space between them where their script has spaces."""
    joined = ""
    for text in filter(None, (t.strip() for t in texts)):
        needs_no_space = not joined or (_UNSPACED_SCRIPTS.match(joined[-1]) and _UNSPACED_SCRIPTS.match(text[0]))
        joined += text if needs_no_space else f" {text}"
    return joined


def _drop_doubled_words(pieces: Sequence[PieceTranscript]) -> Iterator[PieceTranscript]:
    """The pieces, each without the words that are taken from its neighbour."""
    from_switch: SwitchPoint | None = None
    for n, piece in enumerate(pieces):
        to_switch = None
        if n + 1 < len(pieces) and pieces[n + 1].start < piece.end:
            to_switch = find_switch_point(piece, pieces[n + 1])
        yield _keep_between(piece, from_switch, to_switch) if from_switch or to_switch else piece
        from_switch = to_switch


def _keep_between(
    piece: PieceTranscript, from_switch: SwitchPoint | None, to_switch: SwitchPoint | None
) -> PieceTranscript:
    """A piece's transcript between its two switch points. Its text is made from the kept segments or words."""
    units = to_word_units(piece)
    first = from_switch.later if from_switch else 0
    last = to_switch.earlier if to_switch else len(units)
    last = max(last, first)
    words = units[first:last] if units is piece.words else piece.words
    if piece.segments is None:
        return replace(piece, text=_slice_text(piece.text, units, (0, len(units)), (first, last)), words=words)
    segments = list(_slice_segments(piece.segments, units, first, last))
    return replace(piece, text=join_texts([s["text"] for s in segments]), segments=segments, words=words)


def _slice_text(text: str, units: Sequence[TimedText], text_range: tuple[int, int], kept_range: tuple[int, int]) -> str:
    """The kept words of a text; with its punctuation, when it has as many words as there are units.

    Args:
        text: what to slice.
        units: the words of the whole piece.
        text_range: which units the text consists of, from and to.
        kept_range: which of them to keep, from and to.
    """
    tokens = text.split()
    if len(tokens) != text_range[1] - text_range[0]:
        tokens = [u["word"] for u in units[text_range[0] : text_range[1]]]
    return join_texts(tokens[kept_range[0] - text_range[0] : kept_range[1] - text_range[0]])


def _slice_segments(
    segments: Sequence[TimedText], units: Sequence[TimedText], first: int, last: int
) -> Iterator[TimedText]:
    """Segments with only the kept words; one that a switch point divides gets its times from its words."""
    groups = _assign_words_to_segments(segments, units)
    for segment, (begin, end) in zip(segments, groups, strict=True):
        if first <= begin and end <= last:
            yield segment
            continue
        kept_range = (max(begin, first), min(end, last))
        kept_units = units[kept_range[0] : kept_range[1]]
        if kept_units:
            text = _slice_text(segment["text"], units, (begin, end), kept_range)
            start = segment["start"] if begin >= first else kept_units[0]["start"]
            end_seconds = segment["end"] if end <= last else kept_units[-1]["end"]
            yield {**segment, "start": start, "end": end_seconds, "text": text}


def _assign_words_to_segments(segments: Sequence[TimedText], units: Sequence[TimedText]) -> list[tuple[int, int]]:
    """The words of each segment, from and to, by the middle of each word."""
    groups, position = [], 0
    for n, _ in enumerate(segments):
        begin = position
        end_seconds = segments[n + 1]["start"] if n + 1 < len(segments) else None
        while position < len(units) and (end_seconds is None or get_middle(units[position]) < end_seconds):
            position += 1
        groups.append((begin, position))
    return groups


def _find_main_language(pieces: Sequence[PieceTranscript]) -> str | None:
    """The language of the longest part of the recording."""
    length: Counter[str] = Counter()
    for piece in pieces:
        if piece.language and piece.text:
            length[piece.language] += piece.end - piece.start
    if not length:
        return next((piece.language for piece in pieces if piece.language), None)
    return length.most_common(1)[0][0]
