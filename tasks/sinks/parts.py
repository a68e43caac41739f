"""Parquet parts: one for each shard and kind, always written as a whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mediamill.tasks.journal.parts import Part
from mediamill.tasks.sinks.atomic_file import hash_file, remove_file, write_atomically
from mediamill.tasks.sinks.json_to_arrow import to_table

_BATCH_ROWS = 1000
_PARQUET_MAGIC = b"PAR1"


def part_path(out: Path, kind: str, name: str) -> Path:
    """The path of a part: ``OUT/<kind>/part-<name>.parquet``."""
    return out / kind / f"part-{name}.parquet"


def write_part(out: Path, kind: str, name: str, rows: Iterable[bytes], schema: pa.Schema) -> Part:
    """Write a part in row groups of a thousand, so that memory stays flat. Without rows there is no file.

    Args:
        out: the folder of results.
        kind: results, failures or calls.
        name: the part's name.
        rows: each row as JSON.
        schema: the part's schema.

    Raises:
        StorageError: when the disk fails; an earlier part of that name then stays.
    """
    target = part_path(out, kind, name)
    batches = _split_batches(iter(rows))
    first = next(batches, None)
    if first is None:
        remove_file(target)
        return Part(kind, name, 0, 0, "")
    count = 0
    with write_atomically(out, target) as temporary:
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for batch in chain([first], batches):
                writer.write_table(to_table(batch, schema))
                count += len(batch)
        size, digest = temporary.stat().st_size, hash_file(temporary)
    return Part(kind, name, count, size, digest)


def is_intact(out: Path, part: Part) -> bool:
    """True when the file of a committed part has its size, and Parquet's magic bytes at both ends."""
    path = part_path(out, part.kind, part.name)
    try:
        if path.stat().st_size != part.bytes:
            return False
        with path.open("rb") as file:
            head = file.read(4)
            file.seek(-4, 2)
            return head == file.read(4) == _PARQUET_MAGIC
    except OSError:
        return False


def remove_uncommitted(out: Path, committed: Iterable[Part]) -> None:
    """Remove what crashed runs left: temporary files, and parts that were never committed."""
    shutil.rmtree(out / ".tmp", ignore_errors=True)
    known = {part_path(out, part.kind, part.name) for part in committed}
    for kind in ("results", "failures", "calls"):
        for path in (out / kind).glob("part-*.parquet"):
            if path not in known:
                remove_file(path)


def _split_batches(rows: Iterator[bytes]) -> Iterator[list[bytes]]:
    while batch := list(islice(rows, _BATCH_ROWS)):
        yield batch
