"""Cues from a transcript: short lines, a readable pace, one at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mediamill.tasks.sinks.subtitles.display_width import LINE_WIDTH, cells, width
from mediamill.tasks.sinks.subtitles.timed_text import Token, clean, joined, tokens

LINES = 2
PACE = 20.0
"""Columns a second that people read without hurry; a cue stays on so long where there is room."""
SHORTEST = 1.0
"""Seconds a cue stays on where there is room ..."""
LEAST = 0.5
"""... and where there is none: the next one waits for it."""
LONGEST = 7.0
PAUSE = 1.0
"""Seconds without a word after which a new cue begins."""
GAP = 0.001
LABEL_WIDTH = 16
"""Columns of a speaker's name; longer ones are cut."""

_ENDS = (".", "!", "?", "…", "。", "！", "？")  # noqa: RUF001 (the sentence ends of Chinese and Japanese)


@dataclass(frozen=True, slots=True)
class Cue:
    """What stands on the screen from ``start`` to ``end`` (seconds): one or two lines, the first with a speaker."""

    start: float
    end: float
    lines: tuple[str, ...]
    speaker: str | None = None


@dataclass(slots=True)
class _Group:
    """Tokens that are shown together, behind a label."""

    label: str
    held: list[Token]

    @property
    def start(self) -> float:
        return self.held[0].start

    @property
    def end(self) -> float:
        return self.held[-1].end

    def takes(self, token: Token) -> bool:
        first, last = self.held[0], self.held[-1]
        text = joined(self.held)
        return (
            token.speaker == first.speaker
            and token.start - last.end < PAUSE
            and token.end - first.start <= LONGEST
            and not (text.endswith(_ENDS) and token.spaced and width(text) >= LINE_WIDTH // 2)
            and len(_greedy(self.label, [*self.held, token])) <= LINES
        )


def cues(row: Mapping[str, Any]) -> list[Cue]:
    """The cues of a result row.

    Times never run backwards and cues never overlap. A cue stays on for ``SHORTEST`` to ``LONGEST`` seconds, and as
    long as reading it takes, where there is room before the next one; never for less than ``LEAST``. Where several
    people speak, each cue names who does.
    """
    found = tokens(row)
    several = len({token.speaker for token in found if token.speaker}) > 1
    groups: list[_Group] = []
    for token in (part for whole in found for part in _fitting(whole)):
        if groups and groups[-1].takes(token):
            groups[-1].held.append(token)
        else:
            groups.append(_Group(label_of(token.speaker) if several else "", [token]))
    return _shown(groups)


def label_of(speaker: str | None) -> str:
    """A speaker's name as it stands before what is said: ``NAME:``; nothing for nobody."""
    name = clean(speaker or "")
    if width(name) > LABEL_WIDTH:
        while width(name) >= LABEL_WIDTH:
            name = name[:-1]
        name += "…"
    return f"{name}:" if name else ""


def _fitting(token: Token) -> list[Token]:
    """A token, in parts when it is wider than a line with a label."""
    if width(token.text) <= LINE_WIDTH // 2:
        return [token]
    parts = list(cells(token.text))
    step = (token.end - token.start) / len(parts)
    return [
        Token(token.start + n * step, token.start + (n + 1) * step, part, token.speaker, token.spaced and not n)
        for n, part in enumerate(parts)
    ]


def _greedy(label: str, held: Sequence[Token]) -> list[list[Token]]:
    """Tokens in lines, each as full as it goes."""
    lines: list[list[Token]] = [[]]
    used = width(label)
    for token in held:
        more = width(token.text) + (token.spaced and used > 0)
        if lines[-1] and used + more > LINE_WIDTH:
            lines.append([])
            used, more = 0, width(token.text)
        lines[-1].append(token)
        used += more
    return lines


def _lines(group: _Group) -> tuple[str, ...]:
    """One line where that is enough, else two of about the same width."""
    if len(_greedy(group.label, group.held)) == 1:
        return (_first(group.label, group.held),)
    held = group.held
    splits = [(_first(group.label, held[:n]), joined(held[n:])) for n in range(1, len(held))]
    spaced = [split for split, token in zip(splits, held[1:], strict=True) if token.spaced]
    for choice in (spaced, splits):
        fit = [split for split in choice if max(map(width, split)) <= LINE_WIDTH]
        if fit:
            return min(fit, key=lambda split: abs(width(split[0]) - width(split[1])))
    return tuple(joined(line) for line in _greedy("", held))


def _first(label: str, held: Sequence[Token]) -> str:
    return f"{label} {joined(held)}" if label else joined(held)


def _shown(groups: Sequence[_Group]) -> list[Cue]:
    """Each group for as long as it needs, as far as the next one leaves room; whole milliseconds."""
    made: list[Cue] = []
    for n, group in enumerate(groups):
        lines = _lines(group)
        begin = max(round(group.start, 3), made[-1].end + GAP if made else 0.0)
        wanted = max(group.end, begin + max(SHORTEST, sum(map(width, lines)) / PACE))
        room = groups[n + 1].start - GAP if n + 1 < len(groups) else wanted
        end = max(min(wanted, room, begin + LONGEST), begin + LEAST)
        made.append(Cue(round(begin, 3), round(end, 3), lines, group.held[0].speaker if group.label else None))
    return made
