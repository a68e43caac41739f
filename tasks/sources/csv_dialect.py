"""How a text table is written: what stands between its cells and around them, and before its column names."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from mediamill.tasks.sources.columns import ID_NAMES, TEXT_NAMES
from mediamill.tasks.sources.path_columns import list_path_names

MAX_SAMPLE_LINES = 500
MAX_SAMPLE_BYTES = 64 * 1024
"""How much of a table is read to find its dialect."""

USUAL_NAMES = frozenset({*ID_NAMES, *TEXT_NAMES}) | list_path_names()
COMMENT = "#"

_DELIMITERS = ",;\t|"
_RARE_DELIMITERS = "^~:!\x1f\x1e\x01\xa6\xac"
"""Taken only where they give columns with known names, and as many cells in every line."""
_SEP_LINE = re.compile(r'\s*"?sep=(\\t|.)"?\s*', re.IGNORECASE | re.DOTALL)
_IDENTIFIER = re.compile(r"[\w.-]+")
_TYPOGRAPHIC_QUOTES = "\u201c\u201d\u201e\u201f\xab\xbb\u2018\u2019\u201a"
_ROW_VALUE = re.compile(r"https?://\S+|.*[^.\s]\.(?!\d)[A-Za-z0-9]{2,5}")
_QUOTED = {quote: re.compile(f"{quote}(?:[^{quote}]|{quote}{quote})*{quote}") for quote in "\"'"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a table is written.

    Attributes:
        delimiter: between cells.
        quote: around cells that hold delimiters: ``"``, or ``'`` where the table shows it.
        skips_spaces: spaces after a delimiter are no part of the cell.
        header_line: number of the line with the column names, from 1.
        has_comments: lines that begin with ``#`` stand before the column names, so others may stand between rows.
    """

    delimiter: str = ","
    quote: str = '"'
    skips_spaces: bool = False
    header_line: int = 1
    has_comments: bool = False

    def create_reader(self, lines: Iterable[str], **options: Any) -> Any:
        """Python's reader of the lines; ``options`` are its own."""
        return csv.reader(
            lines, delimiter=self.delimiter, quotechar=self.quote, skipinitialspace=self.skips_spaces, **options
        )


def find_dialect(lines: Sequence[str], usual: str, names: frozenset[str]) -> Dialect:
    """The dialect of a table.

    Args:
        lines: its first lines, without their ends.
        usual: the delimiter that its file's name promises.
        names: names of columns that are expected, in small letters.
    """
    texts = [n for n, line in enumerate(lines) if line.strip()]
    if not texts:
        return Dialect(usual)
    stated = None
    first = next((n for n in texts if not lines[n].startswith(COMMENT)), texts[0])
    if sep := _SEP_LINE.fullmatch(lines[first]):
        stated = "\t" if sep[1] == "\\t" else sep[1]
        texts = [n for n in texts if n > first]
    header_at = _find_header(lines, texts, stated or usual, names) if texts else first + 1
    header, rows = "".join(lines[header_at : header_at + 1]), [line for line in lines[header_at + 1 :] if line.strip()]
    delimiter = stated or _choose_delimiter(header, usual, names)
    if stated is None and delimiter not in _strip_quoted(header):
        delimiter = _find_rare_delimiter(header, rows, names) or delimiter
    has_comments = any(lines[n].startswith(COMMENT) for n in range(header_at))
    return _choose_quoting(Dialect(delimiter, header_line=header_at + 1, has_comments=has_comments), header, rows)


