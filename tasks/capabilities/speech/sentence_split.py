"""Long texts are cut where a speaker would pause: after a paragraph, a sentence, a clause, or a word."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from mediamill.tasks.domain import Preparation

_BREAKS = (
    re.compile(r"\n\s*\n+\s*"),
    re.compile(
        r"(?:(?<![.!?\u2026\u061f\u06d4\u0964])[.!?\u2026\u061f\u06d4\u0964]++[\"'\u201d\u2019\u00bb)\]]*+\s+"
        r"|[\u3002\uff01\uff1f]+[\u300d\u300f\uff09]?\s*|\n\s*)"
    ),
    re.compile(
        r"(?:(?<![;:,\u2014\u2013\u060c])[;:,\u2014\u2013\u060c]++\s+"
        r"|[\uff0c\u3001\uff1b\uff1a]+\s*|\s[-\u2013\u2014]\s)"
    ),
    re.compile(r"\s+"),
)
"""Where a text may be cut, best first: after a paragraph, a sentence, a clause, a word. The cut is after the match.

A run of stops is looked at from its start only: from each of its stops would take the square of its length.
"""

_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|Sr|Jr|St|vs|etc|No|Fig|Inc|Ltd|Co|approx|e\.g|i\.e|z\.B|d\.h|bzw|ca|Nr)|\b[A-Z]|\b\d+)\.\s+$"
)
"""Full stops that do not end a sentence: titles, initials, numbers in a list."""

_LOOKBACK_CHARACTERS = 12
_ZERO_WIDTH_JOINER = "\u200d"


def split_text(text: str, max_characters: int) -> list[str]:
    """Cut a text into few pieces of at most ``max_characters`` characters, each at the best possible place.

    Only white space at the cuts is lost. Only a word longer than ``max_characters`` is cut inside.

    Args:
        text: what to cut; white space around it is dropped.
        max_characters: maximum characters of a piece, at least 1.
    """
    return [piece for piece in (part.strip() for part in _iter_pieces(text.strip(), max_characters)) if piece]


def describe_split(
    text: str, pieces: Sequence[str], requested: int | None, model: str, formats: tuple[str, str]
) -> Preparation:
    """How a text was cut, and the formats in which its audio is requested and written.

    Args:
        text: the whole.
        pieces: what is sent.
        requested: the maximum length of a piece that a parameter names.
        model: the model's name.
        formats: of the reply and of the file.
    """
    changes = []
    if len(pieces) > 1:
        reason = "piece_characters says so" if requested else f"{model} takes no longer text"
        longest = max(map(len, pieces))
        changes.append(f"cut at sentences into {len(pieces)} pieces of at most {longest:,} characters: {reason}")
    if formats[0] != formats[1]:
        changes.append(f"requested as {formats[0]}, and converted to {formats[1]} here")
    return Preparation("text", {"characters": len(text)}, {"pieces": len(pieces)}, tuple(changes))


def _iter_pieces(text: str, max_characters: int) -> Iterator[str]:
    start = 0
    while len(text) - start > max_characters:
        end = _find_cut(text, start, max_characters)
        yield text[start:end]
        start = end
        while start < len(text) and text[start].isspace():
            start += 1
    yield text[start:]


def _find_cut(text: str, start: int, max_characters: int) -> int:
    """The last good place to cut within ``max_characters``; the end of a paragraph counts only in the second half."""
    window = text[start : start + max_characters + _LOOKBACK_CHARACTERS]  # a run of stops begins anew at a cut in it
    for rank, pattern in enumerate(_BREAKS):
        best = 0
        for match in pattern.finditer(window):
            match_start, match_end = start + match.start(), start + match.end()
            text_end = match_end - (len(match[0]) - len(match[0].rstrip()))
            if text_end - start > max_characters or match_end >= len(text):
                break
            if rank == 1 and _ABBREVIATION.search(text, max(start, match_start - _LOOKBACK_CHARACTERS), match_end):
                continue
            best = match_end
        if best > start and (rank > 0 or best - start > max_characters // 2):
            return best
    return _find_cut_in_word(text, start, start + max_characters)


def _find_cut_in_word(text: str, start: int, end: int) -> int:
    """A place to cut inside a word that, where possible, splits neither a letter from its accent nor an emoji."""
    position = end
    while position > start + 1 and (
        unicodedata.combining(text[position]) or _ZERO_WIDTH_JOINER in text[position - 1 : position + 1]
    ):
        position -= 1
    return position if position > start + 1 else end
