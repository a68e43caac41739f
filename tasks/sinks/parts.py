"""Parquet parts: one for each shard and kind, always written as a whole."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mediamill.tasks.errors import StorageError
from mediamill.tasks.journal.parts import Part
from mediamill.tasks.sinks.atomic_file import hash_file, remove_file, write_atomically
from mediamill.tasks.sinks.file_check import FileState, check_file
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
        written, digest = temporary.stat(), hash_file(temporary)
    return Part(kind, name, count, written.st_size, digest, written.st_mtime_ns)


def check_part(out: Path, part: Part, *, by_content: bool = False) -> FileState:
    """The state of a committed part's file; see :func:`mediamill.tasks.sinks.file_check.check_file`."""
    path = part_path(out, part.kind, part.name)
    state = check_file(path, size=part.bytes, sha256=part.sha256, mtime_ns=part.mtime_ns, by_content=by_content)
    return "damaged" if state == "intact" and not by_content and not _has_magic_bytes(path) else state


def has_columns(out: Path, part: Part, schema: pa.Schema) -> bool:
    """Whether a part has the columns of a schema; an earlier program may have written it with fewer."""
    try:
        return set(schema.names) <= set(pq.read_schema(part_path(out, part.kind, part.name)).names)
    except (OSError, pa.ArrowException):
        return True  # it is damaged, which its check says


def with_current_time(out: Path, part: Part) -> Part:
    """A part with the time that its file has now."""
    return replace(part, mtime_ns=part_path(out, part.kind, part.name).stat().st_mtime_ns)


def _has_magic_bytes(path: Path) -> bool:
    """Whether a file has Parquet's magic bytes at both ends."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
            file.seek(-4, 2)
            return head == file.read(4) == _PARQUET_MAGIC
    except OSError:
        return False


def build_damage_error(part: Path, error: Exception) -> StorageError:
    """The error of a part that cannot be read, with what mends it."""
    out, cause = part.parent.parent, str(error).partition("\n")[0]
    hint = f"{shlex.join(('mediamill', 'report', str(out), '--verify'))} writes it again from the journal, free"
    return StorageError(f"{part}: cannot be read: {cause}", hint=hint)


def list_uncommitted(out: Path, committed: Iterable[Part]) -> list[Path]:
    """The files that look like parts and were never committed."""
    known = {part_path(out, part.kind, part.name) for part in committed}
    kinds = ("results", "failures", "calls")
    return sorted(path for kind in kinds for path in (out / kind).glob("part-*.parquet") if path not in known)


def remove_uncommitted(out: Path, committed: Iterable[Part]) -> None:
    """Remove what crashed runs left: temporary files, and parts that were never committed."""
    shutil.rmtree(out / ".tmp", ignore_errors=True)
    for path in list_uncommitted(out, committed):
        remove_file(path)


def _split_batches(rows: Iterator[bytes]) -> Iterator[list[bytes]]:
    while batch := list(islice(rows, _BATCH_ROWS)):
        yield batch
