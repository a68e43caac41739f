"""The table of a chain: a row for each item; each step adds its columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mediamill.tasks.bounded.expressions import Expression
from mediamill.tasks.errors import BadInput
from mediamill.tasks.sinks.atomic_file import write_atomically
from mediamill.tasks.sinks.results import build_results_schema

ID, PATH = "item_id", "item_path"
STEP_COMMON_COLUMNS = ("cost_usd", "provider", "model", "simulated")
"""The common columns of results that the table keeps for each step."""
_BATCH_ROWS = 1024


def read_results(out: Path) -> pa.Table:
    """All results of an OUT, in the order of the source; generated files by their full path."""
    parts = sorted((out / "results").glob("part-*.parquet"))
    if not parts:
        return pa.table({ID: pa.array([], pa.string())})
    table = pa.concat_tables([pq.read_table(part) for part in parts])
    table = table.take(pc.sort_indices(table, sort_keys=[("item_index", "ascending")]))
    if "file" in table.column_names:
        full_paths = [None if file is None else str(out / file) for file in table["file"].to_pylist()]
        table = table.set_column(table.column_names.index("file"), "file", pa.array(full_paths, pa.string()))
    return table


def build_first_table(results: pa.Table, name: str, locations: Mapping[str, str | None]) -> pa.Table:
    """The table after the first step: the source's own columns, and the step's with its name in front."""
    ids = results[ID].to_pylist()
    columns: dict[str, Any] = {ID: results[ID], PATH: pa.array([locations.get(i) for i in ids], pa.string())}
    for column in results.column_names:
        if column.startswith("in_"):
            columns[column.removeprefix("in_")] = results[column]
    return pa.table({**columns, **_step_columns(results, name)})


def add_step_columns(table: pa.Table, results: pa.Table, name: str) -> pa.Table:
    """The table with a step's columns added; null where the step has no result."""
    position = {item_id: n for n, item_id in enumerate(results[ID].to_pylist())}
    aligned = results.take(pa.array([position.get(item_id) for item_id in table[ID].to_pylist()], pa.int64()))
    columns = {column: table[column] for column in table.column_names}
    return pa.table({**columns, **_step_columns(aligned, name)})


def drop_step_columns(table: pa.Table, results: pa.Table, name: str) -> pa.Table:
    """The table without a step's columns."""
    own = _step_columns(results, name)
    return table.select([column for column in table.column_names if column not in own])


def replace_rows(earlier: pa.Table, later: pa.Table) -> pa.Table:
    """The results with those of a repeat in place of the earlier ones."""
    if not later.num_rows:
        return earlier
    repeated_ids = set(later[ID].to_pylist())
    kept = earlier.filter(pa.array([item_id not in repeated_ids for item_id in earlier[ID].to_pylist()], pa.bool_()))
    merged = pa.concat_tables([kept, later], promote_options="permissive")
    return merged.take(pc.sort_indices(merged, sort_keys=[("item_index", "ascending")]))


@dataclass(frozen=True, slots=True)
class RowSelection:
    """The rows an expression is true for, those it is false for, and why it could not be evaluated for the rest."""

    matching: pa.Table
    other: pa.Table
    problems: tuple[str, ...] = ()


def select_rows(table: pa.Table, expression: str | None, step: str | None) -> RowSelection:
    """Split rows by an expression; without one all of them match.

    Args:
        table: the chain's table.
        expression: over its columns; those of ``step`` also by their plain names.
        step: the last step.
    """
    if expression is None:
        return RowSelection(table, table.slice(0, 0))
    test = Expression(expression)
    values: list[bool | None] = []
    problems: list[str] = []
    for row in iter_rows(table, step, test.column_names):
        try:
            values.append(test.is_true_for(row, str(row.get(ID))))
        except BadInput as error:
            values.append(None)
            problems.append(error.message)
    is_true = pa.array([value is True for value in values], pa.bool_())
    is_false = pa.array([value is False for value in values], pa.bool_())
    return RowSelection(table.filter(is_true), table.filter(is_false), tuple(problems))


def find_unknown_columns(table: pa.Table, expression: str, step: str | None) -> set[str]:
    """The names in an expression that are neither a column of the table nor a plain name of the step's columns."""
    return {name for name in Expression(expression).column_names if _find_column(table, step, name) is None}


def iter_rows(table: pa.Table, step: str | None, wanted: Iterable[str]) -> Iterable[dict[str, Any]]:
    """The rows with the wanted columns; a step's by their plain names, unless another column has that name."""
    names = {name: _find_column(table, step, name) for name in (*wanted, ID)}
    known = {name: column for name, column in names.items() if column is not None}
    for batch in table.select(sorted(set(known.values()))).to_batches(_BATCH_ROWS):
        for row in batch.to_pylist():
            yield {name: row[column] for name, column in known.items()}


def write_manifest(out: Path, table: pa.Table, path: Path, step: str | None, wanted: Sequence[str]) -> None:
    """Write what the next step reads: ids, locations, every flat column, and the wanted nested and cost columns.

    A step's columns have their plain names, unless a column of the source has that name. Nothing is written where the
    same manifest exists already.
    """
    columns: dict[str, Any] = {ID: table[ID], PATH: table[PATH]}
    for column in table.column_names:
        if column in columns:
            continue
        plain_name = _plain_name(table, step, column)
        is_common = column.endswith(tuple(f"_{name}" for name in STEP_COMMON_COLUMNS))
        if not (is_common or pa.types.is_nested(table[column].type)) or plain_name in wanted or column in wanted:
            columns[plain_name] = table[column]
            if column in wanted:
                columns[column] = table[column]
    manifest = pa.table(columns)
    if path.exists() and pq.read_table(path).equals(manifest):
        return
    write_parquet(out, manifest, path)


def write_parquet(out: Path, table: pa.Table, path: Path) -> None:
    """Write a Parquet file below OUT, whole or not at all.

    Raises:
        StorageError: when it cannot be written.
    """
    with write_atomically(out, path) as temporary:
        pq.write_table(table, temporary)


def _step_columns(results: pa.Table, name: str) -> dict[str, Any]:
    """A step's columns with its name in front: its own, and its cost, provider and model."""
    common = set(build_results_schema(pa.schema([]), pa.schema([])).names) - set(STEP_COMMON_COLUMNS)
    own = [column for column in results.column_names if column not in common and not column.startswith("in_")]
    return {f"{name}_{column}": results[column] for column in own}


def _find_column(table: pa.Table, step: str | None, name: str) -> str | None:
    if name in table.column_names:
        return name
    prefixed = f"{step}_{name}"
    return prefixed if prefixed in table.column_names else None


def _plain_name(table: pa.Table, step: str | None, column: str) -> str:
    plain = column.removeprefix(f"{step}_")
    return column if plain in table.column_names or not column.startswith(f"{step}_") else plain
