"""A transcript's text in small parts, each with its time: what cues are made of."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from mediamill.tasks.sinks.subtitles.align import Timed, aligned
from mediamill.tasks.sinks.subtitles.display_width import cells, columns_of, width

READING = 15.0
"""Columns a second at which text is shown of which no time is known."""

_SPACE = re.compile(r"\s+")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
"""Thai, Lao, Burmese and Khmer: narrow, and written without spaces between words."""


@dataclass(frozen=True, slots=True)
class Token:
    """A word, or a part of one; ``spaced`` when a space stands before it."""

    start: float
    end: float
    text: str
    speaker: str | None
    spaced: bool


def tokens(row: Mapping[str, Any]) -> list[Token]:
    """The text of a result row with times that never run backwards.

    Times are those of its words, the text is its own: models tell words without their punctuation. Where the two
    cannot be brought together, or there are no words, segments are shared out by width; text without any times is
    shared out over the recording's length.
    """
    text = clean(str(row.get("text") or ""))
    words = list(_timed(row.get("words") or ()))
    found = _by_words(text, words, row.get("segments") or ()) if words else []
    found = found or [t for s in row.get("segments") or () for t in _spread(_part(s))]
    if not found and text:
        length = row.get("audio_seconds") or row.get("duration_s") or width(text) / READING
        found = list(_spread(Timed(0.0, float(length), text, None)))
    return _in_order(found)


def clean(text: str) -> str:
    """Text on one line, without control characters."""
    plain = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)
    return _SPACE.sub(" ", plain).strip()


def joined(parts: Iterable[Token]) -> str:
    """Tokens as one text again."""
    return "".join(f" {part.text}" if part.spaced else part.text for part in parts).strip()


def _by_words(text: str, words: Sequence[Timed], segments: Sequence[Mapping[str, Any]]) -> list[Token]:
    whole = _matched(text, words)
    if whole is not None:
        return whole
    found: list[Token] = []
    for segment, held in _shared_out(segments, words):
        matched = _matched(segment.text, held) if held else list(_spread(segment))
        found += _as_told(held) if matched is None else matched
    return found or _as_told(words)


def _matched(text: str, words: Sequence[Timed]) -> list[Token] | None:
    """The text with the words' times; None where they differ, or where only the words tell where a line may break."""
    units = _units(text)
    found = None if _UNSPACED.search(text) else aligned([unit for unit, _ in units], words)
    if found is None:
        return None
    return [Token(t.start, t.end, t.text, t.speaker, spaced) for t, (_, spaced) in zip(found, units, strict=True)]


def _shared_out(
    segments: Sequence[Mapping[str, Any]], words: Sequence[Timed]
) -> Iterator[tuple[Timed, Sequence[Timed]]]:
    """Which words are whose, by the middle of each word."""
    at = 0
    for n, segment in enumerate(segments):
        after = segments[n + 1].get("start") if n + 1 < len(segments) else None
        begin = at
        while at < len(words) and (after is None or (words[at].start + words[at].end) / 2 < after):
            at += 1
        yield _part(segment), words[begin:at]


def _as_told(words: Sequence[Timed]) -> list[Token]:
    """Words as the model tells them, with spaces where their script has them."""
    found: list[Token] = []
    for word in words:
        before = found[-1].text[-1] if found else ""
        close = bool(before) and (_unspaced(before) and _unspaced(word.text[0]))
        found += [replace(t, spaced=t.spaced and not close) for t in _spread(word)]
    return found


def _unspaced(character: str) -> bool:
    return columns_of(character) > 1 or bool(_UNSPACED.match(character))


def _units(text: str) -> list[tuple[str, bool]]:
    """A text's words, and whether a space stands before each; scripts without spaces in smaller parts."""
    return [(cell, not n) for word in text.split(" ") if word for n, cell in enumerate(cells(word))]


def _spread(part: Timed) -> Iterator[Token]:
    """A stretch of text as tokens, its time shared out by their width."""
    units = _units(part.text)
    total = sum(max(width(text), 1) for text, _ in units)
    at, seconds = part.start, max(part.end - part.start, 0.0)
    for text, spaced in units:
        end = at + seconds * max(width(text), 1) / total
        yield Token(at, end, text, part.speaker, spaced)
        at = end


def _part(told: Mapping[str, Any]) -> Timed:
    start = float(told.get("start") or 0.0)
    end = told.get("end")
    text = clean(str(told.get("word") or told.get("text") or ""))
    return Timed(start, start if end is None else float(end), text, told.get("speaker"))


def _timed(words: Sequence[Mapping[str, Any]]) -> Iterator[Timed]:
    """Words with text, all with times as soon as one has: aligners leave numbers out, which go between the others."""
    waiting: list[Timed] = []
    last: Timed | None = None
    for told in words:
        word = _part(told)
        if word.text and told.get("start") is None:
            waiting.append(word)
        elif word.text:
            yield from _between(waiting, last.end if last else None, word.start)
            yield word
            waiting, last = [], word
    if last:
        yield from _between(waiting, last.end, None)


def _between(words: Sequence[Timed], start: float | None, end: float | None) -> Iterator[Timed]:
    """Words told without times: behind ``start`` or else before ``end``, as long as reading takes if there is room."""
    wanted = sum(width(word.text) for word in words) / READING
    if start is None:
        end = end or 0.0
        start = max(end - wanted, 0.0)
    room = wanted if end is None else max(min(end - start, wanted), 0.0)
    each = room / max(len(words), 1)
    for n, word in enumerate(words):
        yield Timed(start + n * each, start + (n + 1) * each, word.text, word.speaker)


def _in_order(found: Sequence[Token]) -> list[Token]:
    """Times that never run backwards; what is told to last into the next word ends where that begins."""
    starts, at = [], 0.0
    for token in found:
        at = max(token.start, at)
        starts.append(at)
    ends = [min(max(t.end, a), b) for t, (a, b) in zip(found, pairwise([*starts, float("inf")]), strict=True)]
    return [replace(t, start=a, end=b) for t, a, b in zip(found, starts, ends, strict=True)]
