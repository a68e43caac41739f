"""A manifest as a source: rows that name files or URLs, with parameters and columns of their own."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediamill.tasks.domain import Item
from mediamill.tasks.errors import EmptySource, UsageError
from mediamill.tasks.job import AllowedPaths, Columns
from mediamill.tasks.not_taken import NotTaken
from mediamill.tasks.sources.base import ManifestReader, Row
from mediamill.tasks.sources.columns import ColumnPlan, plan_columns
from mediamill.tasks.sources.infer_types import infer_types
from mediamill.tasks.sources.jsonl import JsonLinesReader, to_text
from mediamill.tasks.sources.locate import find_id_problem, fingerprint_file, fingerprint_value, locate
from mediamill.tasks.sources.row_paths import RowPaths
from mediamill.tasks.system.os_errors import describe_os_error

if TYPE_CHECKING:
    import pyarrow as pa

_DELIMITED_EXTENSIONS = frozenset({".csv", ".tsv"})
MANIFEST_EXTENSIONS = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"})

_HEAD_BYTES = 4096
_MAX_RECOVERED_IDS = 1_000_000


class ManifestSource:
    """The rows of a ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet`` file.

    Paths are relative to the manifest's folder and stay below it, unless ``allow_paths`` says otherwise. A row's id is
    the value of its id column, else its path, else ``row-N``. Duplicate ids are not checked here.

    Raises:
        UsageError: when it cannot be read, or its columns do not fit the job.
    """

    def __init__(
        self,
        given: str,
        columns: Columns,
        kinds: frozenset[str],
        param_names: frozenset[str],
        *,
        requires_text: bool = True,
        allow_paths: AllowedPaths = False,
    ) -> None:
        path = Path(given).expanduser()
        self.root = os.path.abspath(path)  # noqa: PTH100 (links stay as they are: they decide what paths are relative to)
        self.name = path.stem
        self._file, self._row_paths = path.name, RowPaths.of_source(self.root, allow_paths)
        try:
            expected = param_names | _list_job_columns(columns)
            self._reader = _open_reader(Path(self.root), given, expected)
            names = self._reader.column_names
            if names:
                self._plan = self._plan_columns(given, columns, kinds, param_names, requires_text=requires_text)
        except OSError as error:
            cause = describe_os_error(error)
            raise UsageError(f"{given}: {cause.what}", hint=cause.hint) from None
        except UsageError:
            _check_content(Path(self.root), given)
            raise
        self._column_types = self._reader.column_types()
        if not self._reader.column_names:
            raise self.to_empty_error()
        if self._column_types and columns.types:
            raise UsageError(f"{given}: columns.types: a Parquet manifest keeps its own types")
        if columns.infer_types:
            self._infer_types(given)
        self._check_path_type(given)

    def items(self) -> Iterator[Item]:
        """One item for each row, in the manifest's order."""
        recovered_ids: set[str] = set()
        for index, row in enumerate(self._reader.rows()):
            item = self._to_item(index, row)
            if row.after_damage and not item.problem:
                if item.item_id in recovered_ids:
                    problem = f"{self._file} {row.where}: its id {item.item_id!r} is that of a row before"
                    item = Item(f"row-{row.number}", index, item.source, row=item.row, problem=problem)
                elif len(recovered_ids) < _MAX_RECOVERED_IDS:
                    recovered_ids.add(item.item_id)
            yield item

    def row_schema(self) -> pa.Schema | None:
        """The carried columns; text unless the job or the Parquet file gives another type."""
        import pyarrow as pa

        types = {**self._column_types, **self._plan.types}
        return pa.schema([(name, types.get(name, pa.string())) for name in self._plan.carried])

    def size_hint(self) -> int | None:
        """Known for Parquet and JSON Lines."""
        return self._reader.row_count()

    def not_taken(self) -> NotTaken:
        """Nothing: a row that cannot be used is an item with a problem."""
        return NotTaken()

    def to_empty_error(self) -> UsageError:
        """The error for a manifest without a row."""
        return EmptySource(f"{self._file} has no rows", hint="one line of column names, then one row an item")

    def _to_item(self, index: int, row: Row) -> Item:
        where = f"{self._file} {row.where}"
        fallback = f"row-{row.number}"
        if row.problem:
            return Item(fallback, index, where, problem=f"{where}: {row.problem}")
        plan, values = self._plan, row.values
        params = {name: values[column] for name, column in plan.params.items() if values.get(column) not in (None, "")}
        try:
            carried = self._to_carried_row(values)
            value = _to_id_or_path(values.get(plan.path)) if plan.path else None
            item_id = _to_id_or_path(values.get(plan.id)) if plan.id else None
        except ValueError as error:
            return Item(fallback, index, where, problem=f"{where}: {error}")
        item_id = item_id or value or fallback
        problem = find_id_problem(item_id)
        if problem:
            return Item(fallback, index, where, row=carried, params=params, problem=f"{where}: {problem}")
        if plan.path is None:
            fingerprint = fingerprint_value(None, carried, params)
            return Item(item_id, index, where, row=carried, params=params, fingerprint=fingerprint)
        if not value:
            return Item(
                item_id, index, where, row=carried, params=params, problem=f"{where}: column {plan.path!r} is empty"
            )
        return self._locate_item(Item(item_id, index, value, row=carried, params=params), where)

    def _locate_item(self, item: Item, where: str) -> Item:
        located = locate(item.source, self._row_paths)
        if located.problem or located.location is None:
            return replace(item, problem=f"{where}: {located.problem}")
        if located.file_stat:
            fingerprint = fingerprint_file(located.location, located.file_stat, item.row, item.params)
        else:
            version = item.row.get(self._plan.version) if self._plan.version else None
            fingerprint = fingerprint_value(
                located.location if version in (None, "") else version, item.row, item.params
            )
        return replace(item, location=located.location, fingerprint=fingerprint)

    def _to_carried_row(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The carried columns. JSON has neither NaN nor infinities, so they are the text that Arrow reads as such."""
        if self._column_types:
            return {n: _spell_non_finite(values[n]) for n in self._plan.carried}
        types = self._plan.types
        row = {n: to_text(values.get(n)) for n in self._plan.carried}
        for name, kind in types.items():
            row[name] = _spell_non_finite(_cast_text(name, row[name], kind))
        return row

    def _plan_columns(
        self,
        given: str,
        columns: Columns,
        kinds: frozenset[str],
        param_names: frozenset[str],
        *,
        requires_text: bool,
    ) -> ColumnPlan:
        names = self._reader.column_names
        try:
            return plan_columns(given, names, columns, kinds, param_names, requires_text=requires_text)
        except UsageError as error:
            explanation = self._reader.explain_columns()
            if explanation is None:
                raise
            cause, hint = explanation
            raise UsageError(f"{error.message}; {cause}", hint=hint) from None

    def _infer_types(self, given: str) -> None:
        if Path(self.root).suffix.lower() not in _DELIMITED_EXTENSIONS:
            raise UsageError(f"{given}: --infer-types is for .csv and .tsv; other manifests have types of their own")
        names = [name for name in self._plan.carried if name not in self._plan.types]
        self._plan.types.update(infer_types(self._reader.rows(), names))

    def _check_path_type(self, given: str) -> None:
        path = self._plan.path
        if path is None or path not in self._column_types:
            return
        from mediamill.tasks.sources.parquet import holds_text

        if not holds_text(self._column_types[path]):
            raise UsageError(
                f"{given}: the column {path!r} holds {self._column_types[path]}, not paths",
                hint="name the one that does: --path-column NAME",
            )


def open_table(path: Path, given: str) -> ManifestReader:
    """A reader for a table that is no source: all its rows, as programs write them.

    Args:
        path: a .csv, .tsv, .jsonl or .parquet.
        given: its name as the user wrote it, for errors.

    Raises:
        UsageError: when it is not what its name says.
        OSError: when it cannot be opened.
    """
    _check_content(path, given)
    return _open_reader(path, given, frozenset())


def _list_job_columns(columns: Columns) -> frozenset[str]:
    """The names of columns that a job names."""
    single = (columns.id, columns.path, columns.text, columns.version, columns.group)
    return frozenset({*filter(None, single), *columns.types, *(columns.params or {}).values()})


def _open_reader(path: Path, given: str, expected: frozenset[str]) -> ManifestReader:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        from mediamill.tasks.sources.parquet import ParquetReader

        return ParquetReader(path, given)
    if suffix in (".jsonl", ".ndjson"):
        return JsonLinesReader(path, given)
    from mediamill.tasks.sources.delimited import DelimitedReader

    return DelimitedReader(path, given, tabs=suffix == ".tsv", names=expected)


def _check_content(path: Path, given: str) -> None:
    """Raise an error that says what the file is, where it is no manifest of the kind that its name says."""
    from mediamill.tasks.media.content_kind import describe_unlike_text

    suffix = path.suffix.lower()
    with path.open("rb") as file:
        what = describe_unlike_text(file.read(_HEAD_BYTES))
    if what is None or suffix == ".parquet" or (what.startswith("JSON") and suffix not in _DELIMITED_EXTENSIONS):
        return
    hint = "name it .jsonl, with one object a line" if what.startswith("JSON") else "save it as a .csv of UTF-8 text"
    if what == "a Parquet file":
        hint = "name it .parquet"
    elif "pointer" in what:
        hint = "fetch the file itself"
    raise UsageError(f"{given} is not what its name says: it holds {what.partition(',')[0]}", hint=hint)


def _to_id_or_path(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"an id or path is text, not {type(value).__name__}")


def _spell_non_finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, list):
        return [_spell_non_finite(part) for part in value]
    if isinstance(value, dict):
        return {name: _spell_non_finite(part) for name, part in value.items()}
    return value


def _cast_text(name: str, value: str | None, kind: pa.DataType) -> Any:
    if value is None or not value.strip():
        return None
    import pyarrow as pa

    try:
        return pa.scalar(value.strip(), pa.string()).cast(kind).as_py()
    except (pa.ArrowException, OverflowError):
        raise ValueError(f"column {name!r}: {value[:80]!r} is not {kind}") from None
