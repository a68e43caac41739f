"""The table that grows along a chain: a row an item, each step's columns beside those before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mediamill.tasks.errors import BadInput
from mediamill.tasks.pipeline.expressions import Expression
from mediamill.tasks.sinks.results import build_results_schema

ID, PATH = "item_id", "item_path"
_STEP_COMMON_COLUMNS = ("cost_usd", "provider", "model", "simulated")
"""Of the columns that every result has, those that each step's share of the table keeps."""
_BATCH_ROWS = 1024


def read_results(out: Path) -> pa.Table:
    """Every result of an OUT, in the order of the source; files that were made, by their whole path."""
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
    """The table after the first step: the source's own columns, and the step's behind its name."""
    ids = results[ID].to_pylist()
    columns: dict[str, Any] = {ID: results[ID], PATH: pa.array([locations.get(i) for i in ids], pa.string())}
    for column in results.column_names:
        if column.startswith("in_"):
            columns[column.removeprefix("in_")] = results[column]
    return pa.table({**columns, **_step_columns(results, name)})


def add_step_columns(table: pa.Table, results: pa.Table, name: str) -> pa.Table:
    """The table with a step's columns beside it; null where the step has no result."""
    position = {item_id: n for n, item_id in enumerate(results[ID].to_pylist())}
    aligned = results.take(pa.array([position.get(item_id) for item_id in table[ID].to_pylist()], pa.int64()))
    columns = {column: table[column] for column in table.column_names}
    return pa.table({**columns, **_step_columns(aligned, name)})


def drop_step_columns(table: pa.Table, results: pa.Table, name: str) -> pa.Table:
    """The table without a step's columns: as it was before they came beside it."""
    own = _step_columns(results, name)
    return table.select([column for column in table.column_names if column not in own])


def replace_rows(earlier: pa.Table, later: pa.Table) -> pa.Table:
    """Results of a repeat in the place of those it repeats."""
    if not later.num_rows:
        return earlier
    repeated_ids = set(later[ID].to_pylist())
    kept = earlier.filter(pa.array([item_id not in repeated_ids for item_id in earlier[ID].to_pylist()], pa.bool_()))
    merged = pa.concat_tables([kept, later], promote_options="permissive")
    return merged.take(pc.sort_indices(merged, sort_keys=[("item_index", "ascending")]))


@dataclass(frozen=True, slots=True)
class RowSelection:
    """Rows an expression holds for, rows it does not hold for, and why it could not be worked out for others."""

    matching: pa.Table
    other: pa.Table
    problems: tuple[str, ...] = ()


def select_rows(table: pa.Table, expression: str | None, step: str | None) -> RowSelection:
    """The rows an expression holds for, and the others; without one, all of them and none.

    Args:
        table: as it grew.
        expression: over its columns, those of ``step`` by their plain names too.
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
    is_true = pa.array([hold is True for hold in values], pa.bool_())
    is_false = pa.array([hold is False for hold in values], pa.bool_())
    return RowSelection(table.filter(is_true), table.filter(is_false), tuple(problems))


def find_unknown_columns(table: pa.Table, expression: str, step: str | None) -> set[str]:
    """Names in an expression that are no column, neither whole nor as the step's own."""
    return {name for name in Expression(expression).column_names if _find_column(table, step, name) is None}


def iter_rows(table: pa.Table, step: str | None, wanted: Iterable[str]) -> Iterable[dict[str, Any]]:
    """Rows with the wanted columns, a step's by their plain names where nothing else is called so."""
    names = {name: _find_column(table, step, name) for name in (*wanted, ID)}
    known = {name: column for name, column in names.items() if column is not None}
    for batch in table.select(sorted(set(known.values()))).to_batches(_BATCH_ROWS):
        for row in batch.to_pylist():
            yield {name: row[column] for name, column in known.items()}


def write_manifest(table: pa.Table, path: Path, step: str | None, wanted: Sequence[str]) -> None:
    """What the next step reads: ids, places, every plain column, and of the nested ones and of costs the wanted.

    A step's columns have their plain names, where no column of the source is called so. Nothing is written where
    the same manifest lies there already.
    """
    columns: dict[str, Any] = {ID: table[ID], PATH: table[PATH]}
    for column in table.column_names:
        if column in columns:
            continue
        plain_name = _plain_name(table, step, column)
        told = column.endswith(tuple(f"_{told}" for told in _STEP_COMMON_COLUMNS))
        if not (told or pa.types.is_nested(table[column].type)) or plain_name in wanted or column in wanted:
            columns[plain_name] = table[column]
            if column in wanted:
                columns[column] = table[column]
    manifest = pa.table(columns)
    if path.exists() and pq.read_table(path).equals(manifest):
        return
    write_parquet(manifest, path)


def write_parquet(table: pa.Table, path: Path) -> None:
    """A Parquet file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    pq.write_table(table, temporary)
    temporary.replace(path)


def _step_columns(results: pa.Table, name: str) -> dict[str, Any]:
    """A step's columns behind its name: its own, and what it cost."""
    common = set(build_results_schema(pa.schema([]), pa.schema([])).names) - set(_STEP_COMMON_COLUMNS)
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
