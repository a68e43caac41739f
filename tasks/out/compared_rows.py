"""The two sides of a comparison, paired: an OUT's rows, and a table of references or another OUT's rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mediamill.tasks.errors import NoSuchOption, UsageError
from mediamill.tasks.sources.manifest import open_table

Values = Mapping[str, Any]
KEY_COLUMNS = ("item_id", "id", "source", "path", "file", "file_name", "filename", "recording", "audio", "image", "url")
"""Columns of a table of references that may say which item a row is about, the surest first."""


@dataclass(frozen=True, slots=True)
class Paired:
    """The rows of both sides that are about the same item, and how many of each side have no partner."""

    pairs: Sequence[tuple[Values, Values]]
    without_reference: int
    without_result: int


def read_out_rows(out: Path) -> list[dict[str, Any]]:
    """The results of an OUT.

    Raises:
        UsageError: when it has none.
    """
    import pyarrow.parquet as pq

    parts = sorted((out / "results").glob("part-*.parquet"))
    if not parts:
        raise UsageError(f"{out} has no results", hint="name the folder of a run that has finished items")
    return [row for part in parts for row in pq.read_table(part).to_pylist()]


def read_reference_rows(path: Path, key: str | None) -> tuple[list[Values], list[str]]:
    """The rows of a table of references, and the columns that say which item each is about.

    Raises:
        UsageError: when it cannot be read, or no column says it.
    """
    try:
        rows: list[Values] = [row.values for row in open_table(path, str(path)).rows()]
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint="name an OUT, or a .csv, .tsv, .jsonl or .parquet") from None
    names = list(dict.fromkeys(name for row in rows for name in row))
    if key is not None and key not in names:
        raise NoSuchOption("column", key, names, where=str(path))
    keys = [key] if key else [name for name in KEY_COLUMNS if name in names]
    if not keys:
        raise UsageError(f"{path}: no column says which item a row is about", hint="name it with --key")
    return rows, keys


def pair_rows(results: Sequence[Values], references: Sequence[Values], keys: Sequence[str]) -> Paired:
    """Pair results with references: by id, by source, or by the file's name where only one item has it."""
    index = _index_results(results)
    pairs, used = [], set()
    for reference in references:
        number = next((index[value] for value in _iter_key_values(reference, keys) if value in index), None)
        if number is not None and number not in used:
            used.add(number)
            pairs.append((results[number], reference))
    return Paired(pairs, len(results) - len(used), len(references) - len(pairs))


def _index_results(results: Sequence[Values]) -> dict[str, int]:
    names = Counter(Path(str(row["source"])).name for row in results)
    index: dict[str, int] = {}
    for number, row in enumerate(results):
        name = Path(str(row["source"])).name
        if names[name] == 1:
            index[name] = number
    for column in ("source", "item_id"):
        index |= {str(row[column]): number for number, row in enumerate(results)}
    return index


def _iter_key_values(reference: Values, keys: Sequence[str]) -> Iterator[str]:
    for key in keys:
        value = reference.get(key)
        if value not in (None, ""):
            yield str(value)
            yield Path(str(value)).name
