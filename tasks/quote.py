"""Quote a job: what it would cost, from probing its items, before anything is spent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import islice

from mediamill.tasks import capabilities
from mediamill.tasks.capabilities.base import Estimate
from mediamill.tasks.capability_context import EngineCapabilityContext
from mediamill.tasks.domain import Item
from mediamill.tasks.engine import Engine
from mediamill.tasks.errors import ItemError, UsageError
from mediamill.tasks.job import Job
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.journal_choice import choose_journal, has_journal
from mediamill.tasks.params import list_param_names, resolve_item_params
from mediamill.tasks.resolved_job import ResolvedJob, resolve_job
from mediamill.tasks.sources.row_paths import RowPaths
from mediamill.tasks.summary import Quote

_BATCH_ITEMS = 200
_MAX_EXAMPLES = 3


@dataclass(slots=True)
class _QuoteTotals:
    """The sums of a quote while items are probed."""

    items: int = 0
    finished: int = 0
    asks: int = 0
    seconds: Decimal = Decimal(0)
    low: Decimal = Decimal(0)
    high: Decimal = Decimal(0)
    unpriced: int = 0
    bad: int = 0
    saved_tokens: int = 0
    saved_bytes: int = 0
    examples: list[str] = field(default_factory=list)
    models: dict[str, None] = field(default_factory=dict)


def quote(job: Job | ResolvedJob) -> Quote:
    """Probe every item that a run would do and price it.

    Lengths come from the files' headers, so a file with a wrong length in its header is quoted wrongly. What a run
    pays is metered from the decoded media.

    Raises:
        UsageError: when the job, the key or the source is wrong.
    """
    return Engine.shared().submit(_quote_job(job)).result()


async def _quote_job(job: Job | ResolvedJob) -> Quote:
    from mediamill.tasks.sources import open_source

    engine = Engine.shared()
    resolved = await engine.run_in_thread(resolve_job, job)
    # A capability may keep state of the items it has seen. The job may yet be run, so the quote takes its own.
    resolved = replace(resolved, capability=capabilities.get(resolved.job.capability))
    capability, job = resolved.capability, resolved.job
    source = await engine.run_in_thread(open_source, job, capability.kinds, list_param_names(capability))
    journal = await engine.run_in_thread(_open_journal_or_none, resolved)
    context = EngineCapabilityContext(job, engine, journal, resolved.provider, resolved.model, resolved.out)
    totals = _QuoteTotals()
    row_paths = RowPaths.of_source(source.root, job.allow_paths)
    try:
        items = islice(source.items(), job.limit)
        while batch := await engine.run_in_thread(lambda: list(islice(items, _BATCH_ITEMS))):
            todo = await engine.run_in_thread(_select_unfinished, journal, batch, totals, job)
            estimates = await asyncio.gather(
                *(_estimate_item(resolved, item, context, totals, row_paths) for item in todo)
            )
            for estimate in filter(None, estimates):
                _add_estimate(totals, estimate, resolved)
    finally:
        if journal is not None:
            await engine.run_in_thread(journal.close)
    if not totals.items:
        raise UsageError(f"{job.source}: has no items")
    return replace(_to_quote(totals, resolved), not_taken=source.not_taken())


def _to_quote(totals: _QuoteTotals, resolved: ResolvedJob) -> Quote:
    is_priced = not totals.unpriced
    return Quote(
        capability=resolved.capability.name,
        provider=resolved.provider.name,
        model=resolved.model,
        out=str(resolved.out),
        items=totals.items,
        finished=totals.finished,
        asks=totals.asks,
        audio_seconds=totals.seconds,
        low_usd=totals.low if is_priced else None,
        high_usd=totals.high if is_priced else None,
        price_source=_describe_price_source(totals, resolved),
        unpriced=totals.unpriced,
        bad_items=totals.bad,
        saved_tokens=totals.saved_tokens,
        saved_bytes=totals.saved_bytes,
        bad_examples=tuple(totals.examples),
    )


def _open_journal_or_none(resolved: ResolvedJob) -> Journal | None:
    """OUT's journal; None where no run has begun one.

    Raises:
        UsageError: when a run would refuse it: it is gone, or another one is named.
    """
    out, job = resolved.out, resolved.job
    used = choose_journal(out, job.journal, moved=job.moved)
    if not has_journal(out):
        return None
    journal = Journal.open_existing(out, used)
    if not journal.output.load_id(out) or journal.output.load_binding() is None:
        journal.close()
        return None
    return journal


def _select_unfinished(journal: Journal | None, batch: Sequence[Item], totals: _QuoteTotals, job: Job) -> list[Item]:
    """The items that a run would do: those without a result for their present input."""
    totals.items += len(batch)
    if journal is None or job.no_cache or job.replace:
        return list(batch)
    done = journal.outcomes.find_finished([item.item_id for item in batch])
    todo = [item for item in batch if done.get(item.item_id) != item.fingerprint]
    totals.finished += len(batch) - len(todo)
    return todo


async def _estimate_item(
    resolved: ResolvedJob,
    item: Item,
    context: EngineCapabilityContext,
    totals: _QuoteTotals,
    row_paths: RowPaths,
) -> Estimate | None:
    try:
        if item.problem:
            raise ItemError(item.problem)
        params = resolve_item_params(resolved.capability, resolved.job, item, resolved.params, row_paths)
        return await resolved.capability.estimate(item, params, context)
    except ItemError as error:
        totals.bad += 1
        if len(totals.examples) < _MAX_EXAMPLES:
            is_named = item.source in error.message
            totals.examples.append(error.message if is_named else f"{item.source}: {error.message}")
        return None


def _add_estimate(totals: _QuoteTotals, estimate: Estimate, resolved: ResolvedJob) -> None:
    totals.asks += estimate.asks
    totals.seconds += estimate.seconds or Decimal(0)
    totals.saved_tokens += estimate.saved_tokens
    totals.saved_bytes += estimate.saved_bytes
    model, operation = estimate.model or resolved.model, resolved.capability.operation
    totals.models[model] = None
    low = resolved.pricing.cost(model, operation, estimate.usage, None).usd
    high = resolved.pricing.ceiling(model, operation, estimate.ceiling)
    if low is None or high is None:
        totals.unpriced += 1
        return
    totals.low += min(low, high)
    totals.high += high


def _describe_price_source(totals: _QuoteTotals, resolved: ResolvedJob) -> str | None:
    """The source of the prices; with several models, each one's."""
    models = list(totals.models) or [resolved.model]
    sources = {model: resolved.pricing.source(model, resolved.capability.operation) for model in models}
    if models == [resolved.model]:
        return sources[resolved.model]
    return "; ".join(f"{model} {source or 'at no known price'}" for model, source in sources.items())
