"""How wide text is on a screen, and where it may be cut."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache

LINE_WIDTH = 42
"""Columns of a line; wide characters (Chinese, Japanese, Korean) take two. The usual limit of broadcasters."""

_CLINGING = frozenset("、。，．・：；？！）］｝」』】〉》〕ー々…,.:;?!)]}%’”")  # noqa: RUF001 (they end Chinese and Japanese)
"""What never begins a line."""


def width(text: str) -> int:
    """Columns a text takes: two for wide characters, none for marks that stand on others."""
    return len(text) if text.isascii() else sum(map(columns_of, text))


@cache
def columns_of(character: str) -> int:
    """Columns of one character."""
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cells(text: str) -> Iterator[str]:
    """A text without spaces in the parts between which a line may break: wide characters by themselves.

    Marks and closing punctuation stay with what is before them; other scripts are cut only where they are wider
    than half a line.
    """
    run = ""
    for character in text:
        columns = columns_of(character)
        wide = columns > 1 or bool(run and columns_of(run[0]) > 1)
        full = width(run) + columns > LINE_WIDTH // 2
        clings = not columns or (character in _CLINGING and width(run) + columns <= LINE_WIDTH)
        if run and (wide or full) and not clings:
            yield run
            run = ""
        run += character
    if run:
        yield run
