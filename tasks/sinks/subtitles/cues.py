"""Cues from words or segments: short lines, a readable pace, one at a time."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

LINE_WIDTH = 42
"""Columns of a line; wide characters (Chinese, Japanese, Korean) take two. The usual limit of broadcasters."""
LINES = 2
PACE = 20.0
"""Columns a second that people read without hurry."""
LONGEST = 7.0
SHORTEST = 1.0
PAUSE = 1.0
"""Seconds without a word after which a new cue begins."""
GAP = 0.001

_SPACE = re.compile(r"\s+")
_ENDS = (".", "!", "?", "…", "。", "！", "？")  # noqa: RUF001 (the sentence ends of Chinese and Japanese)


@dataclass(frozen=True, slots=True)
class Cue:
    """What stands on the screen from ``start`` to ``end`` (seconds): one or two lines."""

    start: float
    end: float
    lines: tuple[str, ...]
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class _Token:
    start: float
    end: float
    text: str
    speaker: str | None


def cues(row: Mapping[str, Any]) -> list[Cue]:
    """The cues of a result row: from its words where it has them, else from its segments, else from its text.

    Times never run backwards, cues never overlap, and a cue stays on as long as reading it takes where there is room.
    """
    several = len(row.get("speakers") or ()) > 1
    groups = [_filled(group) for group in _groups(_tokens(row))]
    return _timed([(group, several) for group in groups if group])


def width(text: str) -> int:
    """Columns a text takes: two for wide characters, none for marks that combine."""
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _tokens(row: Mapping[str, Any]) -> list[_Token]:
    words = [_token(w, str(w.get("word") or "")) for w in row.get("words") or () if w.get("start") is not None]
    found = [w for w in words if w.text]
    if not found:
        found = [t for s in row.get("segments") or () for t in _spread(_token(s, str(s.get("text") or "")))]
    if not found and row.get("text"):
        end = float(row.get("audio_seconds") or row.get("duration_s") or 0.0)
        found = _spread(_Token(0.0, end, _clean(str(row["text"])), None))
    return _monotone(found)


def _token(part: Mapping[str, Any], text: str) -> _Token:
    start = float(part.get("start") or 0.0)
    end = part.get("end")
    return _Token(start, start if end is None else float(end), _clean(text), part.get("speaker"))


def _clean(text: str) -> str:
    plain = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)
    return _SPACE.sub(" ", plain).strip()


def _spread(token: _Token) -> list[_Token]:
    """A stretch of text as words, its time shared out by their width."""
    words = token.text.split(" ") if " " in token.text else _cells(token.text)
    total = sum(width(word) for word in words)
    if not total:
        return []
    spread, at, seconds = [], token.start, max(token.end - token.start, 0.0)
    for word in words:
        end = at + seconds * width(word) / total
        spread.append(_Token(at, end, word, token.speaker))
        at = end
    return spread


def _cells(text: str) -> list[str]:
    """Text without spaces in runs of at most half a line, for scripts that write without them."""
    cells, run = [], ""
    for character in text:
        if run and width(run + character) > LINE_WIDTH // 2:
            cells.append(run)
            run = ""
        run += character
    return [*cells, run] if run else cells


def _monotone(tokens: Iterable[_Token]) -> list[_Token]:
    ordered, at = [], 0.0
    for token in tokens:
        start = max(token.start, at)
        end = max(token.end, start)
        ordered.append(_Token(start, end, token.text, token.speaker))
        at = start
    return ordered


def _groups(tokens: Sequence[_Token]) -> list[list[_Token]]:
    """Words that are shown together."""
    groups: list[list[_Token]] = []
    for token in (part for whole in tokens for part in _fitting(whole)):
        last = groups[-1] if groups else []
        if not last or _breaks(last, token):
            groups.append([token])
        else:
            last.append(token)
    return groups


def _fitting(token: _Token) -> list[_Token]:
    """A word, in parts when it is wider than a line."""
    if width(token.text) <= LINE_WIDTH:
        return [token]
    return _spread(_Token(token.start, token.end, " ".join(_cells(token.text)), token.speaker))


def _breaks(group: Sequence[_Token], token: _Token) -> bool:
    first, last = group[0], group[-1]
    too_much = len(_wrapped([*(t.text for t in group), token.text])) > LINES
    full = width(" ".join(t.text for t in group)) >= LINE_WIDTH // 2
    return (
        too_much
        or token.speaker != first.speaker
        or token.start - last.end >= PAUSE
        or token.end - first.start > LONGEST
        or (full and last.text.endswith(_ENDS))
    )


def _wrapped(words: Sequence[str]) -> list[str]:
    lines: list[str] = []
    for word in words:
        joined = _joined(lines[-1], word) if lines else word
        if lines and width(joined) <= LINE_WIDTH:
            lines[-1] = joined
        else:
            lines.append(word)
    return lines


def _joined(line: str, word: str) -> str:
    """With a space between, except where the script writes without."""
    wide = line and word and _columns(line[-1]) > 1 and _columns(word[0]) > 1
    return line + word if wide else f"{line} {word}"


def _filled(group: Sequence[_Token]) -> tuple[float, float, tuple[str, ...], str | None]:
    lines = _wrapped([token.text for token in group])
    return group[0].start, max(token.end for token in group), tuple(lines), group[0].speaker


def _timed(told: Sequence[tuple[tuple[float, float, tuple[str, ...], str | None], bool]]) -> list[Cue]:
    """Each cue long enough to be read, as far as the next one leaves room; whole milliseconds."""
    made: list[Cue] = []
    for place, ((start, end, lines, speaker), several) in enumerate(told):
        begin = max(round(start, 3), made[-1].end + GAP if made else 0.0)
        wanted = max(end, begin + SHORTEST, begin + sum(map(width, lines)) / PACE)
        room = told[place + 1][0][0] - GAP if place + 1 < len(told) else wanted
        stop = max(min(wanted, max(room, end)), begin + GAP)
        made.append(Cue(round(begin, 3), round(stop, 3), lines, speaker if several else None))
    return [_before(cue, after) for cue, after in zip_longest(made, made[1:])]


def _before(cue: Cue, after: Cue | None) -> Cue:
    """A cue that ends before the next begins."""
    if after is None or cue.end < after.start:
        return cue
    return Cue(cue.start, max(round(after.start - GAP, 3), cue.start), cue.lines, cue.speaker)
