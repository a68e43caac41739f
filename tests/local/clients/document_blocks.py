"""The blocks of documents as text, and what is replaced in them so that they run against another server."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.paths import RECORDINGS

KEY = "a-key-of-more-than-sixteen-letters"
"""The key that the blocks are given."""
SPEECH = RECORDINGS / "station.mp3"
"""The recording that the blocks name."""

_FENCE = re.compile(r"\s*`{3,}(\w*)")
_FIRST_IMPORT = re.compile(r"(from \w+ import \w|import \w+$)")
_FILE_NAME = re.compile(r"""(["'])/?((?:[\w-]+/)*[\w-]+\.(?:mp3|wav|jpe?g))\1""")
_MEDIA_URL = re.compile(r"""https?://[^"'\s]+?\.(mp4|mp3|jpe?g|png)(?=["'])""")
_MAX_LINES = 150
_MEDIA_BY_EXTENSION = {"mp4": "day.mp4", "mp3": "speech.mp3", "png": "page.png"}
_PREAMBLE = """\
import asyncio
from together import AsyncTogether, Together
TOGETHER_API_KEY = "{key}"
width = height = 600
client = Together()
"""
"""What the documents' earlier lines have defined where a block begins in the middle."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a program: the document's file, the line on which it begins, and its text."""

    document: str
    line: int
    text: str


PYTHON = ("py", "python")


def find_blocks(document: Path, languages: Collection[str] = PYTHON) -> list[Block]:
    """The blocks of these languages between fences; those of Python, too, that begin with an import and have none."""
    lines = document.read_text(encoding="utf-8", errors="replace").split("\n")
    fenced = list(_find_fenced(lines))
    inside = {at for start, end, _ in fenced for at in range(start, end + 1)}
    found = [
        (start, textwrap.dedent("\n".join(lines[start + 1 : end])))
        for start, end, language in fenced
        if language in languages
    ]
    if "python" in languages:
        found += _find_unfenced(lines, inside)
    return [Block(document.name, at + 1, text) for at, text in sorted(found)]


def _find_fenced(lines: list[str]) -> Iterator[tuple[int, int, str]]:
    start, language = None, ""
    for at, line in enumerate(lines):
        fence = _FENCE.match(line)
        if fence is not None and start is None:
            start, language = at, fence[1]
        elif fence is not None and start is not None:
            yield start, at, language
            start = None


def _find_unfenced(lines: list[str], inside: set[int]) -> Iterator[tuple[int, str]]:
    """Programs in running text: from an import for as many lines as are Python."""
    at = 0
    while at < len(lines):
        program = (
            "" if at in inside or not _FIRST_IMPORT.match(lines[at]) else _cut_program(lines[at : at + _MAX_LINES])
        )
        if program:
            yield at, program
        at += program.count("\n") + 1


def _cut_program(lines: list[str]) -> str:
    for n_lines in range(len(lines), 0, -1):
        try:
            body = ast.parse("\n".join(lines[:n_lines])).body
        except (SyntaxError, ValueError):
            continue
        while body and isinstance(body[-1], ast.Expr) and isinstance(body[-1].value, ast.Name):
            body.pop()  # a heading of one word
        return "\n".join(lines[: body[-1].end_lineno]) if body else ""
    return ""


def list_file_names(text: str) -> list[str]:
    """The media files that a block opens, as relative paths."""
    return sorted({name for _, name in _FILE_NAME.findall(text)})


def localize(text: str, origin: str, media: str, key: str) -> str:
    """A block for the server at ``origin``, with the media of the server at ``media``; its calls stay as they are."""
    socket_origin = origin.replace("http", "ws", 1)
    for vendor, local in (
        ("wss://api.together.ai", f"{socket_origin}/together"),
        ("https://api.together.xyz", f"{origin}/together"),
        ("https://api.x.ai", f"{origin}/xai"),
    ):
        text = text.replace(vendor, local)
    text = _MEDIA_URL.sub(lambda url: f"{media}/{_MEDIA_BY_EXTENSION.get(url[1], 'house.jpg')}", text)
    text = _FILE_NAME.sub(r"\1\2\1", text)
    text = (
        text.replace("<ACCOUNT>", "me").replace("<ENDPOINT_HASH>", "0a1b").replace("time.sleep(5)", "time.sleep(0.1)")
    )
    begins_itself = re.search(r"client = \w*Together\(|OpenAI\(|Groq\(", text)
    if not begins_itself or ("asyncio.run" in text and "import asyncio" not in text):
        text = _PREAMBLE.format(key=key) + text
    return text
