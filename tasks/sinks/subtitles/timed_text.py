"""A transcript's text in tokens, each with its time, from which cues are built."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from mediamill.tasks.sinks.subtitles.align import TimedText, align_units
from mediamill.tasks.sinks.subtitles.display_width import count_columns, measure_width, split_cells

UNTIMED_COLUMNS_PER_SECOND = 15.0
"""Columns a second at which text without times is shown."""

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


def build_tokens(row: Mapping[str, Any]) -> list[Token]:
    """The text of a result row as tokens with times that never run backwards.

    Times come from its words and text from the text itself, since models return words without punctuation. Where the
    two cannot be aligned, or there are no words, a segment's time is spread over its text by width; text without any
    times is spread over the recording's length.
    """
    text = clean_text(str(row.get("text") or ""))
    words = list(_time_words(row.get("words") or ()))
    timed_tokens = _time_by_words(text, words, row.get("segments") or ()) if words else []
    timed_tokens = timed_tokens or [t for s in row.get("segments") or () for t in _spread_tokens(_to_timed_text(s))]
    if not timed_tokens and text:
        length = row.get("audio_seconds") or row.get("duration_s") or measure_width(text) / UNTIMED_COLUMNS_PER_SECOND
        timed_tokens = list(_spread_tokens(TimedText(0.0, float(length), text, None)))
    return _make_monotonic(timed_tokens)


def clean_text(text: str) -> str:
    """Text on one line, without control characters."""
    without_controls = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)
    return _SPACE.sub(" ", without_controls).strip()


def join_tokens(parts: Iterable[Token]) -> str:
    """Tokens as one text again."""
    return "".join(f" {part.text}" if part.spaced else part.text for part in parts).strip()


def _time_by_words(text: str, words: Sequence[TimedText], segments: Sequence[Mapping[str, Any]]) -> list[Token]:
    whole_text = _match_words(text, words)
    if whole_text is not None:
        return whole_text
    timed_tokens: list[Token] = []
    for segment, segment_words in _assign_words(segments, words):
        matched = _match_words(segment.text, segment_words) if segment_words else list(_spread_tokens(segment))
        timed_tokens += _words_to_tokens(segment_words) if matched is None else matched
    return timed_tokens or _words_to_tokens(words)


def _match_words(text: str, words: Sequence[TimedText]) -> list[Token] | None:
    """The text with the words' times; None where they differ, or where only the words show where a line may break."""
    units = _split_units(text)
    timed_units = None if _UNSPACED.search(text) else align_units([unit for unit, _ in units], words)
    if timed_units is None:
        return None
    return [Token(t.start, t.end, t.text, t.speaker, spaced) for t, (_, spaced) in zip(timed_units, units, strict=True)]


def _assign_words(
    segments: Sequence[Mapping[str, Any]], words: Sequence[TimedText]
) -> Iterator[tuple[TimedText, Sequence[TimedText]]]:
    """Each segment with its words, by the middle of each word; where people talk at once, each with its speaker's."""
    if _talk_at_once(segments, words):
        yield from _assign_by_speaker(segments, words)
        return
    index = 0
    for n, segment in enumerate(segments):
        next_start = segments[n + 1].get("start") if n + 1 < len(segments) else None
        first = index
        while index < len(words) and (next_start is None or (words[index].start + words[index].end) / 2 < next_start):
            index += 1
        yield _to_timed_text(segment), words[first:index]


def _talk_at_once(segments: Sequence[Mapping[str, Any]], words: Sequence[TimedText]) -> bool:
    """True where segments of different speakers overlap, and words have the same speakers as segments."""
    speakers = {segment.get("speaker") for segment in segments}
    if len(speakers) < 2 or speakers != {word.speaker for word in words}:  # noqa: PLR2004 - nobody else
        return False
    return any(
        (one.get("end") or 0.0) > (other.get("start") or 0.0) and one["speaker"] != other["speaker"]
        for one, other in pairwise(segments)
    )


