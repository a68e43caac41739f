"""The pages of the repository, and the blocks of code in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.paths import ROOT

_FENCE = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^```\s*$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"<!-- (?P<name>needs|only parsed): (?P<value>[^\n]*?) -->\n+\Z")

RUN_ELSEWHERE = {"docs/extending.md": "tests/packaging/test_extending_page.py"}
"""Pages whose blocks make a package with commands of its own, and the test that makes it and runs them."""


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    Attributes:
        page: path of its page, relative to the repository.
        line: line of its first line of code, from 1.
        language: what stands behind the fence, e.g. ``sh``.
        code: its text.
        needs: environment variables of keys, from ``<!-- needs: TOGETHER_API_KEY -->`` before the block.
        only_parsed: why it cannot run in a test, from ``<!-- only parsed: why -->`` before the block; else empty.
    """

    page: str
    line: int
    language: str
    code: str
    needs: tuple[str, ...] = ()
    only_parsed: str = ""

    @property
    def place(self) -> str:
        """Page and line."""
        return f"{self.page}:{self.line}"


def list_pages() -> list[Path]:
    """Every Markdown page that a reader meets."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("data/samples/*.md")])


def iter_blocks(page: Path) -> Iterator[Block]:
    """The blocks of code of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        mark = _MARK.search(text[: match.start()])
        marks = {mark["name"]: mark["value"]} if mark else {}
        yield Block(
            str(page.relative_to(ROOT)),
            text.count("\n", 0, match.start("code")) + 1,
            match["language"],
            match["code"],
            tuple(re.findall(r"[A-Z][A-Z0-9_]+", marks.get("needs", ""))),
            marks.get("only parsed", ""),
        )


def iter_shell_lines(block: Block) -> Iterator[tuple[int, str]]:
    """The command lines of a shell block with their line numbers, without comments; continued lines are joined."""
    joined, start = "", 0
    for number, line in enumerate(block.code.splitlines(), block.line):
        start = start or number
        if line.endswith("\\"):
            joined += line[:-1]
            continue
        command = strip_comment(joined + line)
        if command:
            yield start, command
        joined, start = "", 0


def strip_comment(line: str) -> str:
    """A line of shell without the comment at its end."""
    return re.sub(r"(^|\s)#.*$", "", line).strip()


def read_prose(page: Path) -> str:
    """A page's text without its blocks of code."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))
