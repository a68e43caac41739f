"""Checks of a transcript without a reference: what is likely to be wrong, from the transcript and the audio alone.

Every flag has its meaning in :data:`FLAG_MEANINGS` and its threshold in a constant below. They are set so that good
transcripts of good recordings get no flag: a flag is worth a look, or a bigger model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from mediamill.tasks.capabilities.base import EVIDENCE
from mediamill.tasks.capabilities.speech.text_language import detect_text_language
from mediamill.tasks.capabilities.speech.writing_systems import WHOLE_WORDS, count_words, script_fits

if TYPE_CHECKING:
    from mediamill.tasks.media.audio_info import VoiceActivity

FLAG_MEANINGS: Mapping[str, str] = {
    "repetition": "the same words again and again: a model in a loop",
    "speech_without_text": "sound like speech, and no text for it",
    "text_without_speech": "text, and no sound like speech: probably made up",
    "too_many_words": "more words than anybody speaks in that time",
    "too_few_words": "far fewer words than so much speech holds",
    "language_mismatch": "another language, or another script, than requested",
    "truncated": "the file ends early: only part of the recording or video could be used",
    "times_past_end": "times of words or segments past the end of the recording, as the provider stated them",
    "times_in_milliseconds": "the provider's times were in milliseconds; they were turned into seconds",
    "damaged": "parts of the file could not be decoded",
    "few_frames": "fewer frames of a video could be decoded than were chosen: its description misses parts of it",
    "cut_off": "an answer ends early, at the maximum number of tokens: raise --max-tokens",
}
"""Every flag and its meaning, in the order in which rows list them."""

MIN_WORD_REPEATS = 8
"""A word that occurs this many times in a row is a loop; people do say "no" five times."""
MIN_PHRASE_REPEATS = 4
"""A phrase of two or more words that occurs this many times in a row is a loop ..."""
MIN_LOOP_WORDS = 12
"""... when that is at least this many words."""
MAX_LOOP_PHRASE_WORDS = 60
"""The longest phrase that is searched for: about what is said in half a minute."""
MIN_CHECKED_SECONDS = 1.0
"""In shorter recordings speech and text are not compared."""
MIN_UNTRANSCRIBED_SECONDS = 1.0
"""Voice activity of this many seconds should have some text, when it is also a tenth of the recording ..."""
MIN_UNTRANSCRIBED_SHARE = 0.1
MAX_UNTRANSCRIBED_SECONDS = 5.0
"""... or when it is this many seconds, whatever the recording's length."""
MIN_UNTRANSCRIBED_GAP_SECONDS = 60.0
"""Voice activity between two words, before the first, or after the last that should have some text ..."""
MIN_UNHEARD_SECONDS = 5.0
MIN_UNHEARD_SHARE = 0.5
"""... and of this many seconds, when it is also half of all: a transcript that ends early."""
MIN_SPEECH_SECONDS = 0.1
"""With less voice activity there can be no text ..."""
MIN_SPEECH_SECONDS_PER_WORD = 0.01
"""... and for each word; in loud noise most of the speech is not detected."""
MAX_WORDS_PER_SECOND = 7.0
"""Words per second of the recording; quick speakers reach five."""
MIN_WORDS_PER_SPEECH_SECOND = 0.4
"""Words per second of voice activity; slow speakers reach one and a half ..."""
MIN_SPEECH_SECONDS_FOR_WORD_RATE = 8.0
"""... checked from this much voice activity on."""

_SIMILAR_LANGUAGES = (
    {"no", "nn", "nb"},
    {"zh", "yue"},
    {"hr", "sr", "bs"},
    {"id", "ms", "jv"},
    {"hi", "ur"},
    {"tl", "fil"},
)
"""Languages that detectors confuse; they count as equal here."""
_FLAGGED_WARNING = re.compile(r"(truncated|damaged|times_past_end|times_in_milliseconds)\b")


