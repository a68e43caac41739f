"""JSON Lines manifests: one object a line."""

from __future__ import annotations

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
        values = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return Row(number, where, problem=f"not JSON: {error.msg} at column {error.colno}")
    if not isinstance(values, dict):
        return Row(number, where, problem="not a JSON object")
    return Row(number, where, values)


def to_text(value: Any) -> str | None:
    """A JSON value as text: strings as they are, null as None, anything else as JSON."""
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()
