"""A shard: its pending items through the capability, side by side, then one Parquet part."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from tasks import faults
from tasks.context import Context
from tasks.errors import BadInput, ItemError, MediamillError, Stop
from tasks.item import Answer, Ask, Failure, Item, Outcome, Result
from tasks.sinks.parts import write_part
from tasks.sinks.schema import failures_schema, thaw

log = logging.getLogger("mediamill")


async def run_shard(context: Context, shard: int) -> None:
    """Do what is pending in one shard and publish its part.

    Raises:
        StorageError: when the disk or the journal fails.
    """
    items = await context.journal.items.pending(shard, context.run_id)
    async with asyncio.TaskGroup() as group:
        for item in items:
            await context.gate.acquire()
            if context.stop.why is not None:
                context.gate.release()
                break
            task = group.create_task(_do_item(context, shard, item))
            task.add_done_callback(lambda _: context.gate.release())
    await publish_shard(context, shard)


async def publish_shard(context: Context, shard: int) -> None:
    """Write the shard's parts from the journal: results first, then failures."""
    items, name = context.journal.items, f"{shard:06d}"
    results = await context.engine.thread(_write, context, "results", name, items.results(shard))
    await context.journal.parts.commit(shard, results, context.lock.token)
    failures = await context.engine.thread(_write, context, "failures", name, items.failures(shard))
    await context.journal.parts.commit(shard, failures, context.lock.token)
    faults.point("part.commit.after")


def _write(context: Context, kind: str, name: str, rows: Any) -> Any:
    schema = thaw(context.journal.outs.schema())
    if kind == "failures":
        schema = failures_schema(context.row_schema)
    return write_part(context.out, kind, name, rows, schema)


async def _do_item(context: Context, shard: int, item: Item) -> None:
    try:
        outcome = await _outcome(context, item)
    except Stop as why:
        context.stop.throw(why)
        return
    faults.point("shard.outcome.before")
    await context.journal.items.outcome(item, shard, outcome, run_id=context.run_id)
    faults.point("shard.outcome.after")
    counts = context.counts
    if isinstance(outcome, Failure):
        counts.failed += 1
    else:
        counts.done += 1
        counts.cached += bool(outcome.columns.get("cached"))
        counts.audio_seconds += Decimal(str(outcome.columns.get("audio_seconds") or 0))


async def _outcome(context: Context, item: Item) -> Outcome:
    """Exactly one Result or Failure, whatever happens to the item."""
    answers: list[Answer] = []

    async def call(ask: Ask) -> Answer:
        answer = await context.caller(ask)
        answers.append(answer)
        return answer

    try:
        if item.problem:
            raise BadInput(item.problem, kind="bad_row")
        params = item_params(context, item)
        columns = await context.capability.run(item, params, call, context.kit)
        return Result(item.item_id, {**_common(context, item, answers), **columns, **_carried(item)})
    except ItemError as error:
        return _failure(item, error, answers)
    except (MediamillError, asyncio.CancelledError):
        raise
    except Exception as error:
        log.debug("item %s", item.item_id, exc_info=True)
        message = f"{item.source}: internal error: {type(error).__name__}: {error}"
        return _failure(item, ItemError(message, kind="internal", transient=True, hint="run again"), answers)


def item_params(context: Context, item: Item) -> Any:
    """The capability's parameters for one item: the job's, overridden by the row's.

    Raises:
        BadInput: when a row's value does not fit.
    """
    if not item.params:
        return context.params
    try:
        return context.capability.params.model_validate({**context.job.params, **item.params})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(p) for p in first["loc"])
        raise BadInput(f"{item.source}: column {name!r}: {first['msg']}", kind="bad_row") from None


def _common(context: Context, item: Item, answers: list[Answer]) -> dict[str, Any]:
    first = answers[0] if answers else None
    costs = [a.cost.usd for a in answers]
    return {
        "item_id": item.item_id,
        "item_index": item.index,
        "run_id": context.run_id,
        "capability": context.capability.name,
        "source": item.source,
        "provider": context.line.provider.name,
        "model": context.kit.model,
        "engine": next((a.engine for a in answers if a.engine), None),
        "simulated": any(a.simulated for a in answers),
        "request_key": first.request_key if first else None,
        "request_id": first.request_id if first else None,
        "started_at": first.started_at if first else None,
        "latency_ms": sum(a.latency_ms or 0 for a in answers),
        "attempts": sum(a.attempts for a in answers),
        "cached": bool(answers) and all(a.cached for a in answers),
        "cost_usd": None if any(c is None for c in costs) else sum((c for c in costs if c is not None), Decimal(0)),
        "cost_basis": _basis(answers),
        "price_source": next((a.cost.source for a in answers if a.cost.source), None),
    }


def _basis(answers: list[Answer]) -> str:
    """The weakest basis among the answers: a sum is no better founded than its weakest part."""
    order = ("unknown", "estimated", "metered", "billed", "free")
    told = {a.cost.basis for a in answers}
    return next((basis for basis in order if basis in told), "free")


def _carried(item: Item) -> Mapping[str, Any]:
    return {f"in_{name}": value for name, value in item.row.items()}


def _failure(item: Item, error: ItemError, answers: list[Answer]) -> Failure:
    costs = [a.cost.usd for a in answers]
    return Failure(
        item.item_id,
        error.kind,
        error.message,
        error.hint,
        error.transient,
        attempts=error.attempts + sum(a.attempts for a in answers),
        status=error.status,
        cost_usd=None if any(c is None for c in costs) else sum((c for c in costs if c is not None), Decimal(0)),
    )
