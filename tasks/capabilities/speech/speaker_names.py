"""Names of speakers in place of their labels; renaming changes rows and never a request.

The channels of a recording are labelled ``channel 1``, ``channel 2`` ...; a diarized one has the model's labels.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from mediamill.tasks.bounded.files import parse_yaml, read_bounded_text

EVERY_ITEM = "*"
"""In place of an item's id: the name holds for all items that have no other one."""

MAX_NAMES = 20_000
_MAX_CHARACTERS = 200
_CHANNEL = "channel "
_SUFFIXES = (".csv", ".yaml", ".yml")
_COLUMNS = ("item_id", "label", "name")

SpeakerNames: TypeAlias = tuple[tuple[str, str, str], ...]
"""Item id or :data:`EVERY_ITEM`, label, and the name in its place."""


def label_channel(number: int) -> str:
    """The label of who speaks on a channel, by its number from 1."""
    return f"{_CHANNEL}{number}"


def is_channel_name(entry: tuple[str, str, str]) -> bool:
    """Whether an entry is the name of a channel."""
    return entry[1].startswith(_CHANNEL)


def parse_speaker_names(value: Any, *, reads_file: bool) -> Any:
    """The names of a list, a text with commas, a mapping, or a file of either kind.

    A list has the names of channels 1, 2 ... of every item. A mapping has names by label, or such mappings by item id.

    Args:
        value: what was given.
        reads_file: whether a text may name a file: a csv with the columns item_id, label and name, or a yaml mapping.

    Raises:
        ValueError: when the file cannot be read, or it holds something else.
    """
    if value is None:
        return None
    if isinstance(value, str):
        is_file = reads_file and (value.lower().endswith(_SUFFIXES) or "/" in value or Path(value).is_file())
        value = _read_file(Path(value)) if is_file else [name.strip() for name in value.split(",")]
    names = tuple(_iter_names(value))
    if len(names) > MAX_NAMES:
        raise ValueError(f"has {len(names):,} names, more than {MAX_NAMES:,}")
    seen: dict[tuple[str, str], str] = {}
    for item_id, label, name in names:
        if not name or len(name) > _MAX_CHARACTERS:
            raise ValueError(f"{name[:40]!r} for {label!r} is no name: it has 1 to {_MAX_CHARACTERS} characters")
        if seen.setdefault((item_id, label), name) != name:
            raise ValueError(f"{label!r} of {item_id!r} is both {seen[item_id, label]!r} and {name!r}")
    return names


def find_names(names: SpeakerNames | None, item_id: str) -> dict[str, str]:
    """An item's names by label; its own come before those of every item."""
    return {label: name for owner in (EVERY_ITEM, item_id) for at, label, name in names or () if at == owner}


def list_named_items(names: SpeakerNames | None) -> set[str]:
    """The ids of items that have names of their own."""
    return {owner for owner, _, _ in names or () if owner != EVERY_ITEM}


def describe_unused_names(columns: Mapping[str, Any], names: SpeakerNames) -> str | None:
    """Says so where a transcript has none of the labels that are named for every item; None where it has one."""
    labels = {label for owner, label, _ in names if owner == EVERY_ITEM}
    if not labels or labels & {part for each in _list_labels(columns) for part in (each, each.partition(":")[0])}:
        return None
    known = ", ".join(map(repr, sorted(_list_labels(columns)))) or "none"
    return f"speaker_names: no speaker is labelled {' or '.join(map(repr, sorted(labels)))}; the labels are: {known}"


def _list_labels(columns: Mapping[str, Any]) -> set[str]:
    parts = (part for name in ("segments", "words", "channels") for part in _get_speaking(columns, name))
    return {part["speaker"] for part in parts} | set(columns.get("speakers") or ())


def rename_speakers(columns: Mapping[str, Any], names: SpeakerNames, item_id: str) -> dict[str, Any]:
    """A transcript's columns with names in place of labels, in segments, words, speakers and channels.

    A name for this item whose label nobody has is told in ``warnings``, with the labels that there are.
    """
    by_label = find_names(names, item_id)
    labels = _list_labels(columns)

    def rename(label: str) -> str:
        channel, colon, own = label.partition(":")  # a label of diarization within a channel
        return by_label.get(label) or f"{by_label.get(channel, channel)}{colon}{own}"

    def rename_parts(name: str) -> Any:
        parts = columns.get(name)
        return parts and [{**p, "speaker": rename(p["speaker"])} if p.get("speaker") else p for p in parts]

    renamed = {name: rename_parts(name) for name in ("segments", "words", "channels") if name in columns}
    speakers = list(dict.fromkeys(rename(label) for label in columns.get("speakers") or ()))
    unknown = [
        label
        for at, label, _ in names
        if at == item_id and not any(label in (each, each.partition(":")[0]) for each in labels)
    ]
    warnings = list(columns.get("warnings") or ())
    if unknown:
        known = ", ".join(map(repr, sorted(labels))) or "none"
        warnings.append(
            f"speaker_names: no speaker is labelled {', '.join(map(repr, unknown))}; the labels are: {known}"
        )
    return {**columns, **renamed, "speakers": speakers or None, "warnings": warnings}


def _get_speaking(columns: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    return (part for part in columns.get(name) or () if part.get("speaker"))


def _read_file(path: Path) -> Any:
    text = read_bounded_text(path)
    if path.suffix.lower() != ".csv":
        try:
            return parse_yaml(text)
        except ValueError as error:
            raise ValueError(f"{path} is no YAML: {error}") from None
    rows = csv.DictReader(io.StringIO(text))
    missing = [column for column in _COLUMNS[1:] if column not in (rows.fieldnames or ())]
    if missing:
        raise ValueError(f"{path} has no column {' and '.join(missing)}; its columns are item_id, label and name")
    return [
        [(row.get("item_id") or "").strip() or EVERY_ITEM, (row["label"] or "").strip(), (row["name"] or "").strip()]
        for row in rows
    ]


def _iter_names(value: Any) -> Iterator[tuple[str, str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(inner, Mapping):
                yield from ((str(key), str(label), _to_name(name)) for label, name in inner.items())
            elif isinstance(inner, list):
                _check_distinct(inner)
                yield from ((str(key), label_channel(n), _to_name(name)) for n, name in enumerate(inner, 1))
            else:
                yield EVERY_ITEM, str(key), _to_name(inner)
        return
    if not isinstance(value, list | tuple):
        raise ValueError(f"{str(value)[:80]!r} is neither a list of names nor names by label")  # noqa: TRY004 - pydantic reports a ValueError
    _check_distinct([entry for entry in value if isinstance(entry, str)])
    for number, entry in enumerate(value, 1):
        if _is_entry(entry):
            item_id, label, name = entry
            yield item_id, label, name
        else:
            yield EVERY_ITEM, label_channel(number), _to_name(entry)


def _check_distinct(names: Sequence[Any]) -> None:
    """Two channels of a list are two speakers; one name for both would make them one."""
    for number, name in enumerate(names):
        if name in names[:number]:
            first, second = names.index(name) + 1, number + 1
            raise ValueError(f"{name!r} names channel {first} and channel {second}: give each channel its own name")


def _is_entry(entry: Any) -> bool:
    is_triple = isinstance(entry, Sequence) and not isinstance(entry, str) and len(entry) == len(_COLUMNS)
    return is_triple and all(isinstance(part, str) for part in entry)


def _to_name(name: Any) -> str:
    if isinstance(name, str | int):
        return str(name).strip()
    raise ValueError(f"{str(name)[:80]!r} is no name")
