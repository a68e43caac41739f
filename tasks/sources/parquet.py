"""Parquet manifests; columns keep their types. A small file may stand for endless rows, so its growth is bounded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mediamill.tasks.errors import UsageError
from mediamill.tasks.sources.base import Row
from mediamill.tasks.sources.bounded_lines import MAX_LINE_BYTES
from mediamill.tasks.sources.parquet_values import read_rows

MAX_ROWS = 100_000_000
MAX_GROWTH = 1000
"""How many times its size a file may expand to, beyond :data:`FREE_BYTES`."""
FREE_BYTES = 256 * 2**20
_BATCH_ROWS = 1024
_MAX_BATCH_BYTES = 32 * 2**20
_TEXT = "BYTE_ARRAY"
_VALUE_BYTES = 8


class ParquetReader:
    """A Parquet file, read a batch at a time.

    Texts that repeat stay one text while a batch is read, and rows over the size of a line are problems.

    Raises:
        UsageError: when it is no Parquet file, or expands to more than it may.
    """

    def __init__(self, path: Path, where: str) -> None:
        self._path, self._where = path, where
        try:
            self._size = path.stat().st_size
            with pq.ParquetFile(path) as file:
                self._schema: pa.Schema = file.schema_arrow
                self._row_count: int = file.metadata.num_rows
                problem = _find_growth(file, path, self._size)
                self._repeated, self._batch_rows = _choose_reading(file)
        except (pa.ArrowException, OSError) as error:
            raise self._to_usage_error(error) from None
        if problem:
            raise UsageError(f"{where}: {problem}", hint="split it into smaller files if it is what you meant")
        self.column_names = list(self._schema.names)

    def rows(self) -> Iterator[Row]:
        """Every row."""
        number, total_bytes = 0, 0
        try:
            with pq.ParquetFile(self._path, read_dictionary=self._repeated) as file:
                for batch in file.iter_batches(self._batch_rows):
                    sizes = measure_rows(batch)
                    total_bytes += sum(sizes)
                    if total_bytes > max(FREE_BYTES, MAX_GROWTH * self._size):
                        raise self._to_growth_error()
                    for values, size in zip(_to_values(batch, sizes), sizes, strict=True):
                        number += 1
                        yield self._to_row(number, values, size)
        except (pa.ArrowException, OSError) as error:
            raise self._to_usage_error(error) from None

    def column_types(self) -> Mapping[str, pa.DataType]:
        """The file's types; for dictionary columns the type of their values."""
        return {f.name: f.type.value_type if pa.types.is_dictionary(f.type) else f.type for f in self._schema}

    def row_count(self) -> int | None:
        """The number of rows in the file's footer."""
        return self._row_count

    def explain_columns(self) -> tuple[str, str] | None:
        """None: its columns are what it says."""
        return None

    def _to_row(self, number: int, values: dict[str, Any] | str, size: int) -> Row:
        where = f"row {number}"
        if size > MAX_LINE_BYTES:
            return Row(number, where, problem=f"the row is longer than {MAX_LINE_BYTES:,} bytes")
        return Row(number, where, problem=values) if isinstance(values, str) else Row(number, where, values)

    def _to_growth_error(self) -> UsageError:
        return UsageError(
            f"{self._where}: its rows expand to more than {MAX_GROWTH:,} times the file's {self._size:,} bytes",
            hint="a text that is the same in every row belongs into the job",
        )

    def _to_usage_error(self, error: Exception) -> UsageError:
        return UsageError(f"{self._where} is not a readable Parquet file: {str(error).splitlines()[0]}")


def holds_text(kind: pa.DataType) -> bool:
    """True for types whose values are strings."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _find_growth(file: pq.ParquetFile, path: Path, size: int) -> str | None:
    """Why a file expands to more than it may, as its footer says; None when it does not."""
    if file.metadata.num_rows > MAX_ROWS:
        return f"it says that it has {file.metadata.num_rows:,} rows; a manifest has at most {MAX_ROWS:,}"
    for group, chunk, column in _iter_chunks(file):
        n_bytes = chunk.total_uncompressed_size
        if column.max_repetition_level > 0:
            n_bytes = max(n_bytes, _measure_lists(path, group, chunk))
        if n_bytes > max(FREE_BYTES, MAX_GROWTH * size):
            return f"column {chunk.path_in_schema!r} expands to {n_bytes:,} bytes from a file of {size:,}"
    return None


def _iter_chunks(file: pq.ParquetFile) -> Iterator[tuple[int, Any, Any]]:
    """Each column of each row group: the group's number, the chunk's metadata, the column's schema."""
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        for index in range(group.num_columns):
            yield number, group.column(index), file.schema.column(index)


