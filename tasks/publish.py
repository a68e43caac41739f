"""Publishing: the bill, the cost tables, the page, and last of all the run record."""

from __future__ import annotations

import platform
import sqlite3
import time
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mediamill.tasks import fault_injection
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.parts import Part
from mediamill.tasks.report.build import build_report
from mediamill.tasks.run_context import Context
from mediamill.tasks.sinks.atomic_file import write_json
from mediamill.tasks.sinks.calls import CALLS_SCHEMA, to_call_row
from mediamill.tasks.sinks.parts import write_part
from mediamill.tasks.sinks.subtitles.write import write_subtitles
from mediamill.tasks.summary import FailureGroup, State, Summary

_PACKAGES = ("mediamill", "httpx", "aiohttp", "pyarrow", "av", "pocketsphinx", "sqlalchemy")


async def publish(context: Context) -> Summary:
    """Write what a run leaves beside its parts.

    Returns:
        What came of the run.

    Raises:
        StorageError: when the disk or the journal fails.
    """
    fault_injection.point("publish.calls.before")
    await publish_calls(context)
    if context.job.subtitles:
        rows = context.journal.outcomes.stream_done_results()
        await context.engine.run_in_thread(write_subtitles, context.out, rows, context.job.subtitles)
    summary = await context.engine.run_in_thread(summarize, context)
    await context.journal.learned_limits.store(context.limits_name, context.limiter.export_state())
    fault_injection.point("publish.report.before")
    worked = summary.total or summary.calls or not (context.out / "report.html").exists()
    if worked:
        now = [(round(context.started_at.timestamp() * 1_000_000), summary.as_dict())] if summary.endpoint_usd else []
        await context.engine.run_in_thread(build_report, context.out, context.journal, now)
    fault_injection.point("publish.record.before")
    await context.engine.run_in_thread(_record, context, summary)
    await context.journal.runs.finish(summary.state, summary.as_dict())
    fault_injection.point("publish.record.after")
    return summary


async def publish_calls(context: Context) -> None:
    """Write the attempts of every run that gained or settled some since a run last finished."""
    for run_id in await context.engine.run_in_thread(context.journal.attempts.find_runs_to_publish):
        rows = map(to_call_row, context.journal.attempts.stream_run(run_id))
        part = await context.engine.run_in_thread(write_part, context.out, "calls", run_id, rows, CALLS_SCHEMA)
        await context.journal.parts.commit([part], context.lock.token)


def summarize(context: Context) -> Summary:
    """The run in numbers."""
    journal, counts, tally = context.journal, context.counts, context.line.stats
    run, whole = journal.attempts.sum_costs(context.run_id), journal.attempts.sum_costs()
    groups = (*counts.standing.values(), *failure_groups(journal))
    why = context.stop.why
    left = max(counts.total - counts.done - counts.failed, 0)
    state: State
    cut_short = why is not None and bool(left or not (counts.planned or counts.total))
    if why is not None and cut_short:
        state, code = ("cancelled" if why.kind == "cancelled" else "stopped"), why.exit_code
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
        provider=context.line.provider.name,
        model=context.kit.model,
        engine=tally.engine,
        simulated=tally.simulated,
        total=counts.total,
        done=counts.done,
        failed=counts.failed,
        cached=counts.cached,
        skipped=counts.skipped,
        left=left,
        calls=tally.sent,
        audio_seconds=counts.audio_seconds,
        cost_usd=run.known,
        unknown_max_usd=run.unknown_max,
        unstated=journal.attempts.count_unstated(context.run_id),
        out_cost_usd=whole.known,
        seconds=time.monotonic() - context.began,
        stopped_by=why.kind if why and cut_short else None,
        message=why.message if why and cut_short else None,
        hint=why.hint if why and cut_short else None,
        failures=groups,
        report=str(context.out / "report.html"),
        endpoint_usd=endpoint_cost(context),
        flags=dict(counts.flags.most_common()),
    )


def endpoint_cost(context: Context) -> Decimal:
    """What a dedicated endpoint's time came to so far in this run."""
    hourly = context.job.endpoint_hourly
    if hourly is None:
        return Decimal(0)
    hours = Decimal(str(round(time.monotonic() - context.began, 3))) / 3600
    return (hourly * hours).quantize(Decimal("0.000001"))


def failure_groups(journal: Journal) -> tuple[FailureGroup, ...]:
    """The items that are failed now, by kind, the most frequent first."""
    counts = [(kind, n) for (state, kind), n in journal.outcomes.count_by_state().items() if state == "failed" and kind]
    groups = []
    for kind, number in sorted(counts, key=lambda pair: (-pair[1], pair[0])):
        example: dict[str, Any] = next(iter(journal.outcomes.sample_failures(kind, 1)), {})
        message, hint = str(example.get("error_message")), example.get("hint")
        groups.append(FailureGroup(kind, number, str(example.get("item_id")), message, hint))
    return tuple(groups)


def rebuild(out: Path) -> Path:
    """Build the page and the cost tables of an OUT again; the page's path.

    Raises:
        UsageError: when it is no OUT of ours.
    """
    from mediamill.tasks.status import open_existing

    journal = open_existing(out)
    try:
        return build_report(out, journal)
    finally:
        journal.close()


def _record(context: Context, summary: Summary) -> None:
    content = {
        "job": context.job.model_dump(mode="json", exclude_defaults=True),
        "started_at": context.started_at.isoformat(),
        "seconds": round(summary.seconds, 3),
        "summary": summary.as_dict(),
        "versions": _versions(),
        "parts": [_told(part) for part in context.journal.parts.load_all()],
    }
    write_json(context.out, context.out / "runs" / f"{context.run_id}.json", content)


def _told(part: Part) -> dict[str, Any]:
    path = f"{part.kind}/part-{part.name}.parquet"
    return {"path": path, "rows": part.rows, "bytes": part.bytes, "sha256": part.sha256}


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version} | {
        name: version(name) for name in _PACKAGES
    }
