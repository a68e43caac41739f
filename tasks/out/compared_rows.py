"""The two sides of a comparison, paired: an OUT's rows, and a table of references or another OUT's rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mediamill.tasks.errors import NoSuchOption, UsageError
from mediamill.tasks.out.reference_speakers import (
    Values,
    check_rows_of_item,
    choose_spoken,
    find_speaker,
    list_speakers,
)
from mediamill.tasks.sources.manifest import open_table

KEY_COLUMNS = ("item_id", "id", "source", "path", "file", "file_name", "filename", "recording", "audio", "image", "url")
"""Columns of a table of references that may say which item a row is about, the surest first."""


@dataclass(frozen=True, slots=True)
class Paired:
    """The rows of both sides that are about the same item, and how many of each side have no partner.

    ``other_speakers`` are items whose references are about speakers of whom the result has none: the source, the
    references' speakers and the result's.
    """

    pairs: Sequence[tuple[Values, Values]]
    without_reference: int
    without_result: int
    other_speakers: Sequence[tuple[str, Sequence[str], Sequence[str]]] = ()


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
    """Pair results with another OUT's: by id or source."""
    index, _ = _index_results(results)
    pairs, used = [], set()
    for reference in references:
        number = next((index[value] for value in _iter_key_values(reference, keys) if value in index), None)
        if number is not None and number not in used:
            used.add(number)
            pairs.append((results[number], reference))
    return Paired(pairs, len(results) - len(used), len(references) - len(pairs))


def pair_references(
    results: Sequence[Values], references: Sequence[Values], keys: Sequence[str], *, by_speaker: bool
) -> Paired:
    """Pair results with a table's rows: by id, by source, or by the file's name where only one item has it.

    Args:
        results: an OUT's rows.
        references: the table's rows; of one item there may be several, each about one of its speakers.
        keys: the table's columns that say which item a row is about.
        by_speaker: whether results are transcripts, of which a row may be about one speaker.

    Raises:
        UsageError: when two rows are about the same item and the same speaker.
    """
    rows = _find_rows_of_items(results, references, keys)
    pairs: list[tuple[Values, Values]] = []
    other_speakers = []
    for number, of_item in rows.items():
        result = results[number]
        check_rows_of_item(result, of_item, by_speaker=by_speaker)
        spoken = choose_spoken(result, of_item) if by_speaker else [(result, of_item[0])]
        if spoken is None:
            wanted = [find_speaker(reference) or "" for reference in of_item]
            other_speakers.append((str(result["source"]), wanted, list_speakers(result)))
        pairs += spoken or ()
    used = sum(map(len, rows.values()))
    return Paired(pairs, len(results) - len(rows), len(references) - used, other_speakers)


def _find_rows_of_items(
    results: Sequence[Values], references: Sequence[Values], keys: Sequence[str]
) -> dict[int, list[Values]]:
    """The references' rows by the number of their result.

    A row that has only the file's name in common is not about an item of which another has the id or path.
    """
    exact, by_name = _index_results(results)
    found: dict[int, list[Values]] = {}
    left = []
    for reference in references:
        values = list(_iter_key_values(reference, keys))
        number = next((exact[value] for value in values if value in exact), None)
        if number is not None:
            found.setdefault(number, []).append(reference)
        else:
            left.append((reference, values))
    named: dict[int, list[Values]] = {}
    for reference, values in left:
        number = next((by_name[value] for value in values if value in by_name), None)
        if number is not None and number not in found:
            named.setdefault(number, []).append(reference)
    return found | named


def _index_results(results: Sequence[Values]) -> tuple[dict[str, int], dict[str, int]]:
    """The number of each result by its id and source, and by its file's name where only one has it."""
    exact = {str(row[column]): number for column in ("source", "item_id") for number, row in enumerate(results)}
    names = [Path(str(row["source"])).name for row in results]
    count = Counter(names)
    return exact, {name: number for number, name in enumerate(names) if count[name] == 1}


def _iter_key_values(reference: Values, keys: Sequence[str]) -> Iterator[str]:
    for key in keys:
        value = reference.get(key)
        if value not in (None, ""):
            yield str(value)
            yield Path(str(value)).name
