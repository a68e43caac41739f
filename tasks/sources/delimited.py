"""CSV and TSV manifests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mediamill.tasks.errors import EmptySource, UsageError
from mediamill.tasks.sources.base import Row
from mediamill.tasks.sources.bounded_lines import open_lines
from mediamill.tasks.sources.csv_dialect import (
    COMMENT,
    MAX_SAMPLE_BYTES,
    MAX_SAMPLE_LINES,
    USUAL_NAMES,
    explain_header,
    explain_width,
    find_dialect,
    has_width,
)
from mediamill.tasks.sources.csv_records import Record, TextLines, parse_csv, split_at_ends

if TYPE_CHECKING:
    import pyarrow as pa


class DelimitedReader:
    """A CSV or TSV file with a header line.

    CSV follows RFC 4180: quoted fields may hold delimiters, quotes and newlines. The delimiter is what the header
    has: a comma, a semicolon, a tab or a bar, or what a line ``sep=`` before it says; where the first lines show
    another delimiter or quote, that. Lines before the header that begin with ``#`` are comments, and so are such lines
    after it that are narrower than a row. TSV has one row per line: fields in quotes are unquoted, but a single quote
    at the start of a sentence, as in speech corpora, is kept.

    Args:
        path: the file.
        where: what messages call it.
        tabs: its name says that tabs stand between the columns.
        names: names of columns that the job expects besides the usual ones.

    Raises:
        UsageError: when the file has no header or its text cannot be read.
    """

    def __init__(self, path: Path, where: str, *, tabs: bool, names: frozenset[str] = frozenset()) -> None:
        self._path, self._where = path, where
        self._names = USUAL_NAMES | {name.strip().lower() for name in names}
        self._dialect = find_dialect(self._read_sample(), "\t" if tabs else ",", self._names)
        self._is_tsv = tabs and self._dialect.delimiter == "\t"
        header = next(self._read_records(), None)
        if header is None:
            raise EmptySource(f"{where}: the file is empty: not even a line with column names")
        if header.problem:
            raise UsageError(f"{where}: the line with column names: {header.problem}")
        if any("\0" in name for name in header.cells):
            raise UsageError(f"{where}: the column names hold null characters", hint="save the file as UTF-8")
        column_names = [name.strip() for name in header.cells]
        self.column_names = (
            [name or f"column_{i}" for i, name in enumerate(column_names, 1)] if any(header.cells) else []
        )

    def rows(self) -> Iterator[Row]:
        """Every row but those of empty cells alone; without comments and empty cells beyond the last column."""
        names, width = self.column_names, len(self.column_names)
        records = self._read_records(width)
        next(records, None)
        number = 0
        for line, cells, problem, after_damage in records:
            fits = has_width(cells, width)
            if not problem and not fits and self._dialect.has_comments and cells[0].startswith(COMMENT):
                continue
            number += 1
            where = f"row {number} (line {line})"
            if not problem and not any(map(str.strip, cells)):  # as Excel writes below the last row
                continue
            if problem:
                yield Row(number, where, problem=problem)
            elif fits:
                yield Row(number, where, dict(zip(names, cells[:width], strict=True)), after_damage=after_damage)
            else:
                yield Row(number, where, problem=explain_width(cells, width, self._dialect))

    def explain_columns(self) -> tuple[str, str] | None:
        """Why its columns are not those that are needed, and what to do; None where nothing speaks for a cause."""
        return explain_header(self._read_sample(), self._dialect, self._names)

    def column_types(self) -> Mapping[str, pa.DataType]:
        """Empty: all values are text."""
        return {}

    def row_count(self) -> int | None:
        """None: not known before the end."""
        return None

    def _read_sample(self) -> list[str]:
        """The file's first lines, without their ends."""
        sample: list[str] = []
        n_bytes = 0
        with open_lines(self._path) as lines:
            for number, line, _ in lines:
                sample += [""] * (number - len(sample) - 1)
                sample.append(line.decode("utf-8", "replace").rstrip("\r\n"))
                n_bytes += len(line)
                if len(sample) >= MAX_SAMPLE_LINES or n_bytes > MAX_SAMPLE_BYTES:
                    break
        return sample

    def _read_records(self, width: int | None = None) -> Iterator[Record]:
        with open_lines(self._path) as lines:
            texts = TextLines(lines)
            while texts.line < self._dialect.header_line - 1 and next(texts, None) is not None:
                texts.begin_record()
            yield from self._split_tsv(texts, width) if self._is_tsv else parse_csv(texts, self._dialect, width)

    def _split_tsv(self, lines: TextLines, width: int | None) -> Iterator[Record]:
        for text in lines:
            number, problem = lines.line, lines.find_problem()
            lines.begin_record()
            row = text.rstrip("\r\n")
            cells = [_unquote(cell) for cell in row.split(self._dialect.delimiter)]
            if not problem and not has_width(cells, width) and (pieces := split_at_ends(row, self._dialect, width)):
                yield from (Record(number, piece) for piece in pieces)
            elif problem or row:
                yield Record(number, cells, problem)


def _unquote(cell: str) -> str:
    if len(cell) > 1 and cell[0] == cell[-1] == '"':
        return cell[1:-1].replace('""', '"')
    return cell
