"""The shortest plain text that a regular expression matches."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from typing import Any

_LIKELY = "aA0 -_."
_MOST = 2000
_CLASSES = {"DIGIT": "0", "NOT_DIGIT": "a", "SPACE": " ", "NOT_SPACE": "a", "WORD": "a", "NOT_WORD": "-"}


def text_for(pattern: str) -> str | None:
    """A text in which the pattern is found; None where none is at hand, as with look-behinds and word boundaries.

    Args:
        pattern: a regular expression in Python's words, which JSON Schema's everyday ones are.
    """
    parser = importlib.import_module("re._parser")  # the standard library's own; there is no public one
    try:
        made = _all(parser.parse(pattern), {})
        return made if len(made) <= _MOST and re.search(pattern, made) else None
    except (re.error, OverflowError, ValueError, KeyError, RuntimeError):
        return None


def _all(parts: Any, groups: dict[int, str]) -> str:
    return "".join(_one(str(op), told, groups) for op, told in parts)


def _one(op: str, told: Any, groups: dict[int, str]) -> str:
    if op in ("AT", "ASSERT", "ASSERT_NOT"):
        return ""  # the search at the end tells whether these hold
    if op in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        if told[0] > _MOST:
            raise ValueError("it repeats too often")
        return _all(told[2], groups) * int(told[0])
    if op == "SUBPATTERN":
        groups[told[0]] = _all(told[-1], groups)
        return groups[told[0]]
    made: dict[str, Callable[[], str]] = {
        "LITERAL": lambda: chr(told),
        "NOT_LITERAL": lambda: next(letter for letter in _LIKELY if ord(letter) != told),
        "ANY": lambda: _LIKELY[0],
        "IN": lambda: _member(told),
        "BRANCH": lambda: _all(told[1][0], groups),
        "ATOMIC_GROUP": lambda: _all(told, groups),
        "GROUPREF": lambda: groups[told],
    }
    return made[op]()


def _member(parts: Sequence[tuple[Any, Any]]) -> str:
    """A character of a set."""
    if str(parts[0][0]) != "NEGATE":
        op, told = parts[0]
        if str(op) == "CATEGORY":
            return _CLASSES[str(told).removeprefix("CATEGORY_")]
        return chr(told if str(op) == "LITERAL" else told[0])
    letters = (chr(code) for code in (*map(ord, _LIKELY), *range(33, 127)))
    return next(letter for letter in letters if not any(_holds(op, told, letter) for op, told in parts[1:]))


def _holds(op: Any, told: Any, letter: str) -> bool:
    if str(op) == "LITERAL":
        return bool(ord(letter) == told)
    if str(op) == "RANGE":
        return bool(told[0] <= ord(letter) <= told[1])
    classes = {"DIGIT": letter.isdigit(), "SPACE": letter.isspace(), "WORD": letter.isalnum() or letter == "_"}
    name = str(told).removeprefix("CATEGORY_")
    return not classes[name.removeprefix("NOT_")] if name.startswith("NOT_") else classes[name]
