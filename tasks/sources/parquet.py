"""Parquet manifests; columns keep their types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mediamill.tasks.errors import UsageError
from mediamill.tasks.sources.base import Row

_BATCH_ROWS = 1024


class ParquetReader:
    """A Parquet file, read a batch at a time.

    Raises:
        UsageError: when it is no Parquet file.
    """

    def __init__(self, path: Path, where: str) -> None:
        self._path, self._where = path, where
        try:
            with pq.ParquetFile(path) as file:
                self._schema: pa.Schema = file.schema_arrow
                self._row_count: int = file.metadata.num_rows
        except (pa.ArrowException, OSError) as error:
            raise self._to_usage_error(error) from None
        self.column_names = list(self._schema.names)

    def rows(self) -> Iterator[Row]:
        """Every row."""
        number = 0
        try:
            with pq.ParquetFile(self._path) as file:
                for batch in file.iter_batches(_BATCH_ROWS):
                    for values in batch.to_pylist():
                        number += 1
                        yield Row(number, f"row {number}", values)
        except (pa.ArrowException, OSError) as error:
            raise self._to_usage_error(error) from None

    def column_types(self) -> Mapping[str, pa.DataType]:
        """The file's types; for dictionary columns the type of their values."""
        return {f.name: f.type.value_type if pa.types.is_dictionary(f.type) else f.type for f in self._schema}

    def row_count(self) -> int | None:
        """The number of rows in the file's footer."""
        return self._row_count

    def _to_usage_error(self, error: Exception) -> UsageError:
        return UsageError(f"{self._where} is not a readable Parquet file: {str(error).splitlines()[0]}")


def holds_text(kind: pa.DataType) -> bool:
    """True for types whose values are strings."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
