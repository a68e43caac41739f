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

FLAG_MEANINGS: Mapping[str, str] = {
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

MIN_WORD_REPEATS = 8
"""Times one word follows itself; people do say no five times."""
MIN_PHRASE_REPEATS = 4
"""Times a phrase of two words or more follows itself ..."""
MIN_LOOP_WORDS = 12
"""... when that makes so many words at least."""
MAX_LOOP_PHRASE_WORDS = 60
"""Words in the longest phrase that is looked for: about what is said in half a minute."""
MIN_CHECKED_SECONDS = 1.0
"""Shorter recordings are not judged by what is heard in them."""
MIN_UNTRANSCRIBED_SECONDS = 1.0
"""Seconds of activity that should have some text, where they are a tenth of the recording ..."""
MIN_UNTRANSCRIBED_SHARE = 0.1
MAX_UNTRANSCRIBED_SECONDS = 5.0
"""... or so many seconds, whatever its length."""
MIN_UNTRANSCRIBED_GAP_SECONDS = 60.0
"""Seconds of activity between two words, or before the first and after the last, that should have some text."""
MIN_SPEECH_SECONDS = 0.1
"""Seconds of activity below which there can be no text ..."""
MIN_SPEECH_SECONDS_PER_WORD = 0.01
"""... and for each of its words; in loud noise most of what is spoken goes unnoticed."""
MAX_WORDS_PER_SECOND = 7.0
"""Words a second of the recording; quick speakers reach five."""
MIN_WORDS_PER_SPEECH_SECOND = 0.4
"""Words a second of activity; slow speakers reach one and a half ..."""
MIN_SPEECH_SECONDS_FOR_WORD_RATE = 8.0
"""... told from so many seconds of activity on."""

_SIMILAR_LANGUAGES = (
    {"no", "nn", "nb"},
    {"zh", "yue"},
    {"hr", "sr", "bs"},
    {"id", "ms", "jv"},
    {"hi", "ur"},
    {"tl", "fil"},
)
"""Languages that detectors take for one another; not told apart here either."""
_FLAGGED_WARNING = re.compile(r"(truncated|damaged)\b")


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
    expected_language: str | None = None
    seconds: float | None = None
    voice_activity: VoiceActivity | None = None
    warnings: Sequence[str] = ()


def check_transcript(
    data: Mapping[str, Any],
    expected_language: str | None,
    seconds: float | None,
    voice_activity: VoiceActivity | None,
    warnings: Sequence[str],
) -> dict[str, Any]:
    """The columns ``speech_seconds`` and ``flags`` of a transcript, from its other columns."""
    facts = TranscriptFacts(
        data.get("text") or "",
        data.get("words") or data.get("segments"),
        data.get("language"),
        expected_language,
        seconds,
        voice_activity,
        warnings,
    )
    return {"speech_seconds": voice_activity.seconds if voice_activity else None, "flags": find_flags(facts)}


def find_flags(facts: TranscriptFacts) -> list[str]:
    """The flags of a transcript, in the order of :data:`MEANINGS`; none as a rule."""
    found = {*_find_text_flags(facts), *_find_speech_flags(facts), *_find_warning_flags(facts.warnings)}
    return [flag for flag in FLAG_MEANINGS if flag in found]


def _find_text_flags(facts: TranscriptFacts) -> Iterator[str]:
    if has_loop(facts.text):
        yield "repetition"
    if is_language_mismatch(facts.text, facts.language, facts.expected_language):
        yield "language_mismatch"


def _find_speech_flags(facts: TranscriptFacts) -> Iterator[str]:
    if facts.seconds is None or facts.seconds < MIN_CHECKED_SECONDS:
        return
    words = count_words(facts.text)
    if words / facts.seconds > MAX_WORDS_PER_SECOND:
        yield "too_many_words"
    if facts.voice_activity is None:
        return
    active = facts.voice_activity.seconds
    if words and active < max(MIN_SPEECH_SECONDS, words * MIN_SPEECH_SECONDS_PER_WORD):
        yield "text_without_speech"
    enough = min(max(MIN_UNTRANSCRIBED_SECONDS, MIN_UNTRANSCRIBED_SHARE * facts.seconds), MAX_UNTRANSCRIBED_SECONDS)
    if (not words and active >= enough) or has_untranscribed_speech(facts.parts or (), facts.voice_activity):
        yield "speech_without_text"
    elif words and active >= MIN_SPEECH_SECONDS_FOR_WORD_RATE and words / active < MIN_WORDS_PER_SPEECH_SECOND:
        yield "too_few_words"


def _find_warning_flags(warnings: Sequence[str]) -> Iterator[str]:
    for warning in warnings:
        if kind := _FLAGGED_WARNING.match(warning):
            yield kind[1]


def has_untranscribed_speech(parts: Sequence[Mapping[str, Any]], voice_activity: VoiceActivity) -> bool:
    """True when a stretch with much activity has nothing told for it; only where times are told."""
    times = sorted((p["start"], p["end"]) for p in parts if p.get("start") is not None and p.get("end") is not None)
    if not times:
        return False
    edges = [(0.0, 0.0), *times, (float(len(voice_activity.by_second)),) * 2]
    reached = 0.0
    for (_, end), (start, _) in pairwise(edges):
        reached = max(reached, end)
        if (
            start - reached >= MIN_UNTRANSCRIBED_GAP_SECONDS
            and voice_activity.between(reached, start) >= MIN_UNTRANSCRIBED_GAP_SECONDS
        ):
            return True
    return False


def has_loop(text: str) -> bool:
    """True when a word or a phrase follows itself too often."""
    tokens = [token.lower() for token in WHOLE_WORDS.findall(text)]
    if len(tokens) < MIN_WORD_REPEATS:
        return False
    for period in range(1, min(MAX_LOOP_PHRASE_WORDS, len(tokens) // MIN_PHRASE_REPEATS) + 1):
        if _has_repeat(tokens, period, _min_loop_matches(period)):
            return True
    return False


def _min_loop_matches(period: int) -> int:
    """Tokens in a row equal to those ``period`` before them that make a loop."""
    if period == 1:
        return MIN_WORD_REPEATS - 1
    return max(period * MIN_PHRASE_REPEATS, MIN_LOOP_WORDS) - period


def _has_repeat(tokens: Sequence[str], period: int, min_matches: int) -> bool:
    """True when ``least`` tokens in a row equal those ``period`` before them; looks only where such a run must be."""
    pairs = len(tokens) - period
    for at in range(min_matches - 1, pairs, min_matches):
        begin = end = at
        while begin >= 0 and at - begin < min_matches and tokens[begin] == tokens[begin + period]:
            begin -= 1
        if begin == at:
            continue
        while end < pairs and end - begin <= min_matches and tokens[end] == tokens[end + period]:
            end += 1
        if end - begin - 1 >= min_matches:
            return True
    return False


def is_language_mismatch(text: str, language: str | None, expected_language: str | None) -> bool:
    """True when the language told, or the text's script, is not that of the language asked for."""
    if (
        expected_language
        and language
        and expected_language != language
        and not any({expected_language, language} <= alike for alike in _SIMILAR_LANGUAGES)
    ):
        return True
    text_language = expected_language or language
    return text_language is not None and not script_fits(text, text_language)
