"""Text brought together with the times of its words."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True)
class Timed:
    """A stretch of text from ``start`` to ``end``, in seconds."""

    start: float
    end: float
    text: str
    speaker: str | None


def aligned(units: Sequence[str], words: Sequence[Timed]) -> list[Timed] | None:
    """Parts of a text with the times of the words they are spelled by; None where the two spell different things.

    Only letters and digits are compared, without case and accents: punctuation, and where the words are cut, may
    differ. A part that holds none begins and ends where the part before it ends.
    """
    spelled = [_letters(word.text) for word in words]
    if "".join(_letters(text) for text in units) != "".join(spelled):
        return None
    places = [(n, k) for n, letters in enumerate(spelled) for k in range(len(letters))]
    if not places:
        return None
    found: list[Timed] = []
    at = 0
    for text in units:
        held = len(_letters(text))
        if held:
            first, (last, k) = places[at], places[at + held - 1]
            begin, end = _time(words, spelled, *first), _time(words, spelled, last, k + 1)
            found.append(Timed(begin, end, text, words[first[0]].speaker))
            at += held
        else:
            before = found[-1] if found else Timed(words[0].start, words[0].start, "", words[0].speaker)
            found.append(Timed(before.end, before.end, text, before.speaker))
    return found


def _time(words: Sequence[Timed], spelled: Sequence[str], word: int, letter: int) -> float:
    """When a letter of a word begins, were all of them equally long."""
    told, letters = words[word], len(spelled[word])
    return told.end if letter == letters else told.start + (told.end - told.start) * letter / letters


def _letters(text: str) -> str:
    folded = text.lower() if text.isascii() else "".join(map(_folded, text))
    return folded if folded.isalnum() else "".join(c for c in folded if c.isalnum())


@cache
def _folded(character: str) -> str:
    return unicodedata.normalize("NFKD", character.casefold())
