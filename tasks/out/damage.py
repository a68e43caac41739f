"""What a run that begins finds wrong with OUT's files, by their sizes and times: it writes them again, free."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mediamill.tasks import run_log
from mediamill.tasks.journal.documents import Document
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.parts import Part
from mediamill.tasks.run_log import RUN_LOGGER
from mediamill.tasks.sinks.atomic_file import write_atomically
from mediamill.tasks.sinks.calls import CALLS_SCHEMA
from mediamill.tasks.sinks.documents import check_document, describe_file
from mediamill.tasks.sinks.parts import check_part, has_columns, part_path, remove_uncommitted, with_current_time


@dataclass(frozen=True, slots=True)
class Damage:
    """What has to be written again: the calls of these runs, and the cost tables and the report."""

    calls: frozenset[str] = frozenset()
    report: bool = False


async def mend_at_start(out: Path, journal: Journal, run_id: str) -> Damage:
    """Remove what crashed runs left, restore what needs no run, and mark the shards whose parts are not intact.

    A file whose time has changed is compared by its SHA-256, once: then its new time is kept.

    Returns:
        What the run has to write again when it publishes.

    Raises:
        StorageError: when OUT or the journal cannot be written.
    """
    committed = journal.parts.load_all()
    await asyncio.to_thread(remove_uncommitted, out, committed)
    states = await asyncio.to_thread(lambda: [(part, check_part(out, part)) for part in committed])
    damaged = [part for part, state in states if state in ("missing", "damaged")]
    await journal.parts.update_times([with_current_time(out, part) for part, state in states if state == "touched"])
    shards = {part.name for part in damaged if part.kind != "calls"}
    if shards:
        await journal.parts.mark_dirty(shards)
    restored, has_lost_report = await _restore_documents(out, journal)
    _log_mending(out, damaged, [document.path for document in restored], run_id)
    calls = [part for part in committed if part.kind == "calls"]
    wrong = {part.name for part in damaged} | await asyncio.to_thread(_find_narrow, out, calls)
    return Damage(frozenset(part.name for part in calls if part.name in wrong), has_lost_report)


def _find_narrow(out: Path, calls: Sequence[Part]) -> set[str]:
    """The parts of calls that an earlier program wrote with fewer columns; those of results have a schema of OUT's."""
    return {part.name for part in calls if not has_columns(out, part, CALLS_SCHEMA)}


async def _restore_documents(out: Path, journal: Journal) -> tuple[list[Document], bool]:
    """Restore the documents whose content the journal holds; also whether one of the others is not intact."""
    restored, touched, has_lost_report = list[Document](), list[Document](), False
    for document in journal.documents.load_all():
        state = check_document(out, document)
        if state == "touched":
            touched.append(replace(document, mtime_ns=(out / document.path).stat().st_mtime_ns))
        elif state != "intact":
            if document.is_kept:
                restored.append(restore_document(out, journal, document))
            else:
                has_lost_report = True
    await journal.documents.record([*restored, *touched])
    return restored, has_lost_report


def restore_document(out: Path, journal: Journal, document: Document) -> Document:
    """Write a document again whose content the journal keeps.

    Raises:
        StorageError: when it cannot be written.
    """
    content = journal.documents.load_content(document)
    with write_atomically(out, out / document.path) as temporary:
        temporary.write_bytes(content)
    return describe_file(out, document.path)


def _log_mending(out: Path, damaged: Sequence[Part], restored: Sequence[str], run_id: str) -> None:
    paths = [str(part_path(out, part.kind, part.name).relative_to(out)) for part in damaged] + list(restored)
    for path in paths:
        message = f"{path} was missing or damaged, and is written again from the journal"
        run_log.write_record(RUN_LOGGER, logging.WARNING, "mended", message, run_id=run_id, path=path)
