"""The records of a CSV file. A quote that is never closed costs its own line, not the rest of the file."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from mediamill.tasks.sources.bounded_lines import MAX_LINE_BYTES, Line

NOT_UTF8 = "the line is not valid UTF-8: save the file as UTF-8"


class Record(NamedTuple):
    """A record: the number of its first line, its cells, and why they cannot be used.

    ``after_damage`` is true for records after a quote that was never closed: they may be parts of its cell.
    """

    line: int
    cells: list[str]
    problem: str | None = None
    after_damage: bool = False


class TextLines:
    """A file's lines as text, with the lines of the present record, which may be read again.

    Attributes:
        line: number of the last line read.
        wanted_more: true when more lines were wanted than the record may have.
    """

    def __init__(self, source: Iterator[Line]) -> None:
        self._source = source
        self._again: deque[Line] = deque()
        self._record: list[Line] = []
        self._n_bytes = 0
        self._max_lines: int | None = None
        self.line = 0
        self.wanted_more = False

    def __iter__(self) -> TextLines:
        return self

    def __next__(self) -> str:
        if self._record and (self._n_bytes > MAX_LINE_BYTES or len(self._record) == self._max_lines):
            self.wanted_more = True
            raise StopIteration
        line = self._again.popleft() if self._again else next(self._source)
        self._record.append(line)
        self._n_bytes += len(line[1])
        self.line = line[0]
        try:
            return line[1].decode() or "\n"
        except UnicodeDecodeError:
            self._record[-1] = (line[0], line[1], line[2] or NOT_UTF8)
            return "\n"

    def begin_record(self, max_lines: int | None = None) -> None:
        """Begin a record, of at most so many lines."""
        self._record.clear()
        self._n_bytes, self._max_lines, self.wanted_more = 0, max_lines, False

    def read_again(self, max_lines: int | None = None) -> None:
        """Go back to the beginning of the record, which may now have at most so many lines."""
        self._again.extendleft(reversed(self._record))
        self.begin_record(max_lines)

    def first_line(self) -> int:
        """The number of the record's first line."""
        return self._record[0][0] if self._record else self.line + 1

    def find_problem(self) -> str | None:
        """The first problem of the record's lines."""
        if len(self._record) == 1:
            return self._record[0][2]
        return next((problem for _, _, problem in self._record if problem), None)

    def spans_lines(self) -> bool:
        """True where the record has more than one line."""
        return len(self._record) > 1

    def has_escaped_quotes(self) -> bool:
        """True where a backslash stands before a quote."""
        return any(b'\\"' in line for _, line, _ in self._record)


def parse_csv(lines: TextLines, delimiter: str, width: int | None = None) -> Iterator[Record]:
    """Parse records by RFC 4180.

    A record that breaks its rules may still have backslashes before its quotes, or be a single line with a quote in
    the middle of a cell, which is read as Python's csv does. One of several lines that has too few or too many cells
    is taken for a quote that is never closed.

    Args:
        lines: where the records begin.
        delimiter: between cells.
        width: number of cells of a record; None for the header, whose width is not known yet.
    """
    csv.field_size_limit(max(csv.field_size_limit(), 2 * MAX_LINE_BYTES))  # lines are bounded already
    strict: Any = csv.reader(lines, delimiter=delimiter, strict=True)
    escaped: Any = csv.reader(lines, delimiter=delimiter, strict=True, doublequote=False, escapechar="\\")
    lenient: Any = csv.reader(lines, delimiter=delimiter)
    after_damage = False
    while True:
        lines.begin_record()
        text = next(lines, None)
        if text is None:
            return
        bare = text.rstrip("\r\n")
        if '"' not in bare and "\r" not in bare and "\n" not in bare:  # most lines: nothing in them needs the parser
            problem = lines.find_problem()
            if bare or problem:
                yield Record(lines.line, bare.split(delimiter), problem, after_damage)
            continue
        lines.read_again()
        cells, error = _read(strict)
        if cells is not None and lines.spans_lines() and not has_width(cells, width):
            cells = None
        if cells is None and lines.has_escaped_quotes():
            lines.read_again()
            cells, _ = _read(escaped)
            cells = cells if cells is not None and has_width(cells, width) else None
        if cells is None:
            is_last = not lines.wanted_more and "unexpected end" in str(error)
            lines.read_again(max_lines=1)
            cells, error = _read(lenient)
            if lines.wanted_more:
                cells, after_damage = None, True
                cause = "a quote is never closed" + ("" if is_last else ", or a quote inside its cell is not doubled")
                yield Record(lines.first_line(), [], lines.find_problem() or cause)
                continue
        problem = lines.find_problem() or (_explain_csv_error(error) if error and cells is None else None)
        if cells or problem:
            yield Record(lines.first_line(), cells or [], problem, after_damage)


def has_width(cells: list[str], width: int | None) -> bool:
    """True for so many cells, and any number of empty ones after them; with None for any cells."""
    return width is None or len(cells) == width or (len(cells) > width and not any(map(str.strip, cells[width:])))


def _read(reader: Any) -> tuple[list[str] | None, csv.Error | None]:
    """The next record's cells, or the error; neither at the end of the file."""
    try:
        return next(reader), None
    except StopIteration:
        return None, None
    except csv.Error as error:
        return None, error


def _explain_csv_error(error: csv.Error) -> str:
    if "new-line character" in str(error):
        return "a carriage return stands in a cell without quotes: put the cell in quotes"
    return str(error)
