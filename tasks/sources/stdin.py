"""A list on stdin as a source: one path, URL or text per line."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import tempfile
from collections.abc import Iterator
from itertools import chain
from typing import IO, TYPE_CHECKING

from mediamill.tasks.domain import Item
from mediamill.tasks.errors import UsageError
from mediamill.tasks.job import AllowedPaths
from mediamill.tasks.not_taken import NotTaken
from mediamill.tasks.sources.bounded_lines import read_lines
from mediamill.tasks.sources.locate import find_id_problem, fingerprint_file, fingerprint_value, locate
from mediamill.tasks.sources.row_paths import MAX_PATH_LENGTH, RowPaths

if TYPE_CHECKING:
    import pyarrow as pa

MAX_TEXT_BYTES = 10_000_000
"""Maximum length of a line of text."""

_Line = tuple[int, bytes, str | None]


@contextlib.contextmanager
def keep_stdin(*, is_read: bool) -> Iterator[None]:
    """Let the block read stdin, where ``is_read``, and whoever comes after it read the same again."""
    if not is_read or sys.stdin is None or sys.stdin.isatty():
        yield
        return
    kept = tempfile.TemporaryFile()  # noqa: SIM115 (it lasts as long as stdin)
    shutil.copyfileobj(sys.stdin.buffer, kept)
    kept.seek(0)
    sys.stdin = io.TextIOWrapper(kept)
    yield
    kept.seek(0)


class StdinSource:
    """One path or URL per line, or one text per line; empty lines are skipped. It can be read only once.

    Ids are the lines themselves, or ``line-N`` for texts.

    Args:
        file: the file to read lines from; stdin by default.
        texts: each line is a text, the only column of its row.
        allow_paths: the job's option; without it paths stay below the working folder.

    Raises:
        UsageError: when there is no line.
    """

    root = "-"
    name = "stdin"

    def __init__(
        self, file: IO[bytes] | None = None, *, texts: bool = False, allow_paths: AllowedPaths = False
    ) -> None:
        self._texts = texts
        if file is None:
            if sys.stdin is None or sys.stdin.isatty():
                raise UsageError(
                    "- reads a list from stdin, but nothing is piped in", hint="ls *.wav | mediamill ... -"
                )
            file = sys.stdin.buffer
        lines = (
            line
            for line in read_lines(file, MAX_TEXT_BYTES if texts else MAX_PATH_LENGTH)
            if line[1].strip() or line[2]
        )
        first = next(lines, None)
        if first is None:
            raise UsageError(
                "the list on stdin is empty", hint="one text a line" if texts else "one path or URL a line"
            )
        self._lines: Iterator[_Line] = chain([first], lines)
        self._row_paths = RowPaths.of_source(self.root, allow_paths)

    def items(self) -> Iterator[Item]:
        """In the order of the lines."""
        for index, (number, line, problem) in enumerate(self._lines):
            yield self._to_item(index, number, line, problem)

    def row_schema(self) -> pa.Schema | None:
        """One text column for texts; None for paths and URLs."""
        if not self._texts:
            return None
        import pyarrow as pa

        return pa.schema([("text", pa.string())])

    def size_hint(self) -> int | None:
        """None: not known before the end."""
        return None

    def not_taken(self) -> NotTaken:
        """Nothing: a line that cannot be used is an item with a problem."""
        return NotTaken()

    def _to_item(self, index: int, number: int, line: bytes, problem: str | None) -> Item:
        where = f"stdin line {number}"
        try:
            value = line.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            return Item(f"row-{number}", index, where, problem=f"{where}: not valid UTF-8")
        if self._texts:
            row = {} if problem else {"text": value}
            fingerprint = fingerprint_value(None, row)
            text_problem = f"{where}: {problem}" if problem else None
            return Item(f"line-{number}", index, where, row=row, fingerprint=fingerprint, problem=text_problem)
        problem = problem or find_id_problem(value)
        if problem:
            return Item(f"row-{number}", index, where, problem=f"{where}: {problem}")
        located = locate(value, self._row_paths)
        if located.problem or located.location is None:
            return Item(value, index, value, problem=f"{where}: {located.problem}")
        fingerprint = (
            fingerprint_file(located.location, located.file_stat)
            if located.file_stat
            else fingerprint_value(located.location)
        )
        return Item(value, index, value, located.location, fingerprint=fingerprint)
