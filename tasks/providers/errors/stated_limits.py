"""The maximum length of a recording, where an error reply states it."""

from __future__ import annotations

import re

_UNIT_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_NUMBER = r"(?P<number>\d{1,6}(?:\.\d{1,6})?)[\s-]?(?P<unit>s(?:ec(?:ond)?s?)?|m(?:in(?:ute)?s?)?|h(?:ours?|rs?)?)\b"
_TOPIC = re.compile(r"\b(audio|clip|recording|duration|video)\b", re.IGNORECASE)
_RATE = re.compile(r"\brate\b|\bper (second|minute|hour|day)\b|try again in", re.IGNORECASE)
_LIMITS = (
    re.compile(rf"\b(?:longer|more|greater) than (?:the )?(?:maximum (?:of )?)?{_NUMBER}", re.IGNORECASE),
    re.compile(
        rf"\b(?:exceed\w*|above|over|within|at most|up to|limit(?:ed)?)\b[^.]{{0,60}}?\b{_NUMBER}", re.IGNORECASE
    ),
    re.compile(rf"\bmax(?:imum)?\b[^.]{{0,60}}?\b{_NUMBER}", re.IGNORECASE),
)


def read_stated_limit(message: str) -> float | None:
    """The maximum seconds of audio that an error message states; None where it states none.

    OpenAI: "audio duration 1501.0 seconds is longer than 1400 seconds"; vLLM: "Maximum clip duration (30s) exceeded".
    """
    if not _TOPIC.search(message) or _RATE.search(message):
        return None
    for limit in _LIMITS:
        if found := limit.search(message):
            seconds = float(found["number"]) * _UNIT_SECONDS[found["unit"][0].lower()]
            return seconds if seconds > 0 else None
    return None


def states_length_limit(message: str) -> bool:
    """True when an error message says that a recording is too long, and how long one may be."""
    return read_stated_limit(message) is not None
