"""The shortest plain text that a regular expression matches."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from typing import Any

_PREFERRED_CHARS = "aA0 -_."
_MAX_EXAMPLE_CHARS = 2000
_CLASS_EXAMPLES = {"DIGIT": "0", "NOT_DIGIT": "a", "SPACE": " ", "NOT_SPACE": "a", "WORD": "a", "NOT_WORD": "-"}


def make_regex_example(pattern: str) -> str | None:
    """A text in which the pattern is found; None when none is found, as for look-behinds and word boundaries.

    Args:
        pattern: a regular expression in Python's syntax, which the usual ones of JSON Schema have, too.
    """
    parser = importlib.import_module("re._parser")  # the standard library's own; there is no public one
    try:
        example = _make_sequence(parser.parse(pattern), {})
        return example if len(example) <= _MAX_EXAMPLE_CHARS and re.search(pattern, example) else None
    except (re.error, OverflowError, ValueError, KeyError, RuntimeError):
        return None


def _make_sequence(parts: Any, groups: dict[int, str]) -> str:
    return "".join(_make_node(str(op), args, groups) for op, args in parts)


def _make_node(op: str, args: Any, groups: dict[int, str]) -> str:
    if op in ("AT", "ASSERT", "ASSERT_NOT"):
        return ""  # the search at the end checks these
    if op in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        if args[0] > _MAX_EXAMPLE_CHARS:
            raise ValueError("it repeats too often")
        return _make_sequence(args[2], groups) * int(args[0])
    if op == "SUBPATTERN":
        groups[args[0]] = _make_sequence(args[-1], groups)
        return groups[args[0]]
    example: dict[str, Callable[[], str]] = {
        "LITERAL": lambda: chr(args),
        "NOT_LITERAL": lambda: next(letter for letter in _PREFERRED_CHARS if ord(letter) != args),
        "ANY": lambda: _PREFERRED_CHARS[0],
        "IN": lambda: _choose_character(args),
        "BRANCH": lambda: _make_sequence(args[1][0], groups),
        "ATOMIC_GROUP": lambda: _make_sequence(args, groups),
        "GROUPREF": lambda: groups[args],
    }
    return example[op]()


def _choose_character(parts: Sequence[tuple[Any, Any]]) -> str:
    """A character of a character set."""
    if str(parts[0][0]) != "NEGATE":
        op, args = parts[0]
        if str(op) == "CATEGORY":
            return _CLASS_EXAMPLES[str(args).removeprefix("CATEGORY_")]
        return chr(args if str(op) == "LITERAL" else args[0])
    letters = (chr(code) for code in (*map(ord, _PREFERRED_CHARS), *range(33, 127)))
    return next(letter for letter in letters if not any(_is_in_class(op, args, letter) for op, args in parts[1:]))


def _is_in_class(op: Any, args: Any, letter: str) -> bool:
    if str(op) == "LITERAL":
        return bool(ord(letter) == args)
    if str(op) == "RANGE":
        return bool(args[0] <= ord(letter) <= args[1])
    classes = {"DIGIT": letter.isdigit(), "SPACE": letter.isspace(), "WORD": letter.isalnum() or letter == "_"}
    name = str(args).removeprefix("CATEGORY_")
    return not classes[name.removeprefix("NOT_")] if name.startswith("NOT_") else classes[name]