@dataclass(frozen=True, slots=True)
class TranscriptFacts:
    """A transcript and what is known of its recording.

    Attributes:
        text: all of it.
        parts: its words, or where there are none its segments, with ``start`` and ``end`` in seconds; None without.
        language: as the provider returned it, an ISO code; None when it returned none.
        expected_language: the language that the text should be in; None when it was to be detected.
        seconds: the recording's length; None when not known.
        voice_activity: when the recording sounds like speech; None when it was not analysed.
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
    """The columns ``speech_seconds`` and ``flags`` of a transcript, from its other columns, and its evidence."""
    facts = TranscriptFacts(
        data.get("text") or "",
        data.get("words") or data.get("segments"),
        data.get("language"),
        expected_language,
        seconds,
        voice_activity,
        warnings,
    )
    unheard = list_unheard_stretches(facts.parts or (), voice_activity) if voice_activity else []
    speech_seconds = voice_activity.seconds if voice_activity else None
    long_ones = sum(seconds for seconds in unheard if seconds >= MIN_UNHEARD_SECONDS)
    evidence = {"unheard_share": long_ones / speech_seconds if speech_seconds else 0.0}
    return {"speech_seconds": speech_seconds, "flags": find_flags(facts), EVIDENCE: evidence}


def find_flags(facts: TranscriptFacts) -> list[str]:
    """The flags of a transcript, in the order of :data:`FLAG_MEANINGS`; usually none."""
    flags = {*_find_text_flags(facts), *_find_speech_flags(facts), *_find_warning_flags(facts.warnings)}
    return [flag for flag in FLAG_MEANINGS if flag in flags]


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
    speech_seconds = facts.voice_activity.seconds
    if words and speech_seconds < max(MIN_SPEECH_SECONDS, words * MIN_SPEECH_SECONDS_PER_WORD):
        yield "text_without_speech"
    min_untranscribed_seconds = min(
        max(MIN_UNTRANSCRIBED_SECONDS, MIN_UNTRANSCRIBED_SHARE * facts.seconds), MAX_UNTRANSCRIBED_SECONDS
    )
    if (not words and speech_seconds >= min_untranscribed_seconds) or has_untranscribed_speech(
        facts.parts or (), facts.voice_activity
    ):
        yield "speech_without_text"
    elif (
        words
        and speech_seconds >= MIN_SPEECH_SECONDS_FOR_WORD_RATE
        and words / speech_seconds < MIN_WORDS_PER_SPEECH_SECOND
    ):
        yield "too_few_words"


def _find_warning_flags(warnings: Sequence[str]) -> Iterator[str]:
    for warning in warnings:
        if kind := _FLAGGED_WARNING.match(warning):
            yield kind[1]


def has_untranscribed_speech(parts: Sequence[Mapping[str, Any]], voice_activity: VoiceActivity) -> bool:
    """True when a stretch with much voice activity has no text. Only for transcripts with times."""
    half = MIN_UNHEARD_SHARE * sum(voice_activity.by_second) / voice_activity.frames_per_second
    min_seconds = min(MIN_UNTRANSCRIBED_GAP_SECONDS, max(MIN_UNHEARD_SECONDS, half))
    return any(seconds >= min_seconds for seconds in list_unheard_stretches(parts, voice_activity))


def list_unheard_stretches(parts: Sequence[Mapping[str, Any]], voice_activity: VoiceActivity) -> list[float]:
    """Seconds of voice activity before the first part, between each two, and after the last; none without times."""
    times = sorted((p["start"], p["end"]) for p in parts if p.get("start") is not None and p.get("end") is not None)
    if not times:
        return []
    spans = [(0.0, 0.0), *times, (float(len(voice_activity.by_second)),) * 2]
    transcribed_until, stretches = 0.0, []
    for (_, end), (start, _) in pairwise(spans):
        transcribed_until = max(transcribed_until, end)
        if start - transcribed_until >= MIN_UNHEARD_SECONDS:
            stretches.append(voice_activity.count_seconds_between(transcribed_until, start))
    return stretches


def has_loop(text: str) -> bool:
    """True when a word or a phrase is repeated in a row too often."""
    tokens = [token.lower() for token in WHOLE_WORDS.findall(text)]
    if len(tokens) < MIN_WORD_REPEATS:
        return False
    for period in range(1, min(MAX_LOOP_PHRASE_WORDS, len(tokens) // MIN_PHRASE_REPEATS) + 1):
        if _has_repeat(tokens, period, _get_min_matches(period)):
            return True
    return False


def _get_min_matches(period: int) -> int:
    """How many tokens in a row must equal those ``period`` before them to make a loop."""
    if period == 1:
        return MIN_WORD_REPEATS - 1
    return max(period * MIN_PHRASE_REPEATS, MIN_LOOP_WORDS) - period


def _has_repeat(tokens: Sequence[str], period: int, min_matches: int) -> bool:
    """True when ``min_matches`` tokens in a row equal those ``period`` before them.

    It looks at every ``min_matches``-th token only: any such run contains one of them.
    """
    pairs = len(tokens) - period
    for position in range(min_matches - 1, pairs, min_matches):
        begin = end = position
        while begin >= 0 and position - begin < min_matches and tokens[begin] == tokens[begin + period]:
            begin -= 1
        if begin == position:
            continue
        while end < pairs and end - begin <= min_matches and tokens[end] == tokens[end + period]:
            end += 1
        if end - begin - 1 >= min_matches:
            return True
    return False


def is_language_mismatch(text: str, language: str | None, expected_language: str | None) -> bool:
    """True when the detected language, the text's language, or its script does not fit the expected language."""
    if expected_language and language and not _is_similar(expected_language, language):
        return True
    text_language = expected_language or language
    if text_language is not None and not script_fits(text, text_language):
        return True
    if expected_language is None or (found := detect_text_language(text)) is None:
        return False
    return not _is_similar(expected_language, found)


def _is_similar(language: str, other: str) -> bool:
    """Whether two languages are the same, or such as detectors confuse."""
    return language == other or any({language, other} <= similar for similar in _SIMILAR_LANGUAGES)
