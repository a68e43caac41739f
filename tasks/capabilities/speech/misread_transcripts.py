"""Transcripts that an earlier program made of replies which are read otherwise now.

It took the text of another character set for Latin-1, a gateway's error for what was said, and passed over times under
names that it did not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mediamill.tasks.capabilities.base import Misreadings
from mediamill.tasks.providers.operations.answer_forms import is_servers_word

_PARTS = ("segments", "words")
_MARKUP = ("{", "[", "<", "WEBVTT", "```", "data:", "event:")


def _is_doubtful(row: Mapping[str, Any]) -> bool:
    if row.get("channel_mode") == "split":  # no earlier program made one, and its text is that of several replies
        return False
    text = row.get("text") or ""
    is_timed = all(row.get(name) and _count_timed(row[name]) for name in _PARTS)
    is_plain = text.isascii() and not text.lstrip().startswith(_MARKUP)
    return not is_timed or not is_plain or is_servers_word(text)


def _is_read_otherwise(row: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
    """Of a recording in pieces the reply is that of the first one."""
    text, read = row.get("text") or "", data["text"]
    is_other_text = text != read if row.get("pieces", 1) == 1 else read not in text
    gained = any(_count_timed(data[name]) > _count_timed(row.get(name)) for name in _PARTS)
    return is_other_text or gained or bool(data["speakers"] and not row.get("speakers"))


def _is_no_answer(row: Mapping[str, Any]) -> bool:
    return is_servers_word(row.get("text") or "")


def _count_timed(parts: Any) -> int:
    return sum(part.get("start") is not None for part in parts or ())


MISREAD_TRANSCRIPTS = Misreadings(_is_doubtful, _is_read_otherwise, _is_no_answer)