def _measure_lists(path: Path, group: int, chunk: Any) -> int:
    """The bytes that a column of lists expands to; a batch holds whole rows of it, however long they are."""
    n_bytes: int = chunk.num_values * _VALUE_BYTES
    at_most = chunk.num_values * chunk.total_uncompressed_size
    if chunk.physical_type != _TEXT or not _repeats(chunk) or n_bytes > FREE_BYTES or at_most <= FREE_BYTES:
        return n_bytes
    try:
        with pq.ParquetFile(path, read_dictionary=[chunk.path_in_schema]) as file:
            column = file.read_row_group(group, columns=[chunk.path_in_schema]).column(0)
    except pa.ArrowNotImplementedError:  # it also holds texts that do not repeat, which take their room in the file
        return n_bytes
    return n_bytes + sum(_sum_lengths(leaf) for part in column.chunks for leaf in _list_leaves(part))


def _list_leaves(array: Any) -> list[Any]:
    kind = array.type
    if pa.types.is_struct(kind):
        return [leaf for field in array.flatten() for leaf in _list_leaves(field)]
    if pa.types.is_map(kind):
        return [*_list_leaves(array.keys), *_list_leaves(array.items)]
    return _list_leaves(array.values) if pa.types.is_list(kind) or pa.types.is_large_list(kind) else [array]


def _sum_lengths(array: Any) -> int:
    """The bytes of the texts of a dictionary array, each counted as often as it stands there."""
    if not pa.types.is_dictionary(array.type):
        return int(array.nbytes)
    return int(pc.sum(pc.binary_length(array.dictionary).take(array.indices)).as_py() or 0)


def _repeats(chunk: Any) -> bool:
    return any("DICTIONARY" in encoding for encoding in chunk.encodings)


def _choose_reading(file: pq.ParquetFile) -> tuple[list[str], int]:
    """The text columns, not in lists, that stay one text for all rows that have it; and how many rows to read at once.

    A text that is written as what differs from the one before has at most as many bytes as its column.
    """
    repeated: dict[str, None] = {}
    batch_rows = _BATCH_ROWS
    for _, chunk, column in _iter_chunks(file):
        if column.max_repetition_level == 0 and chunk.physical_type == _TEXT and _repeats(chunk):
            repeated[chunk.path_in_schema] = None
        if "DELTA_BYTE_ARRAY" in chunk.encodings:
            batch_rows = min(batch_rows, max(1, FREE_BYTES // max(chunk.total_uncompressed_size, 1)))
    return list(repeated), batch_rows


def measure_rows(batch: pa.RecordBatch) -> list[int]:
    """About how many bytes each row of a batch has."""
    total: Any = pa.array([0] * batch.num_rows, pa.int64())
    for column in [leaf for each in batch.columns for leaf in _flatten_structs(each)]:
        kind = column.type
        if pa.types.is_dictionary(kind) and _has_bytes(kind.value_type):
            lengths = pc.binary_length(column.dictionary).take(column.indices)
        elif _has_bytes(kind):
            lengths = pc.binary_length(column)
        elif pa.types.is_nested(kind) and column.nbytes > MAX_LINE_BYTES:
            lengths = pa.array([column.slice(n, 1).nbytes for n in range(batch.num_rows)], pa.int64())
        else:
            lengths = pa.array([column.nbytes // max(batch.num_rows, 1)] * batch.num_rows, pa.int64())
        total = pc.add(total, pc.fill_null(lengths.cast(pa.int64()), 0))
    sizes: list[int] = total.to_pylist()
    return sizes


def _flatten_structs(column: Any) -> list[Any]:
    if not pa.types.is_struct(column.type):
        return [column]
    return [leaf for field in column.flatten() for leaf in _flatten_structs(field)]


def _has_bytes(kind: pa.DataType) -> bool:
    return holds_text(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _to_values(batch: pa.RecordBatch, sizes: list[int]) -> Iterator[dict[str, Any] | str]:
    """The rows of a batch, or why one cannot be read; of rows that are too long, nothing."""
    if sum(sizes) <= _MAX_BATCH_BYTES:
        yield from read_rows(batch)
        return
    for number, size in enumerate(sizes):
        yield {} if size > MAX_LINE_BYTES else next(read_rows(batch.slice(number, 1)))
