"""Checks of a transcript that need no reference: what is likely to be wrong with it, by its own account.

Every flag has its meaning in :data:`MEANINGS` and its threshold in a constant below. They are set so that good
transcripts of good recordings raise none: a flag is worth a look, or a bigger model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from mediamill.tasks.capabilities.speech.writing_systems import WHOLE_WORDS, count_words, script_fits

if TYPE_CHECKING:
    from mediamill.tasks.media.audio_info import VoiceActivity

MEANINGS: Mapping[str, str] = {
    "repetition": "the same words again and again: a model in a loop",
    "speech_without_text": "sound like speech, and no text for it",
    "text_without_speech": "text, and no sound like speech: probably made up",
    "too_many_words": "more words than anybody speaks in that time",
    "too_few_words": "far fewer words than so much speech holds",
    "language_mismatch": "another language, or another script, than was asked for",
    "truncated": "the file ends early: only part of the recording could be heard",
    "damaged": "parts of the file could not be decoded",
}
"""Every flag and what it means, in the order they are told."""

LOOP_WORD = 8
"""Times one word follows itself; people do say no five times."""
LOOP_PHRASE = 4
"""Times a phrase of two words or more follows itself ..."""
MIN_LOOP_WORDS = 12
"""... when that makes so many words at least."""
MAX_LOOP_PHRASE = 60
"""Words in the longest phrase that is looked for: about what is said in half a minute."""
MIN_SECONDS = 1.0
"""Shorter recordings are not judged by what is heard in them."""
SPEECH_WITHOUT_TEXT = 1.0
"""Seconds of activity that should have some text, where they are a tenth of the recording ..."""
SPEECH_SHARE = 0.1
SPEECH_IN_ALL = 5.0
"""... or so many seconds, whatever its length."""
GAP_WITHOUT_TEXT = 60.0
"""Seconds of activity between two words, or before the first and after the last, that should have some text."""
TEXT_WITHOUT_SPEECH = 0.1
"""Seconds of activity below which there can be no text ..."""
MIN_SECONDS_A_WORD = 0.01
"""... and for each of its words; in loud noise most of what is spoken goes unnoticed."""
MAX_WORDS_A_SECOND = 7.0
"""Words a second of the recording; quick speakers reach five."""
MIN_WORDS_A_SECOND = 0.4
"""Words a second of activity; slow speakers reach one and a half ..."""
FEWEST_FROM = 8.0
"""... told from so many seconds of activity on."""

_ALIKE = ({"no", "nn", "nb"}, {"zh", "yue"}, {"hr", "sr", "bs"}, {"id", "ms", "jv"}, {"hi", "ur"}, {"tl", "fil"})
"""Languages that detectors take for one another; not told apart here either."""
_WARNED = re.compile(r"(truncated|damaged)\b")


@dataclass(frozen=True, slots=True)
class TranscriptFacts:
    """A transcript and what is known of its recording.

    Attributes:
        text: all of it.
        parts: its words, or where there are none its segments, with ``start`` and ``end`` in seconds; None without.
        language: as told by the provider, an ISO code; None when not.
        asked: the language the text was to be in; None where it was to be detected.
        seconds: the recording's length; None when not known.
        voiced: when there was activity; None when the recording was not looked at.
        warnings: what was found while decoding.
    """

    text: str
    parts: Sequence[Mapping[str, Any]] | None = None
    language: str | None = None
    asked: str | None = None
    seconds: float | None = None
    voiced: VoiceActivity | None = None
    warnings: Sequence[str] = ()


def check_transcript(
    data: Mapping[str, Any],
    asked: str | None,
    seconds: float | None,
    voiced: VoiceActivity | None,
    warnings: Sequence[str],
) -> dict[str, Any]:
    """The columns ``speech_seconds`` and ``flags`` of a transcript, from its other columns."""
    facts = TranscriptFacts(
        data.get("text") or "",
        data.get("words") or data.get("segments"),
        data.get("language"),
        asked,
        seconds,
        voiced,
        warnings,
    )
    return {"speech_seconds": voiced.seconds if voiced else None, "flags": flags_of(facts)}


def flags_of(facts: TranscriptFacts) -> list[str]:
    """The flags of a transcript, in the order of :data:`MEANINGS`; none as a rule."""
    found = {*_by_text(facts), *_by_sound(facts), *_by_warnings(facts.warnings)}
    return [flag for flag in MEANINGS if flag in found]


def _by_text(facts: TranscriptFacts) -> Iterator[str]:
    if has_loop(facts.text):
        yield "repetition"
    if is_language_mismatch(facts.text, facts.language, facts.asked):
        yield "language_mismatch"


def _by_sound(facts: TranscriptFacts) -> Iterator[str]:
    if facts.seconds is None or facts.seconds < MIN_SECONDS:
        return
    words = count_words(facts.text)
    if words / facts.seconds > MAX_WORDS_A_SECOND:
        yield "too_many_words"
    if facts.voiced is None:
        return
    active = facts.voiced.seconds
    if words and active < max(TEXT_WITHOUT_SPEECH, words * MIN_SECONDS_A_WORD):
        yield "text_without_speech"
    enough = min(max(SPEECH_WITHOUT_TEXT, SPEECH_SHARE * facts.seconds), SPEECH_IN_ALL)
    if (not words and active >= enough) or has_unheard_speech(facts.parts or (), facts.voiced):
        yield "speech_without_text"
    elif words and active >= FEWEST_FROM and words / active < MIN_WORDS_A_SECOND:
        yield "too_few_words"


def _by_warnings(warnings: Sequence[str]) -> Iterator[str]:
    for warning in warnings:
        if kind := _WARNED.match(warning):
            yield kind[1]


def has_unheard_speech(parts: Sequence[Mapping[str, Any]], voiced: VoiceActivity) -> bool:
    """True when a stretch with much activity has nothing told for it; only where times are told."""
    times = sorted((p["start"], p["end"]) for p in parts if p.get("start") is not None and p.get("end") is not None)
    if not times:
        return False
    edges = [(0.0, 0.0), *times, (float(len(voiced.by_second)),) * 2]
    reached = 0.0
    for (_, end), (start, _) in pairwise(edges):
        reached = max(reached, end)
        if start - reached >= GAP_WITHOUT_TEXT and voiced.between(reached, start) >= GAP_WITHOUT_TEXT:
            return True
    return False


def has_loop(text: str) -> bool:
    """True when a word or a phrase follows itself too often."""
    tokens = [token.lower() for token in WHOLE_WORDS.findall(text)]
    if len(tokens) < LOOP_WORD:
        return False
    for period in range(1, min(MAX_LOOP_PHRASE, len(tokens) // LOOP_PHRASE) + 1):
        if _echoed(tokens, period, _looped(period)):
            return True
    return False


def _looped(period: int) -> int:
    """Tokens in a row equal to those ``period`` before them that make a loop."""
    if period == 1:
        return LOOP_WORD - 1
    return max(period * LOOP_PHRASE, MIN_LOOP_WORDS) - period


def _echoed(tokens: Sequence[str], period: int, least: int) -> bool:
    """True when ``least`` tokens in a row equal those ``period`` before them; looks only where such a run must be."""
    pairs = len(tokens) - period
    for at in range(least - 1, pairs, least):
        begin = end = at
        while begin >= 0 and at - begin < least and tokens[begin] == tokens[begin + period]:
            begin -= 1
        if begin == at:
            continue
        while end < pairs and end - begin <= least and tokens[end] == tokens[end + period]:
            end += 1
        if end - begin - 1 >= least:
            return True
    return False


def is_language_mismatch(text: str, language: str | None, asked: str | None) -> bool:
    """True when the language told, or the text's script, is not that of the language asked for."""
    if asked and language and asked != language and not any({asked, language} <= alike for alike in _ALIKE):
        return True
    expected = asked or language
    return expected is not None and not script_fits(text, expected)
