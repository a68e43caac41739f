"""The records of a CSV file. A quote that is never closed costs its own line, not the rest of the file."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from mediamill.tasks.sources.bounded_lines import MAX_LINE_BYTES, Line
from mediamill.tasks.sources.csv_dialect import Dialect, has_width

NOT_UTF8 = "the line is not valid UTF-8: save the file as UTF-8"
_LINE_END = re.compile(r"\r\n?|\n")
_LOOKAHEAD_BYTES = 128 * 2**20
"""How far a row that is too long is followed to its end, so that it costs no other row."""
_LINE_OVERHEAD_BYTES = 128


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
        self._skipped_quote: str | None = None
        self.line = 0
        self.wanted_more = False

    def __iter__(self) -> TextLines:
        return self

    def __next__(self) -> str:
        if self._record and (self._is_full() or len(self._record) == self._max_lines):
            self.wanted_more = True
            raise StopIteration
        line = self._again.popleft() if self._again else next(self._source)
        self._record.append(line)
        self._n_bytes += len(line[1])
        self.line = line[0]
        try:
            text = line[1].decode() or "\n"
            return "" if self._is_content(text) else text
        except UnicodeDecodeError:
            self._record[-1] = (line[0], line[1], line[2] or NOT_UTF8)
            return "\n"

    def begin_record(self, max_lines: int | None = None) -> None:
        """Begin a record, of at most so many lines."""
        self._record.clear()
        self._n_bytes, self._max_lines, self._skipped_quote, self.wanted_more = 0, max_lines, None, False

    def read_again(self, max_lines: int | None = None) -> None:
        """Go back to the beginning of the record, which may now have at most so many lines."""
        self._again.extendleft(reversed(self._record))
        self.begin_record(max_lines)

    def look_ahead(self, quote: str) -> None:
        """Go back to the beginning of the record, which may now be longer; of its cells only the ends are read."""
        self.read_again()
        self._skipped_quote = quote

    def find_length_problem(self) -> str | None:
        """Why a record whose end alone was read is none; None for one that was read whole."""
        return None if self._skipped_quote is None else f"the row is longer than {MAX_LINE_BYTES:,} bytes"

    def _is_full(self) -> bool:
        if self._skipped_quote is None:
            return self._n_bytes > MAX_LINE_BYTES
        return self._n_bytes + len(self._record) * _LINE_OVERHEAD_BYTES > _LOOKAHEAD_BYTES

    def _is_content(self, text: str) -> bool:
        """True for a later line of a record whose end alone is looked for, in which no cell begins or ends."""
        quote = self._skipped_quote
        return quote is not None and len(self._record) > 1 and quote not in text.replace(2 * quote, "")

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

    def has_escaped_quotes(self, quote: str) -> bool:
        """True where a backslash stands before a quote."""
        escaped = f"\\{quote}".encode()
        return any(escaped in line for _, line, _ in self._record)


def parse_csv(lines: TextLines, dialect: Dialect, width: int | None = None) -> Iterator[Record]:
    """Parse records by RFC 4180, with the dialect's delimiter and quote.

    A record that breaks its rules may still have backslashes before its quotes, or be a single line with a quote in
    the middle of a cell, which is read as Python's csv does. One of several lines that has too few or too many cells
    is taken for a quote that is never closed; one that is only too long is a single problem. A carriage return outside
    quotes ends a row where what it ends, and what follows, are as wide as the header.

    Args:
        lines: where the records begin.
        dialect: how the cells are written.
        width: number of cells of a record; None for the header, whose width is not known yet.
    """
    csv.field_size_limit(max(csv.field_size_limit(), 2 * MAX_LINE_BYTES))  # lines are bounded already
    strict = dialect.create_reader(lines, strict=True)
    escaped = dialect.create_reader(lines, strict=True, doublequote=False, escapechar="\\")
    lenient = dialect.create_reader(lines)
    after_damage = False
    while True:
        lines.begin_record()
        text = next(lines, None)
        if text is None:
            return
        plain = _split_plain(text.rstrip("\r\n"), dialect, width)
        if plain is not None:
            number, problem = lines.line, lines.find_problem()
            yield from (Record(number, cells, problem, after_damage) for cells in plain or [[]][: bool(problem)])
            continue
        cells, error = _read_whole(lines, dialect, width, strict, escaped)
        if cells is None and lines.wanted_more and not after_damage:
            lines.look_ahead(dialect.quote)
            ends, error = _read(strict)
            cells = [] if ends is not None and has_width(ends, width) else None
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
        problem = problem or lines.find_length_problem()
        if cells or problem:
            yield Record(lines.first_line(), cells or [], problem, after_damage)


def _read_whole(
    lines: TextLines, dialect: Dialect, width: int | None, strict: Any, escaped: Any
) -> tuple[list[str] | None, csv.Error | None]:
    """The cells of a record that keeps to the rules, or has backslashes before its quotes; None and why for others."""
    lines.read_again()
    cells, error = _read(strict)
    if cells is not None and lines.spans_lines() and not has_width(cells, width):
        cells = None
    if cells is None and lines.has_escaped_quotes(dialect.quote):
        lines.read_again()
        cells, _ = _read(escaped)
        cells = cells if cells is not None and has_width(cells, width) else None
    return cells, error


def _split_plain(text: str, dialect: Dialect, width: int | None) -> list[list[str]] | None:
    """The rows of a line in which nothing needs the parser, as in most; none of an empty line, None of any other."""
    if "\r" in text or "\n" in text:
        return split_at_ends(text, dialect, width) or None
    if dialect.quote in text:
        return None
    cells = text.split(dialect.delimiter)
    return [[cell.lstrip(" ") for cell in cells] if dialect.skips_spaces else cells] if text else []


def split_at_ends(text: str, dialect: Dialect, width: int | None) -> list[list[str]]:
    """The rows of a line that holds other line ends than the file's first one; nothing where they are parts of a cell.

    Args:
        text: the line, without its own end.
        dialect: how its cells are written.
        width: number of cells of a row; None where it is not known.
    """
    if width is None or ("\r" not in text and "\n" not in text):
        return []
    rows = []
    for piece in filter(None, _LINE_END.split(text)):
        cells, _ = _read(dialect.create_reader([piece], strict=True))
        if cells is None or not has_width(cells, width):
            return []
        rows.append(cells)
    return rows


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
