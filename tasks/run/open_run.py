"""Open a run: lock and bind OUT, set up the budget, freeze the schemas."""

from __future__ import annotations

import logging
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from mediamill.tasks.engine import Engine
from mediamill.tasks.errors import UsageError
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.journal_choice import choose_journal, write_mark
from mediamill.tasks.journal.output_lock import OutputLock
from mediamill.tasks.out.damage import Damage, mend_at_start
from mediamill.tasks.out.moved_out import check_is_same_source, check_place
from mediamill.tasks.renamed_options import to_stored_job
from mediamill.tasks.run.call_setup import (
    choose_concurrency,
)
from mediamill.tasks.run.create_context import create_context
from mediamill.tasks.run.outdated_rows import READING, mark_outdated_rows
from mediamill.tasks.run.refused_run import close_refused_run
from mediamill.tasks.run.resolved_job import ResolvedJob
from mediamill.tasks.run.run_context import RunContext
from mediamill.tasks.run.template_columns import check_template_columns
from mediamill.tasks.run_log import RUN_LOGGER, write_record
from mediamill.tasks.sinks.media import find_lost_media
from mediamill.tasks.sinks.out_folder import PRIVATE_FOLDERS, create_out_folder
from mediamill.tasks.sinks.results import build_results_schema
from mediamill.tasks.sinks.schema import deserialize_schema, read_reading, serialize_schema
from mediamill.tasks.system.asr_choice import POCKETSPHINX, choose_asr_engine

if TYPE_CHECKING:
    from mediamill.tasks.sources import Source


_NOT_STORED = {"limit", "run_deadline", "processes", "schedule", "moved", "copied", "confirmed", "notify"} | {
    "overwrite",
    "skip_existing",
}
"""Fields of a job that hold for one command, and not for those that go on with its OUT."""


async def open_run(resolved: ResolvedJob, engine: Engine, *, retry: bool) -> tuple[RunContext, Source | None]:
    """Open everything a run needs, cheap failures first.

    Returns:
        The run's context, and the source of its items (None in a retry).

    Raises:
        UsageError: when the source is wrong, or OUT holds something else.
        OutputBusy: when another run holds OUT.
        StorageError: when OUT or the journal cannot be written.
    """
    choose_concurrency(resolved)
    _report_replaced_engine(resolved)
    _report_unused_params(resolved)
    if not retry:
        resolved.refuse_another_out()
    source = None if retry else await engine.run_in_thread(_open_source, resolved)
    out = resolved.out
    is_new = not (out / PRIVATE_FOLDERS[0]).exists()
    await engine.run_in_thread(create_out_folder, out)
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    used = await engine.run_in_thread(lambda: choose_journal(out, resolved.job.journal, moved=resolved.job.moved))
    resolved = replace(resolved, job=resolved.job.model_copy(update={"journal": used}))
    journal = await engine.run_in_thread(Journal.open, out, used)
    lock = None
    try:
        await check_place(out, journal, moved=resolved.job.moved, copied=resolved.job.copied)
        if resolved.job.moved and source is not None:
            await engine.run_in_thread(check_is_same_source, journal, source)
        lock = await engine.run_in_thread(OutputLock.acquire, out, journal, run_id)
        root = source.root if source else await engine.run_in_thread(_load_bound_root, journal, resolved)
        damage = await _bind_out(resolved, journal, engine, run_id, root, source)
        if source is not None and {"file", "bytes"} <= set(resolved.schema.names):
            await journal.items.restore_unpromoted_previews()
            lost = await engine.run_in_thread(lambda: find_lost_media(out, journal.outcomes.stream_done_results()))
            await journal.items.mark_lost(lost)
        context = create_context(resolved, engine, run_id, journal, lock, root)
        context.damage, context.is_new = damage, is_new
    except UsageError:
        if lock is None:
            await engine.run_in_thread(journal.close)
        else:
            await close_refused_run(engine, out, journal, lock, run_id, is_new=is_new)
        raise
    except BaseException:
        if lock is not None:
            lock.release()
        await engine.run_in_thread(journal.close)
        raise
    return context, source


def _open_source(resolved: ResolvedJob) -> Source:
    source = resolved.open_source()
    check_template_columns(resolved, source)
    return source


def _load_bound_root(journal: Journal, resolved: ResolvedJob) -> str:
    """The root OUT is bound to: a retry reads no source, and the job may name it relative to another folder."""
    journal.output.load_id(resolved.out)
    binding = journal.output.load_binding()
    return binding.root if binding else resolved.job.source


async def _bind_out(
    resolved: ResolvedJob, journal: Journal, engine: Engine, run_id: str, root: str, source: Source | None
) -> Damage:
    """Bind OUT, recover from a crash, and freeze the schemas before the first part; what has to be written again."""
    job, out = resolved.job, resolved.out
    binding = resolved.make_binding(root)
    fields = job.model_dump(mode="json", exclude=_NOT_STORED)
    fields = to_stored_job({**fields, "out": str(out)})  # others that share the journal name it from any folder
    journal.output.load_id(out)
    formats = list(dict.fromkeys([*journal.output.load_formats(), *job.subtitles]))
    await journal.output.bind(
        out,
        binding,
        fields,
        select_sent=resolved.select_sent_params,
        replace=job.replace,
        this_run_only=source is None,
        moved=job.moved,
    )
    if formats:
        await journal.output.store_formats(formats)
    write_mark(out, job.journal)  # only now: the journal it names knows OUT
    await journal.runs.start(run_id)
    await journal.asks.recover()
    damage = await mend_at_start(out, journal, run_id)
    await mark_outdated_rows(resolved, journal, engine, retry=source is None)
    await _freeze_schemas(resolved, journal, source)
    return damage


async def _freeze_schemas(resolved: ResolvedJob, journal: Journal, source: Source | None) -> None:
    """Freeze the columns of OUT's parts. A retry, which may have other parameters for once, only adds to them."""
    stored = journal.output.load_schemas()
    if source is not None:
        row_schema = source.row_schema() or pa.schema([])
    else:
        row_schema = deserialize_schema(stored[1]) if stored else pa.schema([])
    schema = build_results_schema(resolved.schema, row_schema)
    if source is None and stored and not set(deserialize_schema(stored[0])) <= set(schema):
        return
    reading = READING if source is not None else read_reading(stored[0]) if stored else 0
    frozen = (serialize_schema(schema, reading), serialize_schema(row_schema))
    if stored != frozen:
        same_columns = stored and serialize_schema(deserialize_schema(stored[0])) == serialize_schema(schema)
        await journal.output.freeze_schemas(*frozen, rewrite_parts=not same_columns)


def _report_replaced_engine(resolved: ResolvedJob) -> None:
    """Say why pocketsphinx transcribes, where nobody chose it."""
    is_unnamed = resolved.job.model is None and not resolved.provider.endpoint.origin
    if (
        resolved.provider.name == "local"
        and is_unnamed
        and resolved.model == POCKETSPHINX
        and (reason := choose_asr_engine().reason)
    ):
        write_record(RUN_LOGGER, logging.WARNING, "engine_replaced", reason, notice=True)


def _report_unused_params(resolved: ResolvedJob) -> None:
    """Say which parameters the model does not take, where the capability goes on without them."""
    describe = getattr(resolved.capability, "describe_unused_params", None)
    if describe is not None and (words := describe(resolved.params, resolved.provider, resolved.model)):
        write_record(RUN_LOGGER, logging.WARNING, "params_not_used", words, notice=True)
