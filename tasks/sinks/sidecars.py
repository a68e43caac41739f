"""Writes sidecars: the text of a result beside its source, where players and caption tools look for it."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from mediamill.tasks.journal.blobs import sync_path
from mediamill.tasks.journal.outcomes import StoredResult
from mediamill.tasks.journal.sidecars import Sidecars, WrittenSidecar
from mediamill.tasks.run_log import RUN_LOGGER, clean_text, write_record
from mediamill.tasks.sinks.subtitles.formats import format_transcript
from mediamill.tasks.sources.sidecars import SidecarNames
from mediamill.tasks.summary import SidecarCounts
from mediamill.tasks.system.os_errors import describe_os_error

_BATCH_RESULTS = 200
_MAX_BYTES = 64 * 2**20
"""A larger file is none of ours, and not read."""


def write_sidecars(
    results: Iterable[StoredResult], names: SidecarNames, journal: Sidecars, *, overwrite: bool
) -> SidecarCounts:
    """Write the sidecars of every result that has none, or an earlier one of this OUT.

    A file that this OUT did not write stays, as does one that somebody has changed since. What cannot be written is
    counted and logged, once for each folder; it ends nothing.

    Args:
        results: of files; those of URLs, and of files that are gone, are counted and left out.
        names: what the sidecars are called.
        journal: which of them this OUT has written.
        overwrite: write over files that this OUT did not write, too; never over a link or one of its sources.

    Raises:
        StorageError: when the journal cannot be written.
    """
    writer = _Writer(names, journal, overwrite=overwrite)
    batches = iter(results)
    while batch := list(islice(batches, _BATCH_RESULTS)):
        writer.write_batch(batch)
    return writer.to_counts()


def format_sidecar(row: Mapping[str, Any], format_name: str, *, has_times: bool, keeps_lines: bool = False) -> bytes:
    """A result as a sidecar. A caption is one line of text alone: trainers take a file's first line for all of it."""
    if has_times:
        return format_transcript(row, format_name)
    text = str(row.get("text") or "")
    return f"{text.strip() if keeps_lines else ' '.join(text.split())}\n".encode()


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A sidecar that should be there."""

    path: str
    item_id: str
    content: bytes
    sha256: str


@dataclass(slots=True)
class _Writer:
    names: SidecarNames
    journal: Sidecars
    overwrite: bool
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    folder_problems: dict[str, str] = field(default_factory=dict)

    def write_batch(self, results: Iterable[StoredResult]) -> None:
        wanted = list(self._list_wanted(results))
        known = self.journal.find([each.path for each in wanted])
        to_write: list[tuple[_Wanted, bool]] = []
        planned: list[WrittenSidecar] = []
        for each in wanted:
            before = known.get(each.path)
            if before is not None and before.item_id != each.item_id:
                self._count("of_another_item", each.path)
                continue
            found = _hash_existing(each.path)
            is_ours = before is not None and found in (before.sha256, before.sha256_before)
            if found == each.sha256:
                self.counts["unchanged"] += 1
                continue
            if found is not None and not is_ours:
                if not self.overwrite or found == _NO_FILE or self.journal.is_source(each.path):
                    self._count("in_the_way", each.path)
                    continue
                self.counts["overwritten"] += 1
            known[each.path] = WrittenSidecar(each.path, each.item_id, each.sha256, found)
            planned.append(known[each.path])
            to_write.append((each, found is not None))
        self.journal.record(planned)
        for each, replaces in to_write:
            self._write(each, replaces=replaces)

    def _list_wanted(self, results: Iterable[StoredResult]) -> Iterator[_Wanted]:
        for result in results:
            location = result.location
            if location is None or location.startswith(("http://", "https://")):
                self._count("of_urls", result.item_id)
                continue
            if not os.path.lexists(location):
                self._count("of_lost_sources", location)
                continue
            row = orjson.loads(result.row)
            for format_name, path in self.names.list_paths(location).items():
                if path.casefold() == location.casefold():
                    self._count("in_the_way", path)
                    continue
                names = self.names
                content = format_sidecar(row, format_name, has_times=names.has_times, keeps_lines=names.keeps_lines)
                yield _Wanted(path, result.item_id, content, hashlib.sha256(content).hexdigest())

    def _write(self, wanted: _Wanted, *, replaces: bool) -> None:
        folder = os.path.dirname(wanted.path)  # noqa: PTH120 (a path may hold anything)
        try:
            _write_beside(Path(wanted.path), wanted.content, self.journal.out_id, replaces=replaces)
            self.counts["written"] += 1
        except FileExistsError:  # somebody was faster
            self._count("in_the_way", wanted.path)
        except OSError as error:
            self.counts["not_written"] += 1
            if folder not in self.folder_problems:
                self.folder_problems[folder] = describe_os_error(error).what
                message = f"no sidecar can be written in {clean_text(folder)}: {self.folder_problems[folder]}"
                write_record(RUN_LOGGER, logging.WARNING, "sidecars_not_written", message, folder=clean_text(folder))

    def _count(self, why: str, example: str) -> None:
        self.counts[why] += 1
        self.examples.setdefault(why, example)

    def to_counts(self) -> SidecarCounts:
        return SidecarCounts(
            **dict(self.counts),
            examples=dict(self.examples),
            folders=tuple(f"{folder}: {cause}" for folder, cause in self.folder_problems.items()),
        )


_NO_FILE = "no file"
"""Stands for the hash of what is no plain file, such as a link or a folder, or cannot be read."""


def _hash_existing(path: str) -> str | None:
    """The SHA-256 (hex) of the file at ``path``; None where nothing is there."""
    try:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_BYTES:
            return _NO_FILE
        with open(path, "rb", opener=_open_no_link) as file:
            return hashlib.sha256(file.read()).hexdigest()
    except FileNotFoundError:
        return None
    except OSError:
        return _NO_FILE


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


def _write_beside(target: Path, content: bytes, out_id: str, *, replaces: bool) -> None:
    """Write a file that is complete or absent. Without ``replaces`` one that is there by now stays.

    Its temporary file has a name of OUT's own, as another OUT may write here now, and always the same one: a kill
    leaves one at most, which the next run takes.

    Raises:
        FileExistsError: when one is there.
        OSError: when it cannot be written.
    """
    digest = hashlib.sha256(f"{out_id}/".encode() + os.fsencode(target.name)).hexdigest()[:16]
    temporary = target.with_name(f".mediamill-{digest}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        with temporary.open("xb") as file:
            file.write(content)
        sync_path(temporary)
        if replaces:
            temporary.replace(target)
        else:
            _rename_to_new(temporary, target)
        sync_path(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _rename_to_new(temporary: Path, target: Path) -> None:
    try:
        target.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError from None
        temporary.replace(target)
