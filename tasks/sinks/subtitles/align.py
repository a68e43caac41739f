"""Aligns a text with the times of its words."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True)
class TimedText:
    """A text spoken from ``start`` to ``end``, in seconds."""

    start: float
    end: float
    text: str
    speaker: str | None


def align_units(units: Sequence[str], words: Sequence[TimedText]) -> list[TimedText] | None:
    """Parts of a text with the times of the words that have the same letters; None where the letters differ.

    Only letters and digits are compared, without case and accents: punctuation and word boundaries may differ. A part
    without any begins and ends where the part before it ends.
    """
    word_letters = [_to_letters(word.text) for word in words]
    if "".join(_to_letters(text) for text in units) != "".join(word_letters):
        return None
    positions = [(n, offset) for n, letters in enumerate(word_letters) for offset in range(len(letters))]
    if not positions:
        return None
    timed_units: list[TimedText] = []
    at = 0
    for text in units:
        n_letters = len(_to_letters(text))
        if n_letters:
            first, (last, offset) = positions[at], positions[at + n_letters - 1]
            start = _find_letter_time(words, word_letters, *first)
            end = _find_letter_time(words, word_letters, last, offset + 1)
            timed_units.append(TimedText(start, end, text, words[first[0]].speaker))
            at += n_letters
        else:
            before = timed_units[-1] if timed_units else TimedText(words[0].start, words[0].start, "", words[0].speaker)
            timed_units.append(TimedText(before.end, before.end, text, before.speaker))
    return timed_units


def _find_letter_time(words: Sequence[TimedText], word_letters: Sequence[str], word: int, letter: int) -> float:
    """When a letter of a word begins, if all its letters take equally long."""
    timed, letters = words[word], len(word_letters[word])
    return timed.end if letter == letters else timed.start + (timed.end - timed.start) * letter / letters


def _to_letters(text: str) -> str:
    folded = text.lower() if text.isascii() else "".join(map(_fold_character, text))
    return folded if folded.isalnum() else "".join(c for c in folded if c.isalnum())


@cache
def _fold_character(character: str) -> str:
    return unicodedata.normalize("NFKD", character.casefold())
