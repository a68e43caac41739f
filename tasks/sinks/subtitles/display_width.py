"""How wide text is on a screen, and where it may be broken."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache

MAX_LINE_WIDTH = 42
"""Columns of a line; wide characters (Chinese, Japanese, Korean) take two. The usual limit of broadcasters."""

_NEVER_FIRST = frozenset("、。，．・：；？！）］｝」』】〉》〕ー々…,.:;?!)]}%’”")  # noqa: RUF001 (they end Chinese and Japanese)
"""Characters that never begin a line."""


def measure_width(text: str) -> int:
    """Columns of a text: two for wide characters, none for combining marks."""
    return len(text) if text.isascii() else sum(map(count_columns, text))


@cache
def count_columns(character: str) -> int:
    """Columns of one character."""
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def split_cells(text: str) -> Iterator[str]:
    """Split a text without spaces where a line may break: before and after each wide character.

    Combining marks and closing punctuation stay with the character before them; other scripts are split only where
    they are wider than half a line.
    """
    cell = ""
    for character in text:
        columns = count_columns(character)
        wide = columns > 1 or bool(cell and count_columns(cell[0]) > 1)
        full = measure_width(cell) + columns > MAX_LINE_WIDTH // 2
        stays = not columns or (character in _NEVER_FIRST and measure_width(cell) + columns <= MAX_LINE_WIDTH)
        if cell and (wide or full) and not stays:
            yield cell
            cell = ""
        cell += character
    if cell:
        yield cell
