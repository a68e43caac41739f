"""Check every file of an OUT against its journal, and write again what is missing or damaged; nothing is sent.

Parts, the cost tables, the report and the run records come from the journal alone. Files in ``media`` came from a
provider's reply: the next run takes them from the reply in the journal, or fetches them, where that is still possible.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from mediamill.tasks.errors import StorageError
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.output_lock import OutputLock
from mediamill.tasks.journal.parts import Part
from mediamill.tasks.out.damage import restore_document
from mediamill.tasks.out.status import open_to_write
from mediamill.tasks.report.build import REPORT_FILES, build_report
from mediamill.tasks.sinks.calls import CALLS_SCHEMA, to_call_row
from mediamill.tasks.sinks.documents import check_document
from mediamill.tasks.sinks.failures import build_failures_schema
from mediamill.tasks.sinks.file_check import check_file
from mediamill.tasks.sinks.media import list_media_files
from mediamill.tasks.sinks.parts import check_part, list_uncommitted, part_path, remove_uncommitted, write_part
from mediamill.tasks.sinks.schema import deserialize_schema
from mediamill.tasks.sinks.subtitles.write import add_file_names, write_subtitles
from mediamill.tasks.summary import FileProblem, Finding, Verification

_VERIFIER = "verify"
_RUN_AGAIN = "run the job again, or mediamill retry OUT --only lost: free while its reply or its address is there"
_RESTORE = "restore it from a copy of the journal; it is needed only where its item is done again"


def verify(out: Path) -> Verification:
    """Compare every file of OUT with the SHA-256 in its journal, and mend what the journal holds.

    Raises:
        UsageError: when no run has written there, or OUT is a copy.
        OutputBusy: when a run works on OUT.
        StorageError: when OUT or the journal cannot be written.
    """
    out = out.expanduser().absolute()
    journal = open_to_write(out)
    try:
        lock = OutputLock.acquire(out, journal, _VERIFIER)
        try:
            return asyncio.run(_Verifier(out, journal, lock.token).run())
        finally:
            lock.release()
    finally:
        journal.close()


class _Verifier:
    def __init__(self, out: Path, journal: Journal, token: int) -> None:
        self._out = out
        self._journal = journal
        self._token = token
        self._schemas = journal.output.load_schemas()
        self._checked = 0
        self._findings: list[Finding] = []

    async def run(self) -> Verification:
        await self._check_parts()
        await self._write_outdated()
        await self._check_documents()
        await self._check_media()
        self._check_blobs()
        return Verification(str(self._out), self._checked, tuple(self._findings))

    def _add(self, path: str, problem: FileProblem, *, hint: str | None = None) -> None:
        self._findings.append(Finding(path, problem, hint is None, hint))

    async def _check_parts(self) -> None:
        committed, names = self._journal.parts.load_all(), set[tuple[str, str]]()
        for stray in list_uncommitted(self._out, committed):
            self._add(str(stray.relative_to(self._out)), "not OUT's")
        remove_uncommitted(self._out, committed)
        for part in committed:
            self._checked += 1
            state = check_part(self._out, part, by_content=True)
            if state in ("missing", "damaged"):
                path = part_path(self._out, part.kind, part.name)
                self._add(str(path.relative_to(self._out)), "missing" if state == "missing" else "damaged")
                names.add((part.kind, part.name))
        for kind, name in sorted(names):
            await self._journal.parts.commit([self._write_part(kind, name)], self._token)

    async def _write_outdated(self) -> None:
        """Write what a run that was killed has left to the next one."""
        committed = {(part.kind, part.name): part.sha256 for part in self._journal.parts.load_all()}

        def write(kind: str, name: str) -> Part:
            written = self._write_part(kind, name)
            if written.sha256 != committed.get((kind, name), ""):
                self._add(str(part_path(self._out, kind, name).relative_to(self._out)), "outdated")
            return written

        if self._schemas is not None:
            for shard in self._journal.parts.list_dirty():
                written = [write(kind, f"{shard:06d}") for kind in ("results", "failures")]
                await self._journal.parts.commit(written, self._token, shard=shard)
        for run_id in self._journal.attempts.find_runs_to_publish():
            await self._journal.parts.commit([write("calls", run_id)], self._token)

    def _write_part(self, kind: str, name: str) -> Part:
        schema = CALLS_SCHEMA if kind == "calls" or self._schemas is None else _choose_schema(kind, self._schemas)
        return write_part(self._out, kind, name, self._load_rows(kind, name, schema), schema)

    def _load_rows(self, kind: str, name: str, schema: pa.Schema) -> Iterator[bytes]:
        if kind == "calls":
            return map(to_call_row, self._journal.attempts.stream_run(name))
        outcomes = self._journal.outcomes
        if kind == "failures":
            return outcomes.stream_failures(int(name))
        return add_file_names(outcomes.stream_results(int(name)), self._journal.output.load_formats(), schema)

    async def _check_documents(self) -> None:
        found = {document.path: document for document in self._journal.documents.load_all()}
        is_report_wrong = False
        for path in sorted({*found, *REPORT_FILES}):
            document = found.get(path)
            self._checked += document is not None
            state = check_document(self._out, document, by_content=True) if document else "intact"
            if document is None and not (self._out / path).exists():
                state = "missing"
            if state not in ("missing", "damaged"):
                continue
            self._add(path, "missing" if state == "missing" else "damaged")
            if document is not None and document.is_kept:
                await self._journal.documents.record([restore_document(self._out, self._journal, document)])
            else:
                is_report_wrong = True
        if is_report_wrong:
            await self._journal.documents.record_report(build_report(self._out, self._journal))

    async def _check_media(self) -> None:
        if formats := self._journal.output.load_formats():
            written = write_subtitles(self._out, self._journal.outcomes.stream_stored_results(), formats)
            if written:
                self._add(f"media: {written} of {', '.join(formats)}", "damaged")
        if self._schemas is None or not {"file", "bytes"} <= set(deserialize_schema(self._schemas[0]).names):
            return
        lost = []
        for row in map(orjson.loads, self._journal.outcomes.stream_done_results()):
            problems = list(self._find_media_problems(row))
            for path, problem in problems:
                self._add(path, problem, hint=_RUN_AGAIN)
            if problems:
                lost.append(str(row["item_id"]))
        await self._journal.items.mark_lost(lost)

    def _find_media_problems(self, row: Mapping[str, Any]) -> Iterator[tuple[str, FileProblem]]:
        for media in list_media_files(row):
            self._checked += 1
            path, digest = str(media["file"]), media.get("sha256")
            state = check_file(
                self._out / path,
                size=int(media["bytes"]),
                sha256=str(digest),
                mtime_ns=None,
                by_content=digest is not None,
            )
            if state != "intact":
                yield path, "missing" if state == "missing" else "damaged"

    def _check_blobs(self) -> None:
        """Check the replies that are too large for the journal's database; only a copy can restore them."""
        for digest in self._journal.attempts.list_blobs():
            self._checked += 1
            try:
                self._journal.asks.check_blob(digest)
            except StorageError as error:
                self._add(error.message, "damaged", hint=_RESTORE)


def _choose_schema(kind: str, schemas: tuple[bytes, bytes]) -> pa.Schema:
    results, rows = map(deserialize_schema, schemas)
    return results if kind == "results" else build_failures_schema(rows)
