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
_LINE_END = re.compile(rb"[\r\n]+")
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
                for part in [text] if problem else _split_at_ends(text):
                    number += 1
                    where = f"row {number} (line {line})"
                    yield Row(number, where, problem=problem) if problem else _parse_row(number, where, part)

    def column_types(self) -> Mapping[str, pa.DataType]:
        """Empty: all values become text."""
        return {}

    def row_count(self) -> int | None:
        """Counted when the file was opened."""
        return self._row_count

    def explain_columns(self) -> tuple[str, str] | None:
        """None: its columns are what it says."""
        return None


def _split_at_ends(text: bytes) -> list[bytes]:
    """The objects of a line that holds other line ends than the file's first one; the line itself where it is one."""
    parts = [part for part in _LINE_END.split(text) if part.strip()]
    if len(parts) < 2 or _is_json(text):  # noqa: PLR2004
        return [text]
    return parts if all(map(_is_json, parts)) else [text]


def _is_json(text: bytes) -> bool:
    try:
        read_json(text)
    except ValueError:
        return False
    return True


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

    NaN and Infinity are floats, a number that no float can hold is its text, half a surrogate pair is U+FFFD, whole
    numbers are exact, and a record separator before the value or a comma after it is passed over.

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
        value = json.loads(decoded, parse_float=_read_float, parse_constant=float)
        return _replace_surrogates(value) if "\\u" in decoded else value
    except (ValueError, RecursionError):
        raise ValueError(message) from None


def _read_float(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits


def _replace_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, list):
        return [_replace_surrogates(part) for part in value]
    if isinstance(value, dict):
        return {_replace_surrogates(key): _replace_surrogates(part) for key, part in value.items()}
    return value


def to_text(value: Any) -> str | None:
    """A JSON value as text: strings as they are, null as None, anything else as JSON.

    NaN and Infinity stay what they are as a column's value; inside a list or an object, where JSON has none, they are
    null.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # a whole number of more than 64 bits
        return json.dumps(_drop_non_finite(value), ensure_ascii=False, separators=(",", ":"))


def _drop_non_finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_drop_non_finite(part) for part in value]
    if isinstance(value, dict):
        return {key: _drop_non_finite(part) for key, part in value.items()}
    return value
