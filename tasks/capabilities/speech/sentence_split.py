"""Long texts cut where a speaker would breathe: at the end of a paragraph, a sentence, a clause, a word."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_BREAKS = (
    re.compile(r"\n\s*\n+\s*"),
    re.compile(
        r"(?:[.!?\u2026\u061f\u06d4\u0964]+[\"'\u201d\u2019\u00bb)\]]*\s+|[\u3002\uff01\uff1f]+[\u300d\u300f\uff09]?\s*|\n\s*)"
    ),
    re.compile(r"(?:[;:,\u2014\u2013\u060c]+\s+|[\uff0c\u3001\uff1b\uff1a]+\s*|\s[-\u2013\u2014]\s)"),
    re.compile(r"\s+"),
)
"""Where a text may be cut, best first; the cut is behind the match."""

_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|Sr|Jr|St|vs|etc|No|Fig|Inc|Ltd|Co|approx|e\.g|i\.e|z\.B|d\.h|bzw|ca|Nr)|\b[A-Z]|\b\d+)\.\s+$"
)
"""Full stops that end no sentence: titles, initials, numbers in a list."""

_LOOKBACK_CHARACTERS = 12
_ZERO_WIDTH_JOINER = "\u200d"


def split_text(text: str, max_characters: int) -> list[str]:
    """Cut a text into pieces of at most ``max_characters`` characters, as few and as well cut as can be.

    Nothing but white space at the cuts is lost. Only a word longer than ``max_characters`` is cut within.

    Args:
        text: to be cut; white space around it is dropped.
        max_characters: most characters of a piece, at least 1.
    """
    return [piece for piece in (part.strip() for part in _iter_pieces(text.strip(), max_characters)) if piece]


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
    """The last good place to cut in the first ``max_characters`` characters; a paragraph only in their second half."""
    for rank, ends in enumerate(_BREAKS):
        best = 0
        for found in ends.finditer(text, start, min(len(text), start + max_characters + _LOOKBACK_CHARACTERS)):
            spoken = found.end() - (len(found[0]) - len(found[0].rstrip()))
            if spoken - start > max_characters or found.end() >= len(text):
                break
            if rank == 1 and _ABBREVIATION.search(text, max(start, found.start() - _LOOKBACK_CHARACTERS), found.end()):
                continue
            best = found.end()
        if best > start and (rank > 0 or best - start > max_characters // 2):
            return best
    return _find_cut_in_word(text, start, start + max_characters)


def _find_cut_in_word(text: str, start: int, end: int) -> int:
    """A cut that separates no accent from its letter and no part of an emoji from the rest, where that can be."""
    at = end
    while at > start + 1 and (unicodedata.combining(text[at]) or _ZERO_WIDTH_JOINER in text[at - 1 : at + 1]):
        at -= 1
    return at if at > start + 1 else end
