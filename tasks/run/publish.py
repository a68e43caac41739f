"""Publish a run: the bill, the cost tables, the report page, and last the run record."""

from __future__ import annotations

import contextlib
import platform
import sqlite3
import time
from collections import Counter
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, TypedDict

from mediamill.tasks import fault_injection
from mediamill.tasks.errors import BudgetReached, StorageError
from mediamill.tasks.journal.items import KINDS_NEEDING_NEW_ANSWER
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.parts import Part
from mediamill.tasks.out.moved_out import refuse_copy
from mediamill.tasks.renamed_options import to_stored_job
from mediamill.tasks.report.build import REPORT_FILES, build_report
from mediamill.tasks.run.learned_limits import store_learned_limits
from mediamill.tasks.run.run_context import RunContext
from mediamill.tasks.sinks.atomic_file import write_json
from mediamill.tasks.sinks.calls import CALLS_SCHEMA, to_call_row
from mediamill.tasks.sinks.documents import describe_file
from mediamill.tasks.sinks.parts import write_part
from mediamill.tasks.sinks.sidecars import write_sidecars
from mediamill.tasks.sinks.subtitles.write import write_subtitles
from mediamill.tasks.sources.sidecars import SidecarNames
from mediamill.tasks.summary import FailureGroup, SidecarCounts, State, Summary


class PartRecord(TypedDict):
    """A Parquet part as the run record names it."""

    path: Annotated[str, "path relative to OUT"]
    rows: Annotated[int, "number of rows"]
    bytes: Annotated[int, "size of the file"]
    sha256: Annotated[str, "SHA-256 of the file"]


class RunRecord(TypedDict):
    """What ``runs/<run>.json`` holds."""

    job: Annotated[dict[str, Any], "the job's options, without those that have their defaults"]
    started_at: Annotated[str, "when the run began, ISO 8601 in UTC"]
    seconds: Annotated[float, "seconds that the run took"]
    summary: Annotated[dict[str, Any], "the run's summary, see below; money as text, exact"]
    versions: Annotated[dict[str, str], "versions of Python, SQLite and the main packages"]
    parts: Annotated[list[PartRecord], "every Parquet part of OUT, see below"]


_PACKAGES = ("mediamill", "httpx", "aiohttp", "pyarrow", "av", "pocketsphinx", "sqlalchemy")
_OPTIONAL_PACKAGES = ("faster-whisper", "ctranslate2")


async def publish_outputs(context: RunContext) -> Summary:
    """Write what a run leaves beside its parts.

    Returns:
        The run's summary.

    Raises:
        StorageError: when the disk or the journal fails.
    """
    fault_injection.failpoint("publish.calls.before")
    await publish_calls(context)
    if context.subtitles:
        results = context.journal.outcomes.stream_stored_results()
        await context.engine.run_in_thread(write_subtitles, context.out, results, context.subtitles)
    if context.job.beside and context.sidecars is not None:
        context.sidecar_counts = await context.engine.run_in_thread(_write_sidecars, context, context.sidecars)
    summary = await context.engine.run_in_thread(summarize, context)
    await store_learned_limits(context)
    fault_injection.failpoint("publish.report.before")
    changed = summary.total or summary.calls or context.not_taken_changed or context.damage.report
    if changed or not all((context.out / name).exists() for name in REPORT_FILES):
        now = [(round(context.started_at.timestamp() * 1_000_000), summary.as_dict())] if summary.endpoint_usd else []
        written = await context.engine.run_in_thread(build_report, context.out, context.journal, now)
        await context.journal.documents.record_report(written)
    fault_injection.failpoint("publish.record.before")
    await context.engine.run_in_thread(_write_run_record, context, summary)
    record = describe_file(context.out, f"runs/{context.run_id}.json")
    await context.journal.documents.keep(record, (context.out / record.path).read_bytes())
    await context.journal.runs.finish(summary.state, summary.as_dict())
    fault_injection.failpoint("publish.record.after")
    return summary


async def publish_calls(context: RunContext) -> None:
    """Write the attempts of every run with new or newly settled ones since a run last finished, or a damaged part."""
    changed = await context.engine.run_in_thread(context.journal.attempts.find_runs_to_publish)
    for run_id in sorted({*changed, *context.damage.calls}):
        rows = map(to_call_row, context.journal.attempts.stream_run(run_id))
        part = await context.engine.run_in_thread(write_part, context.out, "calls", run_id, rows, CALLS_SCHEMA)
        await context.journal.parts.commit([part], context.lock.token)


def _write_sidecars(context: RunContext, names: SidecarNames) -> SidecarCounts:
    journal = context.journal
    results = journal.outcomes.stream_stored_results()
    return write_sidecars(results, names, journal.sidecars, overwrite=context.job.overwrite)