def explain_header(lines: Sequence[str], dialect: Dialect, names: frozenset[str]) -> tuple[str, str] | None:
    """Why a table has none of the columns that are needed, and what to do; None where nothing speaks for a cause."""
    header = lines[dialect.header_line - 1] if len(lines) >= dialect.header_line else ""
    cells = [cell.strip() for cell in header.split(dialect.delimiter)]
    if any(cell[:1] and cell[0] in _TYPOGRAPHIC_QUOTES for cell in cells):
        return "they stand in typographic quotes", 'write them without quotes, or in "straight" ones'
    for delimiter in (None, *_RARE_DELIMITERS):
        words = header.split(delimiter)
        if len(words) > 1 and all(map(_IDENTIFIER.fullmatch, words)) and _count_names(words, names):
            what = "spaces" if delimiter is None else f"{delimiter!r}, which stands in the cells as well"
            return f"they are separated by {what}", "save it with commas between the columns"
    for number, line in enumerate(lines[dialect.header_line : dialect.header_line + 20], dialect.header_line + 1):
        if any(_count_names(line.split(delimiter), names) for delimiter in _DELIMITERS):
            return f"line {number} looks like the column names", "leave out the lines above it"
    if any(_ROW_VALUE.fullmatch(cell.strip("\"'")) for cell in cells):
        return "the first line looks like a row", f"write the column names above it, e.g. path{dialect.delimiter}note"
    return None


def explain_width(cells: Sequence[str], width: int, dialect: Dialect) -> str:
    """That a row has too few or too many cells, and what of its own shows why."""
    count = f"{len(cells)} {'field' if len(cells) == 1 else 'fields'} where the header has {width}"
    starts = [cell.lstrip()[:1] for cell in cells]
    if starts and starts[0] == COMMENT:
        return f"{count}; is it a comment? Leave it out"
    other = next((start for start in starts if start and start in _TYPOGRAPHIC_QUOTES + "\"'" + "`"), None)
    if len(cells) > width and other is not None and other != dialect.quote:
        return f"{count}; {other} quotes no cell here: use {dialect.quote}"
    if len(cells) > width and other == dialect.quote:
        return f"{count}; a quote counts only at the very beginning of its cell"
    if len(cells) > width:
        return f"{count}; put a cell that holds {dialect.delimiter!r} in quotes"
    text = dialect.delimiter.join(cells)
    separator = next((d for d in _DELIMITERS if len(cells) == 1 and text.count(d) == width - 1), None)
    if separator is not None:
        return f"{count}; {separator!r} separates no cells here: use {dialect.delimiter!r}, as the header does"
    end = dialect.delimiter * (width - len(cells))
    return f"{count}; end it with {end!r} if the rest is empty, or add what is missing"


def _find_header(lines: Sequence[str], texts: Sequence[int], usual: str, names: frozenset[str]) -> int:
    """The index of the line with the column names: the first one, or the first one after comments.

    Args:
        lines: the table's first lines.
        texts: the indexes of those that are not empty.
        usual: the delimiter that is expected.
        names: names of columns that are expected.
    """
    after = next((at for at, n in enumerate(texts) if not lines[n].startswith(COMMENT)), 0)
    if not after:
        return texts[0]
    row, last_comment = lines[texts[after]], lines[texts[after - 1]].lstrip(f"{COMMENT} ")
    delimiter = _choose_delimiter(row, usual, names)
    cells, row_cells = last_comment.split(delimiter), row.split(delimiter)
    if _count_names(row_cells, names):
        return texts[after]
    is_header = _count_names(cells, names) or (len(cells) == len(row_cells) and len(cells) > 1)
    return texts[after - 1] if is_header else texts[after]


def _choose_delimiter(header: str, usual: str, names: frozenset[str]) -> str:
    """The delimiter of a header: one that stands in it outside quotes, and gives it a column with a known name.

    Where none gives one, it is the usual one if it stands in the header, and else a semicolon or a tab.
    """
    bare = _strip_quoted(header)
    present = [delimiter for delimiter in dict.fromkeys(usual + _DELIMITERS) if delimiter in bare]
    if not present or (usual == "\t" and usual in present):
        return usual
    scores = {delimiter: _count_names(header.split(delimiter), names) for delimiter in present}
    best = max(present, key=lambda delimiter: scores[delimiter])
    if scores[best] or usual in present:
        return best if scores[best] else usual
    return next((delimiter for delimiter in present if delimiter in ";\t" and usual == ","), usual)


