"""Quote a job: what it would cost, from probing its items, before anything is spent."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import islice
from pathlib import Path

from mediamill.tasks import capabilities
from mediamill.tasks.capabilities.base import Estimate
from mediamill.tasks.domain import Item, format_decimal
from mediamill.tasks.engine import Engine
from mediamill.tasks.errors import ItemError, UsageError
from mediamill.tasks.job import Job
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.journal_choice import open_begun_journal
from mediamill.tasks.run.capability_context import EngineCapabilityContext
from mediamill.tasks.run.more_tries import get_second_opinion
from mediamill.tasks.run.params import resolve_item_params
from mediamill.tasks.run.plan import Retry, stream_retried
from mediamill.tasks.run.quote_text import format_quote
from mediamill.tasks.run.resolved_job import ResolvedJob, resolve_job
from mediamill.tasks.run.template_columns import check_template_columns
from mediamill.tasks.run_log import RUN_LOGGER, write_record
from mediamill.tasks.sources.locate import fingerprint_at
from mediamill.tasks.sources.row_paths import RowPaths
from mediamill.tasks.sources.settling import UnsettledSource, wait_until_settled
from mediamill.tasks.summary import OutUse, Quote

_BATCH_ITEMS = 200
_MAX_EXAMPLES = 3


@dataclass(slots=True)
class _QuoteTotals:
    """The sums of a quote while items are probed."""

    items: int = 0
    finished: int = 0
    failed_before: int = 0
    asks: int = 0
    seconds: Decimal = Decimal(0)
    low: Decimal = Decimal(0)
    high: Decimal = Decimal(0)
    unpriced: int = 0
    asks_if_all: int = 0
    high_of_tries: Decimal = Decimal(0)
    unpriced_tries: int = 0
    bad: int = 0
    saved_tokens: int = 0
    saved_bytes: int = 0
    examples: list[str] = field(default_factory=list)
    lacking_try: set[str] = field(default_factory=set)
    models: dict[str, None] = field(default_factory=dict)


def quote(job: Job | ResolvedJob, retry: Retry | None = None) -> Quote:
    """Probe every item that a run, or a retry, would do and price it.

    Lengths come from the files' headers, so a file with a wrong length in its header is quoted wrongly. What a run
    pays is metered from the decoded media. Where every file of a folder is new, a run waits for them, and the quote is
    of the files as they are now.

    Raises:
        UsageError: when the job or the source is wrong. A key is not needed.
    """
    resolved = resolve_job(job, needs_key=False)
    try:
        return _quote(resolved, retry)
    except UnsettledSource as unsettled:
        as_now = replace(resolved, job=resolved.job.model_copy(update={"settle": 0.0}))
        return replace(_quote(as_now, retry), wait_seconds=unsettled.seconds)


def _quote(job: ResolvedJob, retry: Retry | None) -> Quote:
    future = Engine.shared().submit(_quote_job(job) if retry is None else _quote_retry(job, retry))
    try:
        return future.result()
    except BaseException:
        future.cancel()  # a signal may end the command while items are probed
        raise


def quote_when_settled(resolved: ResolvedJob) -> Quote:
    """Quote a job that is run next: where every file of its folder is new, wait for them as the run would.

    Raises:
        UsageError: when the source is wrong.
    """
    try:
        return _quote(resolved, None)
    except UnsettledSource as unsettled:
        wait_until_settled(unsettled)
        return _quote(resolved, None)


def log_quote(resolved: ResolvedJob, retry: Retry | None = None) -> None:
    """Log what a paid run would cost, where somebody reads the log: a call from Python is not asked.

    Raises:
        UsageError: when the source is wrong.
    """
    if not resolved.is_paid or not RUN_LOGGER.isEnabledFor(logging.INFO):
        return
    quoted = quote_when_settled(resolved) if retry is None else quote(resolved, retry)
    fields = {"low_usd": quoted.low_usd, "high_usd": quoted.high_usd, "budget": resolved.job.budget}
    exact = {name: None if usd is None else format_decimal(usd) for name, usd in fields.items()}
    write_record(RUN_LOGGER, logging.INFO, "quote", format_quote(quoted), items=quoted.items, **exact)


async def _quote_job(resolved: ResolvedJob) -> Quote:
    engine = Engine.shared()
    # A capability may keep state of the items it has seen. The job may yet be run, so the quote takes its own.
    resolved = replace(resolved, capability=capabilities.get(resolved.job.capability))
    job = resolved.job
    source = await engine.run_in_thread(resolved.open_source)
    await engine.run_in_thread(check_template_columns, resolved, source)
    journal = await engine.run_in_thread(_open_journal_or_none, resolved)
    refusal = _find_refusal(resolved, journal, source.root)
    bound = journal.output.load_binding() if journal is not None else None
    does_all = bound is not None and job.replace and not resolved.has_requests_of(bound)
    known = None if refusal or does_all else journal
    totals = _QuoteTotals()

    def select(batch: list[Item]) -> list[Item]:
        return _select_unfinished(known, batch, totals, job)

    await _add_items(resolved, journal, islice(source.items(), job.limit), source.root, totals, select)
    not_taken = source.not_taken()
    if not totals.items and not not_taken.with_sidecar:
        raise UsageError(f"{job.source}: has no items")
    out_use: OutUse = "refused" if refusal else "continued"
    if journal is None or (does_all and not refusal):
        out_use = "new" if journal is None else "replaced"
    note = refusal or resolved.choice.describe()
    return replace(_to_quote(totals, resolved), not_taken=not_taken, out_use=out_use, out_note=note)


async def _quote_retry(resolved: ResolvedJob, retry: Retry) -> Quote:
    engine = Engine.shared()
    resolved = replace(resolved, capability=capabilities.get(resolved.job.capability))
    journal = await engine.run_in_thread(_open_journal_or_none, resolved)
    if journal is None:
        raise UsageError(f"{resolved.out}: no run has written here", hint="name the folder that --out named")
    binding = journal.output.load_binding()
    assert binding is not None
    totals = _QuoteTotals()

    def select(batch: list[Item]) -> list[Item]:
        totals.items += len(batch)
        return batch

    items = stream_retried(journal, resolved.out, retry)
    await _add_items(resolved, journal, items, binding.root, totals, select)
    return replace(_to_quote(totals, resolved), out_use="continued")


async def _add_items(
    resolved: ResolvedJob,
    journal: Journal | None,
    items: Iterator[Item],
    root: str,
    totals: _QuoteTotals,
    select: Callable[[list[Item]], list[Item]],
) -> None:
    """Add what the items that ``select`` leaves of each batch would cost, and close the journal."""
    engine, job = Engine.shared(), resolved.job
    row_paths = RowPaths.of_source(root, job.allow_paths)
    scratch = tempfile.TemporaryDirectory(prefix="mediamill-quote-")  # OUT may not be there, and a quote makes none
    try:
        context = EngineCapabilityContext(job, engine, journal, resolved.provider, resolved.model, Path(scratch.name))
        while batch := await engine.run_in_thread(lambda: list(islice(items, _BATCH_ITEMS))):
            todo = await engine.run_in_thread(select, batch)
            estimates = await asyncio.gather(
                *(_estimate_item(resolved, item, context, totals, row_paths) for item in todo)
            )
            for item, estimate in zip(todo, estimates, strict=True):
                if estimate is not None:
                    if item.item_id not in totals.lacking_try:  # its first try's answer is in the journal
                        _add_estimate(totals, estimate, resolved)
                    await _add_more_tries(resolved, item, estimate, context, totals, row_paths)
    finally:
        scratch.cleanup()
        if journal is not None:
            await engine.run_in_thread(journal.close)


def _find_refusal(resolved: ResolvedJob, journal: Journal | None, root: str) -> str | None:
    """Why a run would refuse OUT; None where it would not."""
    binding = journal.output.load_binding() if journal is not None else None
    if binding is None:
        return None
    try:
        resolved.refuse_another_out()
    except UsageError as error:
        return str(error)
    if binding.capability != resolved.capability.name:
        return f"{resolved.out} holds the results of another capability ({binding.capability})"
    if binding.root != root and not resolved.job.moved and not Path(root).is_relative_to(resolved.out):
        return f"{resolved.out} holds the results of another source ({binding.root})"
    return None


def _to_quote(totals: _QuoteTotals, resolved: ResolvedJob) -> Quote:
    is_priced = not totals.unpriced
    return Quote(
        capability=resolved.capability.name,
        provider=resolved.provider.name,
        model=resolved.model,
        out=str(resolved.out),
        items=totals.items,
        finished=totals.finished,
        failed_before=totals.failed_before,
        asks=totals.asks,
        audio_seconds=totals.seconds,
        low_usd=totals.low if is_priced else None,
        high_usd=totals.high + totals.high_of_tries if is_priced and not totals.unpriced_tries else None,
        price_source=_describe_price_source(totals, resolved),
        unpriced=totals.unpriced,
        bad_items=totals.bad,
        saved_tokens=totals.saved_tokens,
        saved_bytes=totals.saved_bytes,
        bad_examples=tuple(totals.examples),
        missing_key=resolved.find_missing_key(),
        more_asks=totals.asks_if_all,
        more_tries=tuple(_describe_try(each, resolved) for each in resolved.list_tries()[1:]),
    )


def _describe_try(each: ResolvedJob, resolved: ResolvedJob) -> str:
    name = f"{each.provider.name} {each.model}"
    return f"a second try with {name}" if each is resolved.second else name


def _open_journal_or_none(resolved: ResolvedJob) -> Journal | None:
    """OUT's journal; None where no run has begun one.

    Raises:
        UsageError: when a run would refuse it: it is gone, or another one is named.
    """
    out, job = resolved.out, resolved.job
    journal = open_begun_journal(out, job.journal, moved=job.moved)
    if journal is None:
        return None
    if not journal.output.load_id(out) or journal.output.load_binding() is None:
        journal.close()
        return None
    return journal


def _select_unfinished(journal: Journal | None, batch: Sequence[Item], totals: _QuoteTotals, job: Job) -> list[Item]:
    """The items that a run would do: those that have not ended for good with their present input."""
    totals.items += len(batch)
    if journal is None or job.no_cache:
        return list(batch)
    ids = [item.item_id for item in batch]
    todo, ends = [], journal.outcomes.find_finished(ids)
    totals.lacking_try |= journal.outcomes.find_lacking_try(ids)
    for item in batch:
        fingerprint, has_failed, location = ends.get(item.item_id, (None, False, ""))
        if fingerprint != item.fingerprint and not (job.moved and fingerprint == fingerprint_at(item, location)):
            todo.append(item)
            continue
        totals.finished += 1
        totals.failed_before += has_failed
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


async def _add_more_tries(
    resolved: ResolvedJob,
    item: Item,
    first: Estimate,
    context: EngineCapabilityContext,
    totals: _QuoteTotals,
    row_paths: RowPaths,
) -> None:
    """Add the most that more tries of the item can cost; the least is nothing, where the first try is good.

    A later provider that cannot take the item costs nothing.
    """
    for each in (resolved.second, *resolved.later):
        if each is None:
            continue
        other = context.with_provider(each.provider, each.model)
        params = [resolve_item_params(each.capability, each.job, item, each.params, row_paths)]
        if each is resolved.second and (opinion := get_second_opinion(each.capability)) is not None:
            params = opinion.list_settings(params[0], None if first.seconds is None else float(first.seconds))
        try:
            estimates = [await each.capability.estimate(item, one, other) for one in params]
        except ItemError:
            continue
        highs = [each.pricing.ceiling(each.model, each.capability.operation, one.ceiling) for one in estimates]
        totals.asks_if_all += max(one.ceiling.requests or one.asks for one in estimates)
        if None in highs:
            totals.unpriced_tries += 1
        else:
            totals.high_of_tries += max(high for high in highs if high is not None)


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