def summarize(context: RunContext) -> Summary:
    """The summary of the run."""
    journal, counts, stats = context.journal, context.counts, context.call_context.stats
    run_costs, out_costs = journal.attempts.sum_costs(context.run_id), journal.attempts.sum_costs()
    groups = (*counts.replacement_failures.values(), *group_failures(journal))
    out_counts = Counter[str]()
    for (item_state, _), number in journal.outcomes.count_by_state().items():
        out_counts[item_state] += number
    stop_reason = context.stop_switch.reason
    if isinstance(stop_reason, BudgetReached) and stop_reason.max_usd is not None:
        # what was in flight when it was refused has been paid since then
        stop_reason = context.call_context.budget.build_error(stop_reason.max_usd)
    lost = journal.lost_requests.load()
    pace = context.measure_pace()
    items_left = max(counts.total - counts.done - counts.failed, 0)
    state: State
    cut_short = stop_reason is not None and bool(items_left or not (counts.planned or counts.total))
    if stop_reason is not None and cut_short:
        state, code = ("cancelled" if stop_reason.kind == "cancelled" else "stopped"), stop_reason.exit_code
    elif groups:
        state, code = "failures", 3
    else:
        state, code = ("done" if counts.total else "nothing"), 0
    return Summary(
        run_id=context.run_id,
        out=str(context.out),
        state=state,
        exit_code=code,
        capability=context.capability.name,
        provider=context.call_context.provider.name,
        model=context.capability_context.model,
        engine=stats.engine,
        simulated=stats.simulated,
        total=counts.total,
        done=counts.done,
        failed=counts.failed,
        cached=counts.cached,
        skipped=counts.skipped,
        left=items_left,
        calls=stats.sent,
        audio_seconds=counts.audio_seconds,
        cost_usd=run_costs.known,
        unknown_max_usd=run_costs.unknown_max,
        unstated=journal.attempts.count_unstated(context.run_id),
        out_cost_usd=out_costs.known,
        out_total=out_counts.total(),
        out_done=out_counts["done"],
        out_failed=out_counts["failed"],
        out_left=out_counts["pending"],
        lost_requests=len(lost.requests),
        lost_max_usd=lost.max_usd,
        lost_unpriced=lost.unpriced,
        lost=lost.describe() if lost.requests else None,
        budget=context.job.budget,
        seconds=time.monotonic() - context.start_time,
        stopped_by=stop_reason.kind if stop_reason and cut_short else None,
        message=stop_reason.message if stop_reason and cut_short else None,
        hint=stop_reason.hint if stop_reason and cut_short else None,
        failures=groups,
        report=str(context.out / "report.html"),
        endpoint_usd=compute_endpoint_cost(context),
        flags=dict(counts.flags.most_common()),
        tried_again=counts.tried_again,
        taken_later=counts.taken_later,
        tries_failed=tuple(sorted(counts.failed_tries.values(), key=lambda group: (-group.count, group.kind))),
        tries_missing=counts.tries_missing,
        undecided=counts.undecided,
        undecided_example=counts.undecided_example,
        not_taken=context.not_taken,
        sidecars=context.sidecar_counts,
        outages=pace.outages,
        outage_seconds=round(pace.outage_seconds, 1),
    )


def compute_endpoint_cost(context: RunContext) -> Decimal:
    """What the dedicated endpoint's time has cost so far in this run."""
    hourly = context.job.endpoint_hourly
    if hourly is None:
        return Decimal(0)
    hours = Decimal(str(round(time.monotonic() - context.start_time, 3))) / 3600
    return (hourly * hours).quantize(Decimal("0.000001"))


def group_failures(journal: Journal) -> tuple[FailureGroup, ...]:
    """The failed items of OUT by kind, the most frequent first, each with an example."""
    counts = [(kind, n) for (state, kind), n in journal.outcomes.count_by_state().items() if state == "failed" and kind]
    groups, retryable_kinds = [], {*KINDS_NEEDING_NEW_ANSWER, *journal.outcomes.find_transient_kinds()}
    for kind, number in sorted(counts, key=lambda pair: (-pair[1], pair[0])):
        example: dict[str, Any] = next(iter(journal.outcomes.sample_failures(kind, 1)), {})
        message, hint = str(example.get("error_message")), example.get("hint")
        retry_helps = kind in retryable_kinds or bool(example.get("attempts"))
        groups.append(FailureGroup(kind, number, str(example.get("item_id")), message, hint, retry_helps=retry_helps))
    return tuple(groups)


def rebuild_report(out: Path) -> Path:
    """Build the report page and the cost tables of an OUT again; the page's path.

    Raises:
        UsageError: when no run has written there, or OUT is a copy.
    """
    from mediamill.tasks.out.status import open_existing

    journal = open_existing(out)
    try:
        refuse_copy(out.expanduser().absolute(), journal, moved=False)
        written = build_report(out, journal)
        with contextlib.suppress(StorageError):  # a journal that cannot be written; the next run builds them once more
            journal.documents.record_report_blocking(written)
        return out / "report.html"
    finally:
        journal.close()


def _write_run_record(context: RunContext, summary: Summary) -> None:
    record: RunRecord = {
        "job": to_stored_job(context.job.model_dump(mode="json", exclude_defaults=True)),
        "started_at": context.started_at.isoformat(),
        "seconds": round(summary.seconds, 3),
        "summary": summary.as_dict(),
        "versions": _load_package_versions(),
        "parts": [_to_part_record(part) for part in context.journal.parts.load_all()],
    }
    write_json(context.out, context.out / "runs" / f"{context.run_id}.json", record)


def _to_part_record(part: Part) -> PartRecord:
    path = f"{part.kind}/part-{part.name}.parquet"
    return {"path": path, "rows": part.rows, "bytes": part.bytes, "sha256": part.sha256}


def _load_package_versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    versions |= {name: version(name) for name in _PACKAGES}
    for name in _OPTIONAL_PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions
