"""CSV and TSV manifests."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediamill.tasks.errors import UsageError
from mediamill.tasks.sources.base import Row
from mediamill.tasks.sources.bounded_lines import read_lines

if TYPE_CHECKING:
    import pyarrow as pa

_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


class DelimitedReader:
    """A CSV or TSV file with a header line, UTF-8.

    CSV follows RFC 4180: quoted fields may hold commas, quotes and newlines; a file whose header has semicolons and no
    comma is split at semicolons. TSV has one row per line: fields in quotes are unquoted, but a single quote at the
    start of a sentence, as in speech corpora, is kept.

    Raises:
        UsageError: when the file has no header or is not UTF-8.
    """

    def __init__(self, path: Path, where: str, *, tabs: bool) -> None:
        self._path, self._where, self._is_tsv = path, where, tabs
        self._delimiter = ","
        with path.open("rb") as file:
            if file.read(2) in _UTF16_BOMS:
                raise UsageError(f"{where}: the file is UTF-16", hint="save it as UTF-8")
            file.seek(0)
            first = next((line for _, line, _ in read_lines(file)), b"").rstrip()
        if b";" in first and b"," not in first:
            self._delimiter = ";"
        header = next(self._read_records(), None)
        if header is None:
            raise UsageError(f"{where}: the file is empty: not even a line with column names")
        if header[2]:
            raise UsageError(f"{where}: the line with column names: {header[2]}")
        self.column_names = (
            [name.strip() or f"column_{i}" for i, name in enumerate(header[1], 1)] if any(header[1]) else []
        )

    def rows(self) -> Iterator[Row]:
        """Every row; empty lines are skipped."""
        records = self._read_records()
        next(records, None)
        names, width = self.column_names, len(self.column_names)
        for number, (line, cells, problem) in enumerate(records, 1):
            where = f"row {number} (line {line})"
            if problem:
                yield Row(number, where, problem=problem)
            elif len(cells) == width:
                yield Row(number, where, dict(zip(names, cells, strict=True)))
            else:
                yield Row(number, where, problem=f"{len(cells)} fields where the header has {width}")

    def column_types(self) -> Mapping[str, pa.DataType]:
        """Empty: all values are text."""
        return {}

    def row_count(self) -> int | None:
        """None: not known before the end."""
        return None

    def _read_records(self) -> Iterator[tuple[int, list[str], str | None]]:
        with self._path.open("rb") as file:
            lines = _TextLines(read_lines(file))
            yield from self._split_tsv(lines) if self._is_tsv else self._parse_csv(lines)

    def _split_tsv(self, lines: _TextLines) -> Iterator[tuple[int, list[str], str | None]]:
        for text in lines:
            problem = lines.take_problem()
            row = text.rstrip("\r\n")
            if problem or row:
                yield lines.line, [_unquote(cell) for cell in row.split("\t")], problem

    def _parse_csv(self, lines: _TextLines) -> Iterator[tuple[int, list[str], str | None]]:
        reader: Any = csv.reader(lines, delimiter=self._delimiter)
        while True:
            first_line = lines.line + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                lines.take_problem()
                yield first_line, [], _explain_csv_error(error)
                continue
            problem = lines.take_problem()
            if cells or problem:
                yield first_line, cells, problem


class _TextLines:
    """Lines as text. The first problem since the last :meth:`take_problem` is kept, since a row may have many lines."""

    def __init__(self, source: Iterator[tuple[int, bytes, str | None]]) -> None:
        self._source = source
        self.line = 0
        self._problem: str | None = None

    def __iter__(self) -> _TextLines:
        return self

    def __next__(self) -> str:
        self.line, line, problem = next(self._source)
        try:
            text = line.decode()
        except UnicodeDecodeError:
            text, problem = "\n", "the line is not valid UTF-8"
        self._problem = self._problem or problem
        return text or "\n"

    def take_problem(self) -> str | None:
        """The first problem since the last call."""
        problem, self._problem = self._problem, None
        return problem


def _unquote(cell: str) -> str:
    if len(cell) > 1 and cell[0] == cell[-1] == '"':
        return cell[1:-1].replace('""', '"')
    return cell


def _explain_csv_error(error: csv.Error) -> str:
    if "field larger than" in str(error):
        return f"a field is longer than {csv.field_size_limit():,} characters: is a quote never closed?"
    return str(error)
