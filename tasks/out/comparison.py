"""Compare an OUT with references, or with another OUT: errors of transcripts, agreement of other columns by field."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from mediamill.tasks.errors import NoSuchOption, UsageError
from mediamill.tasks.languages import to_iso_code
from mediamill.tasks.out.compared_rows import (
    KEY_COLUMNS,
    Paired,
    pair_references,
    pair_rows,
    read_out_rows,
    read_reference_rows,
)
from mediamill.tasks.out.field_agreement import measure_nearness
from mediamill.tasks.out.reference_speakers import SPEAKER_COLUMNS, Values
from mediamill.tasks.out.text_errors import TextErrors, count_text_errors
from mediamill.tasks.system.os_errors import build_storage_error

_SPEECH = ("transcribe", "translate")
_TEXT_COLUMNS = ("text", "reference", "transcript", "transcription", "sentence", "caption", "answer")
_GROUPS = {"language": ("language", "lang", "locale"), "speaker": SPEAKER_COLUMNS}
_NOT_COMPARED = frozenset(
    {"item_id", "item_index", "run_id", "capability", "source", "content_sha256", "provider", "model", "engine"}
    | {"simulated", "request_key", "request_id", "started_at", "latency_ms", "attempts", "cached", "cost_usd"}
    | {"cost_usd_float", "cost_basis", "price_source", "files", "recipe", "pieces", "warnings", "flags", "answered_by"}
    | {"segments", "words", "speech_seconds", "audio_seconds", "duration_s", "audio_track", "speakers", "reasoning"}
    | {"width", "height", "format", "pictures", "duplicate_of", "looks", "finish_reason", "first_token_ms", "repairs"}
    | {"input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "tool_calls", "logprobs", "file"}
    | {"bytes", "sample", "seed", "request_ids"}
)


@dataclass(frozen=True, slots=True)
class ComparedItem:
    """One item, or one of its speakers, whom ``groups`` names.

    ``score`` is its word error rate, or 1 less the mean nearness of its fields: 0 is best.
    """

    item_id: str
    source: str
    score: float
    reference: str
    value: str
    groups: Mapping[str, str]
    errors: TextErrors | None = None
    nearness: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Side:
    """An OUT of the comparison: its model, what it cost in US dollars, None where unknown, and seconds a request."""

    name: str
    model: str
    cost_usd: Decimal | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was found. ``fields`` has for each field the share of equal items and the mean nearness.

    ``other_speakers`` are items that were not compared, because their results have none of the references' speakers:
    the source, the references' speakers and the result's.
    """

    items: Sequence[ComparedItem]
    without_reference: int
    without_result: int
    total: TextErrors | None
    by_group: Mapping[str, Mapping[str, tuple[TextErrors, int]]]
    fields: Mapping[str, tuple[float, float]]
    sides: Sequence[Side]
    other_speakers: Sequence[tuple[str, Sequence[str], Sequence[str]]] = ()

    @property
    def n_items(self) -> int:
        """Items that were compared, each counted once, however many speakers it has."""
        return len({item.item_id for item in self.items})

    @property
    def identical(self) -> int:
        """Items without any difference."""
        return sum(item.score == 0 for item in self.items)

    def list_worst(self, count: int = 10) -> list[ComparedItem]:
        """The items with the most errors, those without any left out."""
        return [item for item in sorted(self.items, key=lambda i: -i.score)[:count] if item.score > 0]


def compare(
    out: Path, reference: Path, *, key: str | None = None, columns: Sequence[str] = (), text_column: str | None = None
) -> Comparison:
    """Compare an OUT with a table of references, or with another OUT, which then is the reference.

    Args:
        out: a folder of results.
        reference: a .csv, .tsv, .jsonl or .parquet, or another OUT.
        key: the table's column that says which item a row is about: its id, its path or its file's name.
        columns: the columns to compare where no transcripts are; all that both have by default.
        text_column: the table's column of the right texts.

    Raises:
        UsageError: when a side cannot be read, a column is not there, no item is on both, or two rows of the table are
            about the same item and speaker.
    """
    results = read_out_rows(out)
    is_speech = results[0]["capability"] in _SPEECH and not columns
    is_out = reference.is_dir()
    if is_out:
        references: list[Values] = list(read_out_rows(reference))
        paired = pair_rows(results, references, ["item_id", "source"])
    else:
        references, keys = read_reference_rows(reference, key)
        paired = pair_references(results, references, keys, by_speaker=is_speech)
    if not paired.pairs and paired.other_speakers:
        raise UsageError(
            describe_other_speakers(paired.other_speakers),
            hint="name them alike: --speaker-names of transcribe, or the references' column",
        )
    if not paired.pairs:
        raise UsageError(f"no item of {out} is in {reference}", hint="name the column of ids or files with --key")
    sides = [_describe_side(out, results), *([_describe_side(reference, references)] if is_out else [])]
    if is_speech:
        names = list(dict.fromkeys(name for row in references for name in row))
        return _compare_texts(paired, _choose_text_column(names, text_column, reference), sides)
    return _compare_fields(paired, _choose_fields(paired, columns), sides)


