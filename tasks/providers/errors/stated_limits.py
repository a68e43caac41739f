"""The maximum length of a recording, where an error reply states it."""

from __future__ import annotations

import re

_UNIT_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_MILLISECOND_UNITS = ("ms", "msec", "millis")
_NUMBER = (
    r"(?:(?P<clock>\d{1,2}(?::\d{2}){1,2})(?![:\d])"
    r"|(?P<number>\d{1,9}(?:\.\d{1,6})?)[\s-]?"
    r"(?P<unit>ms(?:ecs?)?|milli(?:second)?s?|s(?:ec(?:ond)?s?)?|m(?:in(?:ute)?s?)?|h(?:ours?|rs?)?)\b)"
)
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
            seconds = _to_seconds(found)
            return seconds if seconds > 0 else None
    return None


def _to_seconds(found: re.Match[str]) -> float:
    if found["clock"]:
        seconds = 0
        for part in found["clock"].split(":"):
            seconds = seconds * 60 + int(part)
        return float(seconds)
    unit = found["unit"].lower()
    if unit.startswith(_MILLISECOND_UNITS):
        return float(found["number"]) / 1000
    return float(found["number"]) * _UNIT_SECONDS[unit[0]]


def states_length_limit(message: str) -> bool:
    """True when an error message says that a recording is too long, and how long one may be."""
    return read_stated_limit(message) is not None