def _assign_by_speaker(
    segments: Sequence[Mapping[str, Any]], words: Sequence[TimedText]
) -> Iterator[tuple[TimedText, Sequence[TimedText]]]:
    remaining = {segment["speaker"]: [w for w in words if w.speaker == segment["speaker"]] for segment in segments}
    next_starts: list[float] = []
    starts: dict[Any, float] = {}
    for segment in reversed(segments):
        next_starts.append(starts.get(segment["speaker"], float("inf")))
        starts[segment["speaker"]] = float(segment.get("start") or 0.0)
    for segment, next_start in zip(segments, reversed(next_starts), strict=True):
        own = remaining[segment["speaker"]]
        count = sum(1 for word in own if (word.start + word.end) / 2 < next_start)
        yield _to_timed_text(segment), own[:count]
        remaining[segment["speaker"]] = own[count:]


def _words_to_tokens(words: Sequence[TimedText]) -> list[Token]:
    """Words as the model returned them, with spaces where their script has them."""
    timed_tokens: list[Token] = []
    for word in words:
        last_character = timed_tokens[-1].text[-1] if timed_tokens else ""
        follows_directly = bool(last_character) and (_is_unspaced(last_character) and _is_unspaced(word.text[0]))
        timed_tokens += [replace(t, spaced=t.spaced and not follows_directly) for t in _spread_tokens(word)]
    return timed_tokens


def _is_unspaced(character: str) -> bool:
    return count_columns(character) > 1 or bool(_UNSPACED.match(character))


def _split_units(text: str) -> list[tuple[str, bool]]:
    """A text's words, and whether a space comes before each; scripts without spaces are split further."""
    return [(cell, not n) for word in text.split(" ") if word for n, cell in enumerate(split_cells(word))]


def _spread_tokens(part: TimedText) -> Iterator[Token]:
    """A text as tokens, over which its time is spread by their width."""
    units = _split_units(part.text)
    total = sum(max(measure_width(text), 1) for text, _ in units)
    at, seconds = part.start, max(part.end - part.start, 0.0)
    for text, spaced in units:
        end = at + seconds * max(measure_width(text), 1) / total
        yield Token(at, end, text, part.speaker, spaced)
        at = end


def _to_timed_text(row: Mapping[str, Any]) -> TimedText:
    start = float(row.get("start") or 0.0)
    end = row.get("end")
    text = clean_text(str(row.get("word") or row.get("text") or ""))
    return TimedText(start, start if end is None else float(end), text, row.get("speaker"))


def _time_words(words: Sequence[Mapping[str, Any]]) -> Iterator[TimedText]:
    """Words that have text. If one has a time, the others get times between: some aligners give numbers none."""
    untimed: list[TimedText] = []
    last: TimedText | None = None
    for row in words:
        word = _to_timed_text(row)
        if word.text and row.get("start") is None:
            untimed.append(word)
        elif word.text:
            yield from _spread_words(untimed, last.end if last else None, word.start)
            yield word
            untimed, last = [], word
    if last:
        yield from _spread_words(untimed, last.end, None)


def _spread_words(words: Sequence[TimedText], start: float | None, end: float | None) -> Iterator[TimedText]:
    """Times for words without: after ``start``, else before ``end``, as long as reading takes or as there is room."""
    reading_seconds = sum(measure_width(word.text) for word in words) / UNTIMED_COLUMNS_PER_SECOND
    if start is None:
        end = end or 0.0
        start = max(end - reading_seconds, 0.0)
    seconds = reading_seconds if end is None else max(min(end - start, reading_seconds), 0.0)
    word_seconds = seconds / max(len(words), 1)
    for n, word in enumerate(words):
        yield TimedText(start + n * word_seconds, start + (n + 1) * word_seconds, word.text, word.speaker)


def _make_monotonic(timed_tokens: Sequence[Token]) -> list[Token]:
    """Tokens whose times never run backwards: one that would overlap the next ends where that begins."""
    starts, at = [], 0.0
    for token in timed_tokens:
        at = max(token.start, at)
        starts.append(at)
    ends = [min(max(t.end, a), b) for t, (a, b) in zip(timed_tokens, pairwise([*starts, float("inf")]), strict=True)]
    return [replace(t, start=a, end=b) for t, a, b in zip(timed_tokens, starts, ends, strict=True)]
