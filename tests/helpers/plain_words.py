"""Compare transcripts by their words alone."""

from __future__ import annotations

import re


def to_plain_words(text: str) -> str:
    """A text in lower case, without punctuation and digits."""
    return re.sub(r"[^a-z' ]", "", text.lower())
