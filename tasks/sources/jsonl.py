"""JSON Lines manifests: one object a line."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from mediamill.tasks.errors import UsageError
from mediamill.tasks.sources.base import Row
from mediamill.tasks.sources.bounded_lines import open_lines
from mediamill.tasks.sources.columns import MAX_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

_LONG_NUMBER = re.compile(rb"[0-9]{19}")
"""A whole number of so many digits may be too large for 64 bits."""
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class JsonLinesReader:
    """One JSON object per line; the columns are all keys that occur, so opening reads the whole file once.

    Raises:
        UsageError: when no line is an object, or there are too many different keys.
    """

    def __init__(self, path: Path, where: str) -> None:
        self._path = path
        names: dict[str, None] = {}
        self._row_count = 0
        problem = None
        for row in self.rows():
            self._row_count += 1
            problem = problem or (row.problem and f"{row.where}: {row.problem}")
            if not row.values.keys() <= names.keys():
                names.update(dict.fromkeys(row.values))
                if len(names) > MAX_COLUMNS:
                    raise UsageError(f"{where}: more than {MAX_COLUMNS} different keys", hint="is it one object a row?")
        self.column_names = list(names)
        if not self.column_names and self._row_count:
            hint = "write one object a line: jq -c '.[]' does it" if self._begins_a_list() else None
            cause = f"; {problem}" if problem else ""
            raise UsageError(f"{where}: no line is a JSON object with keys{cause}", hint=hint)

    def _begins_a_list(self) -> bool:
        with open_lines(self._path) as lines:
            return next((text for _, text, _ in lines if text.strip()), b"").lstrip().startswith(b"[")

    def rows(self) -> Iterator[Row]:
        """Every row; empty lines are skipped."""
        number = 0
        with open_lines(self._path) as lines:
            for line, text, problem in lines:
                if not text.strip() and not problem:
                    continue
                number += 1
                where = f"row {number} (line {line})"
                yield Row(number, where, problem=problem) if problem else _parse_row(number, where, text)

    def column_types(self) -> Mapping[str, pa.DataType]:
        """Empty: all values become text."""
        return {}

    def row_count(self) -> int | None:
        """Counted when the file was opened."""
        return self._row_count


def _parse_row(number: int, where: str, text: bytes) -> Row:
    try:
        values = read_json(text)
    except ValueError as error:
        return Row(number, where, problem=f"not JSON: {error}")
    if not isinstance(values, dict):
        return Row(number, where, problem="not a JSON object")
    return Row(number, where, values)


def read_json(text: bytes) -> Any:
    """The value of a line of JSON, as programs write it.

    NaN, Infinity and numbers that no float can hold are null, half a surrogate pair is U+FFFD, whole numbers are
    exact, and a record separator before the value or a comma after it is passed over.

    Raises:
        ValueError: when it is not JSON; its text says why and where.
    """
    try:
        if not _LONG_NUMBER.search(text):
            return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        message = f"{error.msg} at column {error.colno}"
    else:
        message = "a number has too many digits"
    text = text.strip().removeprefix(b"\x1e").removesuffix(b",")
    try:
        decoded = text.decode()
        value = json.loads(decoded, parse_float=_read_float, parse_constant=lambda _: None)
        return _replace_surrogates(value) if "\\u" in decoded else value
    except (ValueError, RecursionError):
        raise ValueError(message) from None


def _read_float(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _replace_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, list):
        return [_replace_surrogates(part) for part in value]
    if isinstance(value, dict):
        return {_replace_surrogates(key): _replace_surrogates(part) for key, part in value.items()}
    return value


def to_text(value: Any) -> str | None:
    """A JSON value as text: strings as they are, null as None, anything else as JSON."""
    if value is None or isinstance(value, str):
        return value
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # a whole number of more than 64 bits
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
