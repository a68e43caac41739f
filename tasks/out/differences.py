"""What a job names and an OUT was made otherwise with: in words, and as a part of a folder's name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from mediamill.tasks.untrusted_text import cut_text

_MAX_VALUE_CHARACTERS = 24
_MAX_SHOWN_CHARACTERS = 60
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._]+")


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that a job names and OUT was made otherwise with.

    Args:
        name: what it is, as the option names it.
        before: how OUT was made; None where it was left out.
        now: what the job names.
    """

    name: str
    before: Any
    now: Any


def describe(differences: Sequence[Difference], *, before: bool = False) -> str:
    """The differences in words: what the job names, or how OUT was made ``before``."""
    return ", ".join(f"{each.name} {show_value(each.before if before else each.now)}" for each in differences)


def to_name(difference: Difference) -> str:
    """A difference as a part of a folder's name: what is short as it is, all else by its hash."""
    value = difference.now
    if difference.name == "provider":
        return str(value)
    if difference.name == "address":
        return "rehearsal" if "://" in str(value) else "own-address"
    text = str(value).rpartition("/")[2] if difference.name == "model" else _format_short(value)
    text = _NOT_IN_NAMES.sub("-", text).strip("-.")
    if not text or len(text) > _MAX_VALUE_CHARACTERS:
        text = f"{text[:_MAX_VALUE_CHARACTERS] if difference.name == 'model' else ''}-{hash_value(value)}".strip("-")
    name = difference.name.replace("_", "-")
    return text if difference.name == "model" else name if value is True else f"{name}-{text}"


def show_value(value: Any) -> str:
    """A value in a message: short, and nothing for what was left out."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return cut_text(
        value if isinstance(value, str) else orjson.dumps(value, default=str).decode(), _MAX_SHOWN_CHARACTERS
    )


def hash_value(value: Any) -> str:
    """A short name for a value of JSON."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:6]


def _format_short(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "" if isinstance(value, dict | list) else "none" if value is None else str(value)
