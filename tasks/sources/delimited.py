"""CSV and TSV manifests."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mediamill.tasks.errors import UsageError
from mediamill.tasks.sources.base import Row
from mediamill.tasks.sources.bounded_lines import open_lines
from mediamill.tasks.sources.columns import ID_NAMES, PATH_NAMES, TEXT_NAMES
from mediamill.tasks.sources.csv_records import Record, TextLines, has_width, parse_csv

if TYPE_CHECKING:
    import pyarrow as pa

_DELIMITERS = ",;\t|"
_SEP_LINE = re.compile(r'\s*"?sep=(.)"?\s*', re.IGNORECASE | re.DOTALL)
_USUAL_NAMES = {*ID_NAMES, *PATH_NAMES, *TEXT_NAMES}
_QUOTED = re.compile(r'"(?:[^"]|"")*"')


class DelimitedReader:
    """A CSV or TSV file with a header line.

    CSV follows RFC 4180: quoted fields may hold delimiters, quotes and newlines. The delimiter is what the header
    has: a comma, a semicolon, a tab or a bar, or what a line ``sep=`` before it says. TSV has one row per line: fields
    in quotes are unquoted, but a single quote at the start of a sentence, as in speech corpora, is kept.

    Raises:
        UsageError: when the file has no header or its text cannot be read.
    """

    def __init__(self, path: Path, where: str, *, tabs: bool) -> None:
        self._path, self._where = path, where
        self._delimiter, self._has_sep_line = self._find_delimiter("\t" if tabs else ",")
        self._is_tsv = tabs and self._delimiter == "\t"
        header = next(self._read_records(), None)
        if header is None:
            raise UsageError(f"{where}: the file is empty: not even a line with column names")
        if header.problem:
            raise UsageError(f"{where}: the line with column names: {header.problem}")
        if any("\0" in name for name in header.cells):
            raise UsageError(f"{where}: the column names hold null characters", hint="save the file as UTF-8")
        names = [name.strip() for name in header.cells]
        self.column_names = [name or f"column_{i}" for i, name in enumerate(names, 1)] if any(header.cells) else []

    def rows(self) -> Iterator[Row]:
        """Every row; empty lines are skipped, and so are empty cells beyond the last column."""
        names, width = self.column_names, len(self.column_names)
        records = self._read_records(width)
        next(records, None)
        for number, (line, cells, problem, after_damage) in enumerate(records, 1):
            where = f"row {number} (line {line})"
            if problem:
                yield Row(number, where, problem=problem)
                continue
            if has_width(cells, width):
                yield Row(number, where, dict(zip(names, cells[:width], strict=True)), after_damage=after_damage)
            else:
                yield Row(number, where, problem=f"{len(cells)} fields where the header has {width}")

    def column_types(self) -> Mapping[str, pa.DataType]:
        """Empty: all values are text."""
        return {}

    def row_count(self) -> int | None:
        """None: not known before the end."""
        return None

    def _find_delimiter(self, usual: str) -> tuple[str, bool]:
        """The delimiter, and whether the first line that is not empty says so."""
        with open_lines(self._path) as lines:
            texts = (line.decode("utf-8", "replace") for _, line, _ in lines)
            header = next((text for text in texts if text.strip("\r\n")), "")
        sep = _SEP_LINE.fullmatch(header.rstrip("\r\n"))
        return (sep[1], True) if sep else (_choose_delimiter(header, usual), False)

    def _read_records(self, width: int | None = None) -> Iterator[Record]:
        with open_lines(self._path) as lines:
            texts = TextLines(lines)
            if self._has_sep_line:
                next(text for text in texts if text.strip("\r\n"))
                texts.begin_record()
            yield from self._split_tsv(texts) if self._is_tsv else parse_csv(texts, self._delimiter, width)

    def _split_tsv(self, lines: TextLines) -> Iterator[Record]:
        for text in lines:
            number, problem = lines.line, lines.find_problem()
            lines.begin_record()
            row = text.rstrip("\r\n")
            if problem or row:
                yield Record(number, [_unquote(cell) for cell in row.split(self._delimiter)], problem)


def _choose_delimiter(header: str, usual: str) -> str:
    """The delimiter of a header: one that stands in it outside quotes, and gives it a column with a usual name.

    Where none gives one, it is the usual one if it stands in the header, and else a semicolon or a tab.
    """
    bare = _QUOTED.sub("x", header)
    present = [delimiter for delimiter in dict.fromkeys(usual + _DELIMITERS) if delimiter in bare]
    if not present or (usual == "\t" and usual in present):
        return usual
    scores = {delimiter: _count_usual_names(header, delimiter) for delimiter in present}
    best = max(present, key=lambda delimiter: scores[delimiter])
    if scores[best] or usual in present:
        return best if scores[best] else usual
    return next((delimiter for delimiter in present if delimiter in ";\t" and usual == ","), usual)


def _count_usual_names(header: str, delimiter: str) -> int:
    return sum(cell.strip(' "\r\n\t').lower() in _USUAL_NAMES for cell in header.split(delimiter))


def _unquote(cell: str) -> str:
    if len(cell) > 1 and cell[0] == cell[-1] == '"':
        return cell[1:-1].replace('""', '"')
    return cell
