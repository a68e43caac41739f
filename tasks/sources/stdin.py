"""A list from stdin: one path or URL a line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING

from tasks.errors import UsageError
from tasks.item import Item
from tasks.sources import fingerprint
from tasks.sources.lines import lines
from tasks.sources.locate import MAX_LENGTH, id_problem, locate

if TYPE_CHECKING:
    import pyarrow as pa

_Line = tuple[int, bytes, str | None]


class Listed:
    """One path or URL a line; empty lines are passed over. Ids are the lines themselves. Read once.

    Args:
        file: where lines come from; stdin when left out.

    Raises:
        UsageError: when there is no line.
    """

    root = "-"
    name = "stdin"

    def __init__(self, file: IO[bytes] | None = None) -> None:
        if file is None:
            if sys.stdin is None or sys.stdin.isatty():
                raise UsageError(
                    "- reads a list from stdin, but nothing is piped in", hint="ls *.wav | mediamill ... -"
                )
            file = sys.stdin.buffer
        listed = (line for line in lines(file, MAX_LENGTH) if line[1].strip() or line[2])
        first = next(listed, None)
        if first is None:
            raise UsageError("the list on stdin is empty", hint="one path or URL a line")
        self._lines: Iterator[_Line] = chain([first], listed)
        self._folder = str(Path.cwd())

    def items(self) -> Iterator[Item]:
        """In the order of the lines."""
        for index, (number, line, problem) in enumerate(self._lines):
            yield self._item(index, number, line, problem)

    def row_schema(self) -> pa.Schema | None:
        """Lines carry no rows."""
        return None

    def size_hint(self) -> int | None:
        """Not known before the end."""
        return None

    def _item(self, index: int, number: int, line: bytes, problem: str | None) -> Item:
        where = f"stdin line {number}"
        try:
            value = line.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            return Item(f"row-{number}", index, where, problem=f"{where}: not valid UTF-8")
        problem = problem or id_problem(value)
        if problem:
            return Item(f"row-{number}", index, where, problem=f"{where}: {problem}")
        found = locate(value, self._folder)
        if found.problem or found.location is None:
            return Item(value, index, value, problem=f"{where}: {found.problem}")
        mark = fingerprint.of_file(found.location, found.about) if found.about else fingerprint.of_value(found.location)
        return Item(value, index, value, found.location, fingerprint=mark)
