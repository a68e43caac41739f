"""The status of an OUT, read without disturbing a run that may be working on it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from mediamill.tasks.errors import UsageError
from mediamill.tasks.job import Job
from mediamill.tasks.job_loading import make_job
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.journal_choice import choose_journal, has_journal
from mediamill.tasks.journal.out_place import read_out_id
from mediamill.tasks.journal.output_lock import describe_owner
from mediamill.tasks.out.chain_steps import build_chain_error, find_step_folders
from mediamill.tasks.out.moved_out import refuse_copy
from mediamill.tasks.renamed_options import JOB_OPTIONS, override
from mediamill.tasks.summary import Status


def open_existing(out: Path) -> Journal:
    """Open the journal of an OUT that a run has written.

    Raises:
        UsageError: when no run has written there, or its journal is gone.
    """
    out = out.expanduser().absolute()
    if not has_journal(out) and read_out_id(out) is None:
        if steps := find_step_folders(out):
            raise build_chain_error(out, steps)
        raise UsageError(f"{out}: no run has written here", hint="name the folder that --out named")
    journal = Journal.open_existing(out, choose_journal(out, None))
    if not journal.output.load_id(out) or journal.output.load_binding() is None:
        journal.close()
        raise UsageError(f"{out}: its journal holds nothing of it", hint="was the journal moved or restored?")
    return journal


def open_to_write(out: Path) -> Journal:
    """Open the journal of an OUT that a run has written, to write in it; an older one is migrated.

    Raises:
        UsageError: when no run has written there, or OUT is a copy.
        StorageError: when the journal cannot be written.
    """
    out = out.expanduser().absolute()
    open_existing(out).close()
    journal = Journal.open(out, choose_journal(out, None))
    try:
        journal.output.load_id(out)
        refuse_copy(out, journal, moved=False)
    except BaseException:
        journal.close()
        raise
    return journal


def load_bound_job(out: Path) -> Job:
    """The job that OUT was last run with, writing to the same OUT.

    Raises:
        UsageError: when no run has written there.
    """
    journal = open_existing(out)
    try:
        stored = journal.output.load_job() or {}
    finally:
        journal.close()
    of_one_run = {"journal": None, "replace": False, "moved": False, "copied": False, "no_cache": False}
    return make_job(**override(stored, {"out": str(out), **of_one_run}, JOB_OPTIONS))


def read_status(out: Path) -> Status:
    """The status of an OUT: what is done, failed and spent.

    Raises:
        UsageError: when no run has written there.
    """
    out = out.expanduser().absolute()
    journal = open_existing(out)
    try:
        counts, spent, last = journal.outcomes.count_by_state(), journal.attempts.sum_costs(), journal.runs.load_last()
        binding = journal.output.load_binding()
        assert binding is not None
        by_state: dict[str, int] = {}
        for (state, _), number in counts.items():
            by_state[state] = by_state.get(state, 0) + number
        busy = describe_owner(out)
        lost = journal.lost_requests.load(is_running=busy is not None)
        budget = (journal.output.load_job() or {}).get("budget")
        last_state = (last["state"] if last["finished_at"] else "running" if busy else "crashed") if last else None
        if last_state == "nothing" and by_state.get("done") == sum(by_state.values()):
            last_state = "done"  # how OUT is, and not what its last run found to do
        stop = _load_stop(last) if last and last_state in ("stopped", "cancelled") else {}
        return Status(
            out=str(out),
            capability=binding.capability,
            provider=binding.provider,
            model=binding.model,
            root=binding.root,
            total=sum(by_state.values()),
            done=by_state.get("done", 0),
            failed=by_state.get("failed", 0),
            pending=by_state.get("pending", 0),
            by_kind={kind: n for (state, kind), n in counts.items() if state == "failed" and kind},
            spent_usd=spent.known,
            unknown_max_usd=spent.unknown_max,
            unknowns=spent.unknowns,
            unstated=spent.unstated,
            lost_requests=len(lost.requests),
            lost_max_usd=lost.max_usd,
            lost_unpriced=lost.unpriced,
            lost=lost.describe() if lost.requests else None,
            budget=None if budget is None else Decimal(str(budget)),
            last_run=last["run_id"] if last else None,
            last_started=_format_time(last["started_at"]) if last else None,
            last_state=last_state,
            busy=busy,
            copy_of=journal.output.load_place() if journal.output.find_place_change(out) == "copied" else None,
            not_taken=journal.runs.load_not_taken(),
            **stop,
        )
    finally:
        journal.close()


def _format_time(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC).isoformat(timespec="microseconds")


def _load_stop(run: dict[str, Any]) -> dict[str, str | None]:
    """What stopped a run, why and what to do, from its summary in the journal."""
    summary = orjson.loads(run["summary"] or "{}")
    return {name: summary.get(name) for name in ("stopped_by", "message", "hint")}


def find_run_end(out: Path, run_id: str) -> tuple[str, dict[str, Any]] | None:
    """How a run on OUT ended by its journal: its state, and its summary; None when it did not end.

    Raises:
        UsageError: when no run has written there.
    """
    journal = open_existing(out)
    try:
        return journal.runs.find_end(run_id)
    finally:
        journal.close()


def count_outdated_results(out: Path) -> int:
    """Count the results of an OUT for which other bytes would be sent now.

    Raises:
        UsageError: when no run has written there.
    """
    journal = open_existing(out.expanduser().absolute())
    try:
        return len(journal.outcomes.find_outdated_ids())
    finally:
        journal.close()


def count_flagged_results(out: Path) -> int:
    """Count the results of an OUT that have flags.

    Raises:
        UsageError: when no run has written there.
    """
    journal = open_existing(out.expanduser().absolute())
    try:
        return sum(1 for _ in journal.outcomes.stream_flagged_ids())
    finally:
        journal.close()


def count_results_lacking_try(out: Path) -> int:
    """Count the results of an OUT of which a later try failed in passing, which the next run makes.

    Raises:
        UsageError: when no run has written there.
    """
    journal = open_existing(out.expanduser().absolute())
    try:
        return journal.outcomes.count_lacking_try()
    finally:
        journal.close()
