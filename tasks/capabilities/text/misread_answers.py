"""Answers that an earlier program took for Latin-1, because it did not read the character set that the reply names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mediamill.tasks.capabilities.base import Misreadings

_BROKEN = "\ufffd"


def _is_doubtful(row: Mapping[str, Any]) -> bool:
    """True for a text with letters outside ASCII of which all are in Windows' Latin-1, or with broken characters."""
    text = row.get("text") or ""
    return not text.isascii() and (_BROKEN in text or text.encode("cp1252", "ignore").decode("cp1252") == text)


def _is_read_otherwise(row: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
    text = row["text"].strip()
    return not any(text in (choice["text"] or "") for choice in data["choices"])


MISREAD_ANSWERS = Misreadings(_is_doubtful, _is_read_otherwise, lambda _: False)
