"""Cues from a transcript: short lines, a readable pace, one at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mediamill.tasks.sinks.subtitles.display_width import MAX_LINE_WIDTH, measure_width, split_cells
from mediamill.tasks.sinks.subtitles.timed_text import Token, build_tokens, clean_text, join_tokens

MAX_LINES = 2
READING_COLUMNS_PER_SECOND = 20.0
"""Columns a second that people read without hurry; a cue is shown that long where the next one leaves room."""
USUAL_MIN_CUE_SECONDS = 1.0
"""The minimum a cue is shown where the next one leaves room ..."""
MIN_CUE_SECONDS = 0.5
"""... and where it does not: the next cue then begins later."""
MAX_CUE_SECONDS = 7.0
NEW_CUE_PAUSE_SECONDS = 1.0
"""Seconds without a word after which a new cue begins."""
MIN_GAP_SECONDS = 0.001
MAX_LABEL_WIDTH = 16
"""Columns of a speaker's name with its colon; longer names are cut."""

_SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？")  # noqa: RUF001 (the sentence ends of Chinese and Japanese)


@dataclass(frozen=True, slots=True)
class Cue:
    """What is shown from ``start`` to ``end`` (seconds): one or two lines, the first with the speaker's name."""

    start: float
    end: float
    lines: tuple[str, ...]
    speaker: str | None = None


@dataclass(slots=True)
class _CueGroup:
    """Tokens that are shown together, after a label."""

    label: str
    tokens: list[Token]

    @property
    def start(self) -> float:
        return self.tokens[0].start

    @property
    def end(self) -> float:
        return self.tokens[-1].end

    def fits(self, token: Token) -> bool:
        first, last = self.tokens[0], self.tokens[-1]
        text = join_tokens(self.tokens)
        return (
            token.speaker == first.speaker
            and token.start - last.end < NEW_CUE_PAUSE_SECONDS
            and token.end - first.start <= MAX_CUE_SECONDS
            and not (text.endswith(_SENTENCE_ENDS) and token.spaced and measure_width(text) >= MAX_LINE_WIDTH // 2)
            and len(_fill_lines(self.label, [*self.tokens, token])) <= MAX_LINES
        )


def build_cues(row: Mapping[str, Any]) -> list[Cue]:
    """The cues of a result row.

    Times never run backwards and cues never overlap. Where the next cue leaves room, a cue is shown as long as reading
    it takes, for ``USUAL_MIN_CUE_SECONDS`` to ``MAX_CUE_SECONDS``; never for less than ``MIN_CUE_SECONDS``. Where
    there are several speakers, each cue names its own.
    """
    tokens = build_tokens(row)
    has_several_speakers = len({token.speaker for token in tokens if token.speaker}) > 1
    groups: list[_CueGroup] = []
    for token in (part for whole in tokens for part in _split_wide_token(whole)):
        if groups and groups[-1].fits(token):
            groups[-1].tokens.append(token)
        else:
            groups.append(_CueGroup(format_label(token.speaker) if has_several_speakers else "", [token]))
    return _time_cues(groups)


def format_label(speaker: str | None) -> str:
    """A speaker's name as a label before the text: ``NAME:``; empty without a speaker."""
    name = clean_text(speaker or "")
    if measure_width(name) > MAX_LABEL_WIDTH:
        while measure_width(name) >= MAX_LABEL_WIDTH:
            name = name[:-1]
        name += "…"
    return f"{name}:" if name else ""


def _split_wide_token(token: Token) -> list[Token]:
    """The token, split into parts when it may be too wide for a line with a label."""
    if measure_width(token.text) <= MAX_LINE_WIDTH // 2:
        return [token]
    parts = list(split_cells(token.text))
    step = (token.end - token.start) / len(parts)
    return [
        Token(token.start + n * step, token.start + (n + 1) * step, part, token.speaker, token.spaced and not n)
        for n, part in enumerate(parts)
    ]


def _fill_lines(label: str, tokens: Sequence[Token]) -> list[list[Token]]:
    """Tokens in lines, each filled as far as its width allows."""
    lines: list[list[Token]] = [[]]
    used = measure_width(label)
    for token in tokens:
        more = measure_width(token.text) + (token.spaced and used > 0)
        if lines[-1] and used + more > MAX_LINE_WIDTH:
            lines.append([])
            used, more = 0, measure_width(token.text)
        lines[-1].append(token)
        used += more
    return lines


def _break_lines(group: _CueGroup) -> tuple[str, ...]:
    """One line if the text fits in it, else two of about the same width."""
    if len(_fill_lines(group.label, group.tokens)) == 1:
        return (_join_with_label(group.label, group.tokens),)
    tokens = group.tokens
    splits = [(_join_with_label(group.label, tokens[:n]), join_tokens(tokens[n:])) for n in range(1, len(tokens))]
    spaced = [split for split, token in zip(splits, tokens[1:], strict=True) if token.spaced]
    for choice in (spaced, splits):
        fitting = [split for split in choice if max(map(measure_width, split)) <= MAX_LINE_WIDTH]
        if fitting:
            return min(fitting, key=lambda split: abs(measure_width(split[0]) - measure_width(split[1])))
    return tuple(join_tokens(line) for line in _fill_lines("", tokens))


def _join_with_label(label: str, tokens: Sequence[Token]) -> str:
    return f"{label} {join_tokens(tokens)}" if label else join_tokens(tokens)


def _time_cues(groups: Sequence[_CueGroup]) -> list[Cue]:
    """A cue for each group, shown as long as it needs and the next one allows; times in whole milliseconds."""
    timed_cues: list[Cue] = []
    for n, group in enumerate(groups):
        lines = _break_lines(group)
        start = max(round(group.start, 3), timed_cues[-1].end + MIN_GAP_SECONDS if timed_cues else 0.0)
        wanted_end = max(
            group.end, start + max(USUAL_MIN_CUE_SECONDS, sum(map(measure_width, lines)) / READING_COLUMNS_PER_SECOND)
        )
        latest_end = groups[n + 1].start - MIN_GAP_SECONDS if n + 1 < len(groups) else wanted_end
        end = max(min(wanted_end, latest_end, start + MAX_CUE_SECONDS), start + MIN_CUE_SECONDS)
        timed_cues.append(Cue(round(start, 3), round(end, 3), lines, group.tokens[0].speaker if group.label else None))
    return timed_cues
