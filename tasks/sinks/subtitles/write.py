"""Writes transcripts and subtitles from OUT's results: the same files whenever they are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from mediamill.tasks.file_names import name_file
from mediamill.tasks.journal.outcomes import StoredResult
from mediamill.tasks.sinks.atomic_file import write_atomically
from mediamill.tasks.sinks.subtitles.formats import format_transcript
from mediamill.tasks.system.os_errors import build_storage_error

if TYPE_CHECKING:
    import pyarrow as pa


def write_subtitles(out: Path, results: Iterable[StoredResult], formats: Sequence[str]) -> int:
    """Write ``OUT/media/NAME.FORMAT`` for every result whose file is missing or differs. Returns how many.

    Args:
        out: the folder of results.
        results: of recordings.
        formats: of :data:`mediamill.tasks.sinks.subtitles.formats.FORMATS`.

    Raises:
        StorageError: when one cannot be written.
    """
    written = 0
    for result in results:
        row = orjson.loads(result.row)
        for format_name in formats:
            target = out / name_subtitles(result.item_id, result.file_stem, format_name)
            content = format_transcript(row, format_name)
            try:
                if target.is_file() and target.read_bytes() == content:
                    continue
                with write_atomically(out, target) as temporary:
                    temporary.write_bytes(content)
            except OSError as error:
                raise build_storage_error(error, target) from None
            written += 1
    return written


def add_file_names(results: Iterable[StoredResult], formats: Sequence[str], schema: pa.Schema) -> Iterator[bytes]:
    """The rows as JSON, each with the paths of its subtitles, where the schema has the column ``files`` for them."""
    has_column = "files" in schema.names
    for result in results:
        if not (formats and has_column):
            yield result.row
            continue
        paths = [name_subtitles(result.item_id, result.file_stem, format_name) for format_name in formats]
        yield (
            b'{"files":' + orjson.dumps(paths) + b"," + result.row[1:]
        )  # not parsed, as there may be a million of them


def name_subtitles(item_id: str, file_stem: str | None, format_name: str) -> str:
    """The path of an item's subtitles in a format, relative to OUT."""
    return f"media/{name_file(item_id, file_stem, f'.{format_name}')}"
