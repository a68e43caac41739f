"""Transcripts that are spoiled on demand, as models spoil them: a phrase again and again, or an early end."""

from __future__ import annotations

from dataclasses import replace

from mediamill.tasks.local.asr_engines.base import Segment, Transcript, Word
from mediamill.tasks.local.faults.fault_rules import Fault

_LOOP_REPEATS = 12
_MAX_PHRASE_WORDS = 4
_KEPT_OF_LOOP, _KEPT_OF_CUT = 0.5, 0.2
"""Shares of the words that stay: before the loop begins, and before the end."""


def spoil_transcript(transcript: Transcript, fault: Fault | None) -> Transcript:
    """The transcript as the fault ``loop_text`` or ``cut_text`` leaves it; another fault changes nothing."""
    if fault is None or fault.kind not in ("loop_text", "cut_text"):
        return transcript
    words = transcript.words or _split_words(transcript)
    if fault.kind == "cut_text":
        return _rebuild(transcript, words[: max(1, round(len(words) * _KEPT_OF_CUT))])
    kept = words[: max(1, round(len(words) * _KEPT_OF_LOOP))]
    phrase, end = kept[-_MAX_PHRASE_WORDS:], float(transcript.seconds)
    loop = [Word(word.word, end, end, word.confidence) for _ in range(_LOOP_REPEATS) for word in phrase]
    return _rebuild(transcript, (*kept, *loop))


def _split_words(transcript: Transcript) -> tuple[Word, ...]:
    """The words of a transcript whose engine has only segments, with their segment's times."""
    return tuple(
        Word(word, segment.start, segment.end) for segment in transcript.segments for word in segment.text.split()
    )


def _rebuild(transcript: Transcript, words: tuple[Word, ...]) -> Transcript:
    """A transcript of these words, in one segment."""
    if not words:
        return transcript
    text = " ".join(word.word for word in words)
    stats = transcript.segments[0].stats if transcript.segments else None
    segment = Segment(words[0].start, words[-1].end, text, stats)
    return replace(transcript, text=text, segments=(segment,), words=words if transcript.words else ())
