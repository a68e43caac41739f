"""How many tokens a prompt and an answer are counted as: the server's own reckoning, stated and repeatable."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tasks.local.chat.pictures import Seen

_PER_MESSAGE = 4
_TILE = 560
_TILE_TOKENS = 1601
_PATCH = 32
_PATCHES = 1536


def tokens_of(text: str) -> int:
    """A token for every four characters, at least one for any text."""
    return -(-len(text) // 4) if text else 0


def prompt_tokens(text: str, messages: int, seen: Sequence[Seen], dialect: str) -> int:
    """Of the words, of what surrounds each message, and of the pictures as the provider's documents count them."""
    return tokens_of(text) + _PER_MESSAGE * messages + sum(picture_tokens(one, dialect) for one in seen)


def picture_tokens(seen: Seen, dialect: str) -> int:
    """Together's tiles of 560 pixels, at most two by two; elsewhere patches of 32 pixels, at most 1,536.

    A video counts as its first sixteen frames.
    """
    if dialect == "together":
        across = min(2, max(1, seen.width // _TILE)) * min(2, max(1, seen.height // _TILE))
        each = across * _TILE_TOKENS
    else:
        width, height = seen.width, seen.height
        if seen.detail == "low":
            scale = min(1.0, 512 / max(width, height))
            width, height = max(1, round(width * scale)), max(1, round(height * scale))
        each = min(_PATCHES, math.ceil(width / _PATCH) * math.ceil(height / _PATCH))
    return each * min(16, seen.frames or 1) if seen.kind == "video" else each
