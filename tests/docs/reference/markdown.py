"""Markdown for generated pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

NOTE = "<!-- Made from the code by `uv run python -m tests.docs.reference`: change the code, not this page. -->"
"""The first line of a generated page."""


def format_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; its cells are Markdown without line breaks."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("\n", " ") for cell in line) + " |" for line in lines)


def format_code(text: str) -> str:
    """A text as code in a table's cell."""
    return f"`{text.replace('|', chr(92) + '|')}`" if text else ""


def escape(text: str) -> str:
    """A text as a sentence in a cell; code in backquotes stays code."""
    parts = text.split("`")
    parts[::2] = [part.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*") for part in parts[::2]]
    parts[1::2] = [part.replace("|", "\\|") for part in parts[1::2]]
    return "`".join(parts)


def join_blocks(blocks: Iterable[str]) -> str:
    """Blocks with an empty line between them, as the text of a page."""
    return "\n\n".join(block for block in blocks if block) + "\n"