def _find_rare_delimiter(header: str, rows: Sequence[str], names: frozenset[str]) -> str | None:
    """A delimiter that few tables have, where everything speaks for it; None otherwise."""
    if header.strip().lower() in names:
        return None
    for delimiter in _RARE_DELIMITERS:
        cells = [cell.strip(" \"'") for cell in header.split(delimiter)]
        is_named = len(cells) > 1 and all(map(_IDENTIFIER.fullmatch, cells)) and _count_names(cells, names)
        if is_named and rows and not _count_misfits(Dialect(delimiter), rows, len(cells)):
            return delimiter
    return None


def _choose_quoting(dialect: Dialect, header: str, rows: Sequence[str]) -> Dialect:
    """The dialect with its quote and its spaces: RFC 4180's, unless the rows fit other ones alone."""
    if dialect.has_comments:
        rows = [line for line in rows if not line.startswith(COMMENT)]
    if _stands_in_single_quotes(header, dialect.delimiter):
        return _replace(dialect, quote="'")
    width = len(next(iter(dialect.create_reader([header])), []))
    has_quoted_after_space = re.search(rf'{re.escape(dialect.delimiter)} +"', "\n".join(rows)) is not None
    if has_quoted_after_space and _follows_with_spaces(header, dialect.delimiter):
        return _replace(dialect, skips_spaces=True)
    if not rows or not _count_misfits(dialect, rows, width):
        return dialect
    quotes = "\"'" if _show_single_quotes(rows, dialect.delimiter) else '"'
    others = (_replace(dialect, quote=q, skips_spaces=s) for q, s in product(quotes, (False, True)))
    return next((other for other in others if not _count_misfits(other, rows, width)), dialect)


def _replace(dialect: Dialect, *, quote: str = '"', skips_spaces: bool = False) -> Dialect:
    return Dialect(dialect.delimiter, quote, skips_spaces, dialect.header_line, dialect.has_comments)


def _stands_in_single_quotes(header: str, delimiter: str) -> bool:
    """True where every name of a header, or the only one, stands in single quotes."""
    cells = [cell.strip() for cell in _QUOTED["'"].sub("'x'", header).split(delimiter)]
    return '"' not in header and all(cell == "'x'" for cell in cells)


def _show_single_quotes(rows: Sequence[str], delimiter: str) -> bool:
    """True where a cell begins with a single quote.

    Otherwise rows whose double quotes are only misplaced would have the right number of cells with any other quote.
    """
    return re.search(rf"(?:^|{re.escape(delimiter)}) *'", "\n".join(rows), re.MULTILINE) is not None


def _follows_with_spaces(header: str, delimiter: str) -> bool:
    return delimiter != " " and delimiter in header and all(c.startswith(" ") for c in header.split(delimiter)[1:])


def _count_misfits(dialect: Dialect, rows: Sequence[str], width: int) -> int:
    """How many records of the rows are not so wide, or break the rules; the last one may be cut off."""
    reader = dialect.create_reader((f"{row}\n" for row in rows), strict=True)
    count = 0
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return count
        except csv.Error as error:
            return count if "unexpected end" in str(error) and reader.line_num > len(rows) // 2 else count + 1
        count += bool(cells) and not has_width(cells, width)


def has_width(cells: list[str], width: int | None) -> bool:
    """True for so many cells, and any number of empty ones after them; with None for any cells."""
    return width is None or len(cells) == width or (len(cells) > width and not any(map(str.strip, cells[width:])))


def _count_names(cells: Iterable[str], names: frozenset[str]) -> int:
    return sum(cell.strip(" \"'\r\n\t").lower() in names for cell in cells)


def _strip_quoted(header: str) -> str:
    bare = _QUOTED['"'].sub("x", header)
    return _QUOTED["'"].sub("x", bare) if bare.lstrip().startswith("'") else bare