def describe_other_speakers(items: Sequence[tuple[str, Sequence[str], Sequence[str]]]) -> str:
    """Which items were not compared, because their results have none of the references' speakers, in one line."""
    source, wanted, known = items[0]
    others = f" and {len(items) - 1} more" if len(items) > 1 else ""
    return (
        f"not compared: {source}{others}: the references' speakers are {', '.join(wanted)}, the result's "
        f"{', '.join(known) or 'not told apart'}"
    )


def write_comparison(comparison: Comparison, to: Path) -> None:
    """Write a Parquet file with a row for each item, the worst first.

    Raises:
        StorageError: when it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [_to_row(item) for item in sorted(comparison.items, key=lambda i: -i.score)]
    temporary = to.with_name(f".{to.name}.new")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), temporary)
        temporary.replace(to)
    except OSError as error:
        raise build_storage_error(error, to) from None
    finally:
        temporary.unlink(missing_ok=True)


def _to_row(item: ComparedItem) -> dict[str, Any]:
    row = {"item_id": item.item_id, "source": item.source, "reference": item.reference, "value": item.value}
    errors: dict[str, Any] = {}
    if item.errors is not None:
        names = ("words", "substituted", "left_out", "added", "wer", "cer")
        errors = {name: getattr(item.errors, name) for name in names}
    return {**row, "score": item.score, **errors, **item.groups, **{f"near_{n}": v for n, v in item.nearness.items()}}


def _choose_text_column(names: Sequence[str], named: str | None, reference: Path) -> str:
    if named is not None:
        if named not in names:
            raise NoSuchOption("column", named, names, where=str(reference))
        return named
    found = next((name for name in _TEXT_COLUMNS if name in names), None)
    if found is None:
        raise UsageError(f"{reference}: no column has the right texts", hint="name it with --text-column")
    return found


def _choose_fields(paired: Paired, columns: Sequence[str]) -> list[str]:
    result, reference = paired.pairs[0]
    shared = [name for name in result if name in reference]
    for name in columns:
        if name not in shared:
            raise NoSuchOption("column", name, shared, where="what both have")
    left_out = {*_NOT_COMPARED, *KEY_COLUMNS}
    own = [name for name in shared if name not in left_out and not name.startswith("in_")]
    if not columns and not own:
        raise UsageError("both have no column to compare", hint="call the references' columns like the results'")
    return list(columns) or own


def _compare_texts(paired: Paired, column: str, sides: Sequence[Side]) -> Comparison:
    items, total = [], TextErrors()
    by_group: dict[str, dict[str, tuple[TextErrors, int]]] = defaultdict(dict)
    for result, reference in paired.pairs:
        groups = dict(_iter_groups(result, reference))
        said, heard = str(reference.get(column) or ""), str(result.get("text") or "")
        errors = count_text_errors(said, heard, groups.get("language"))
        total.add(errors)
        for name, value in groups.items():
            sums, count = by_group[name].get(value, (TextErrors(), 0))
            sums.add(errors)
            by_group[name][value] = sums, count + 1
        score = float(errors.word_errors > 0) if errors.wer is None else errors.wer
        items.append(
            ComparedItem(str(result["item_id"]), str(result["source"]), score, said, heard, groups, errors=errors)
        )
    return Comparison(
        items, paired.without_reference, paired.without_result, total, by_group, {}, sides, paired.other_speakers
    )


def _iter_groups(result: Values, reference: Values) -> Iterator[tuple[str, str]]:
    """The item's language and speaker: as the reference says it, or the manifest, or the result."""
    for name, columns in _GROUPS.items():
        places = [*((reference, c) for c in columns), *((result, f"in_{c}") for c in columns), (result, name)]
        value = next((row[column] for row, column in places if row.get(column)), None)
        if value is not None:
            yield name, (to_iso_code(str(value)) or str(value)) if name == "language" else str(value)


def _compare_fields(paired: Paired, fields: Sequence[str], sides: Sequence[Side]) -> Comparison:
    items = []
    for result, reference in paired.pairs:
        nearness = {name: measure_nearness(reference.get(name), result.get(name)) for name in fields}
        score = 1 - sum(nearness.values()) / len(nearness)
        said, heard = ({name: row.get(name) for name in fields} for row in (reference, result))
        items.append(
            ComparedItem(
                str(result["item_id"]), str(result["source"]), score, str(said), str(heard), {}, nearness=nearness
            )
        )
    agreement = {
        name: (_mean(items, lambda i, n=name: float(i.nearness[n] == 1)), _mean(items, lambda i, n=name: i.nearness[n]))  # type: ignore[misc]
        for name in fields
    }
    return Comparison(items, paired.without_reference, paired.without_result, None, {}, agreement, sides)


def _mean(items: Sequence[ComparedItem], value: Callable[[ComparedItem], float]) -> float:
    return sum(map(value, items)) / len(items)


def _describe_side(out: Path, rows: Sequence[Values]) -> Side:
    costs, times = [row["cost_usd"] for row in rows], [row["latency_ms"] for row in rows if row["latency_ms"]]
    cost = None if any(each is None for each in costs) else sum(costs, Decimal(0))
    models = ", ".join(sorted({f"{row['provider']} {row['model']}" for row in rows}))
    return Side(str(out), models, cost, sum(times) / len(times) / 1000 if times else None)
