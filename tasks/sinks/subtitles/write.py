"""Writes transcripts and subtitles from OUT's results: the same files whenever they are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import orjson

from mediamill.tasks.os_errors import build_storage_error
from mediamill.tasks.sinks.atomic_file import write_atomically
from mediamill.tasks.sinks.safe_names import to_safe_name
from mediamill.tasks.sinks.subtitles.formats import format_transcript


def write_subtitles(out: Path, rows: Iterable[bytes], formats: Sequence[str]) -> int:
    """Write ``OUT/media/<name>.<format>`` for every result whose file is missing or differs. Returns how many.

    Args:
        out: the folder of results.
        rows: results as JSON.
        formats: of :data:`mediamill.tasks.sinks.subtitles.formats.FORMATS`.

    Raises:
        StorageError: when one cannot be written.
    """
    written = 0
    for row in map(orjson.loads, rows):
        for format_name in formats:
            target = out / "media" / to_safe_name(str(row["item_id"]), f".{format_name}")
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
