"""What the steps of a run share, made for this process: its tries, budget, slots and schemas."""

from __future__ import annotations

import shlex
from pathlib import Path

from mediamill.tasks.calls.call_context import CallStats
from mediamill.tasks.engine import Engine
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.output_lock import HeldLock, OutputLock
from mediamill.tasks.money.budget import Budget, EarlierHold
from mediamill.tasks.run.call_setup import SharedByTries, choose_max_open_items, create_try_context
from mediamill.tasks.run.failures_in_a_row import FailuresInARow
from mediamill.tasks.run.item_slots import ItemSlots
from mediamill.tasks.run.resolved_job import ResolvedJob
from mediamill.tasks.run.run_context import RunContext, StopSwitch, TryContext
from mediamill.tasks.sinks.schema import deserialize_schema
from mediamill.tasks.sources.row_paths import RowPaths
from mediamill.tasks.system.private_files import make_private_folder


def create_context(
    resolved: ResolvedJob,
    engine: Engine,
    run_id: str,
    journal: Journal,
    lock: OutputLock | HeldLock,
    root: str,
    *,
    share: float = 1.0,
    budget: Budget | None = None,
) -> RunContext:
    """Make it.

    Args:
        resolved: the job.
        engine: of this process.
        run_id: the run's id.
        journal: opened for the run.
        lock: on OUT.
        root: of the source that OUT is bound to.
        share: this process's part of the requests in flight and of the configured limits.
        budget: what this process may spend; None for what OUT's earlier runs have left.
    """
    job, out = resolved.job, resolved.out
    max_open_items = choose_max_open_items(resolved, share)
    stop_switch, item_slots = StopSwitch(), ItemSlots(max_open_items)
    shared = SharedByTries(
        engine,
        journal,
        budget or _make_budget(resolved, journal),
        CallStats(),
        item_slots,
        stop_switch,
        run_id,
        share,
    )
    scratch = out / ".tmp" / "scratch"
    make_private_folder(scratch.parent)
    make_private_folder(scratch)
    schemas = journal.output.load_schemas()
    assert schemas is not None
    first = create_try_context(resolved, shared, scratch)
    second = create_try_context(resolved.second, shared, scratch, [first]) if resolved.second else None
    later: list[TryContext] = []
    for each in resolved.later:
        later.append(create_try_context(each, shared, scratch, [first, *later]))
    return RunContext(
        job=job,
        run_id=run_id,
        out=out,
        journal=journal,
        lock=lock,
        engine=engine,
        capability=resolved.capability,
        params=resolved.params,
        row_paths=RowPaths.of_source(root, job.allow_paths),
        call_context=first.call_context,
        caller=first.caller,
        capability_context=first.capability_context,
        second=second,
        later=tuple(later),
        until=resolved.until,
        stop_switch=stop_switch,
        item_slots=item_slots,
        max_open_items=max_open_items,
        schema=deserialize_schema(schemas[0]),
        row_schema=deserialize_schema(schemas[1]),
        limiter=first.limiter,
        limiter_name=first.limiter_name,
        pace_exchange=first.pace_exchange,
        failures_in_a_row=FailuresInARow(job.max_failures_in_a_row, stop_switch.trigger),
        subtitles=journal.output.load_formats(),
        sidecars=resolved.sidecars,
    )


def _make_budget(resolved: ResolvedJob, journal: Journal) -> Budget:
    job, spent = resolved.job, journal.attempts.sum_costs()
    limit = None if job.endpoint_hourly else job.budget
    return Budget(limit, spent.known, spent.unknown_max, _find_hold(resolved.out, journal))


def _find_hold(out: Path, journal: Journal) -> EarlierHold | None:
    """What requests whose answer earlier runs lost hold of the budget; None without any."""
    lost = journal.lost_requests.load()
    if not lost.max_usd:
        return None
    name = shlex.quote(str(out))
    hint = (
        f"mediamill settle {name} --billed USD books what the provider's usage page says and frees the rest; a higher "
        f"--budget goes on without; mediamill retry {name} --only unknown then requests lost answers again"
    )
    return EarlierHold(lost.max_usd, lost.describe_hold(), hint)
