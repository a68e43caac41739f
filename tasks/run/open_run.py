"""Open a run: lock and bind OUT, set up the budget, freeze the schemas."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from mediamill.tasks.calls.call import Caller
from mediamill.tasks.calls.call_context import CallContext
from mediamill.tasks.calls.hang_detector import HangDetector
from mediamill.tasks.calls.output_fetcher import OutputFetcher
from mediamill.tasks.calls.pace_exchange import PaceExchange, name_limit
from mediamill.tasks.calls.provider_gate import ProviderGate
from mediamill.tasks.calls.rate_limiter import Limiter
from mediamill.tasks.calls.response_times import ResponseTimes, to_journal_name
from mediamill.tasks.calls.retry import RetryBudget, RetryPolicy
from mediamill.tasks.engine import Engine
from mediamill.tasks.errors import UsageError
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.journal_choice import choose_journal, write_mark
from mediamill.tasks.journal.output_binding import Binding
from mediamill.tasks.journal.output_lock import OutputLock
from mediamill.tasks.money.budget import Budget, EarlierHold
from mediamill.tasks.out.damage import Damage, mend_at_start
from mediamill.tasks.out.moved_out import check_is_same_source, check_place
from mediamill.tasks.renamed_options import get_renamed_params, to_stored_job, to_stored_names
from mediamill.tasks.run.capability_context import EngineCapabilityContext
from mediamill.tasks.run.failures_in_a_row import FailuresInARow
from mediamill.tasks.run.item_slots import ItemSlots
from mediamill.tasks.run.outdated_rows import READING, mark_outdated_rows
from mediamill.tasks.run.refused_run import close_refused_run
from mediamill.tasks.run.resolved_job import ResolvedJob
from mediamill.tasks.run.run_context import RunContext, StopSwitch
from mediamill.tasks.run.template_columns import check_template_columns
from mediamill.tasks.run_log import RUN_LOGGER, write_record
from mediamill.tasks.sinks.media import find_lost_media
from mediamill.tasks.sinks.out_folder import PRIVATE_FOLDERS, create_out_folder
from mediamill.tasks.sinks.results import build_results_schema
from mediamill.tasks.sinks.schema import deserialize_schema, read_reading, serialize_schema
from mediamill.tasks.sources.row_paths import RowPaths
from mediamill.tasks.system.asr_choice import POCKETSPHINX, choose_asr_engine
from mediamill.tasks.system.open_files import limit_by_open_files
from mediamill.tasks.system.private_files import make_private_folder
from mediamill.tasks.wire import Provider, Wire

if TYPE_CHECKING:
    from mediamill.tasks.sources import Source


_STAGING_STEP_REQUESTS, _STAGING_STEP_EXTRA = 64, 8
"""For every 64 requests in flight, 8 more attempts may wait for their commit in the journal. With few in flight its
commits cost nothing; with hundreds they would leave a tenth of the slots empty."""

_NOT_STORED = {"limit", "run_deadline", "schedule", "moved", "copied", "confirmed", "notify"} | {
    "overwrite",
    "skip_existing",
}
"""Fields of a job that hold for one command, and not for those that go on with its OUT."""

_MAX_OPEN_ITEMS = 4096
"""Maximum items open at once where many share a request."""


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
        context = _create_context(resolved, engine, run_id, journal, lock, root)
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
    own_params = resolved.params.model_dump(mode="json", exclude_defaults=True)
    params = to_stored_names(own_params, get_renamed_params(resolved.capability.name))
    binding = Binding.from_values(root, resolved.capability.name, resolved.provider.name, resolved.model, params)
    fields = job.model_dump(mode="json", exclude=_NOT_STORED)
    fields = to_stored_job({**fields, "out": str(out)})  # others that share the journal name it from any folder
    journal.output.load_id(out)
    formats = list(dict.fromkeys([*journal.output.load_formats(), *job.subtitles]))
    await journal.output.bind(out, binding, fields, replace=job.replace, this_run_only=source is None, moved=job.moved)
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


def _create_context(
    resolved: ResolvedJob, engine: Engine, run_id: str, journal: Journal, lock: OutputLock, root: str
) -> RunContext:
    job, provider, model, out = resolved.job, resolved.provider, resolved.model, resolved.out
    operation = resolved.capability.operation
    stop_switch = StopSwitch()
    limiter, limiter_name, pace_exchange = _get_limiter(resolved, engine, journal)
    quota = provider.quota(operation, model)
    concurrency = choose_concurrency(resolved)
    spent = journal.attempts.sum_costs()
    max_batched_items = min(concurrency * quota.per_request, _MAX_OPEN_ITEMS) if quota.per_request > 1 else 0
    max_open_items = max(2 * concurrency + 16, max_batched_items, quota.jobs)
    item_slots = ItemSlots(max_open_items)
    origin, client = provider.endpoint.origin, engine.client
    create_gate = partial(
        ProviderGate,
        provider.name,
        check_stop=stop_switch.raise_if_stopped,
        request_stop=stop_switch.trigger,
        wait_seconds=job.wait_for_provider,
        has_life=partial(client.has_life, origin, f"{provider.endpoint.api}/models") if origin else None,
        run_id=run_id,
    )
    hang_detector = _get_hang_detector(limiter_name, engine, journal)
    gate = create_gate(
        on_outage=lambda streak: limiter.forget_outage(by_refusals=streak.is_refusal),
        list_overdue=hang_detector.list_overdue,
    )
    call_context = CallContext(
        provider=provider,
        journal=journal,
        client=engine.client,
        budget=Budget(
            None if job.endpoint_hourly else job.budget, spent.known, spent.unknown_max, _find_hold(out, journal)
        ),
        pricing=resolved.pricing,
        policy=RetryPolicy(max_retries=job.retries, budget=RetryBudget(), gate=gate, step_aside=item_slots.step_aside),
        resolve_origin=_make_origin_resolver(engine, provider, model),
        limiter_for=lambda _: limiter,
        slots=asyncio.Semaphore(concurrency),
        gate=gate,
        lookup_gate=create_gate(),
        check_stop=stop_switch.raise_if_stopped,
        request_stop=stop_switch.trigger,
        run_id=run_id,
        out_id=journal.out_id,
        key=_get_key(engine, provider),
        timeout=job.timeout,
        hang_detector=hang_detector,
        server_deaths=None if provider.endpoint.origin else engine.server_deaths,
    )
    scratch = out / ".tmp" / "scratch"
    make_private_folder(scratch.parent)
    make_private_folder(scratch)
    schemas = journal.output.load_schemas()
    assert schemas is not None
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
        call_context=call_context,
        caller=Caller(call_context),
        capability_context=EngineCapabilityContext(
            job, engine, journal, provider, model, scratch, stop_switch.raise_if_stopped, OutputFetcher(call_context)
        ),
        stop_switch=stop_switch,
        item_slots=item_slots,
        max_open_items=max_open_items,
        schema=deserialize_schema(schemas[0]),
        row_schema=deserialize_schema(schemas[1]),
        limiter=limiter,
        limiter_name=limiter_name,
        pace_exchange=pace_exchange,
        failures_in_a_row=FailuresInARow(job.max_failures_in_a_row, stop_switch.trigger),
        subtitles=journal.output.load_formats(),
        sidecars=resolved.sidecars,
    )


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


def choose_concurrency(resolved: ResolvedJob) -> int:
    """The number of requests in flight at most: the job's, else the provider's, and what open files allow.

    Raises:
        UsageError: when this process may not open enough files for one.
    """
    return limit_by_open_files(get_wanted_concurrency(resolved))


def get_wanted_concurrency(resolved: ResolvedJob) -> int:
    """The number of requests in flight that the job wants, else the provider."""
    quota = resolved.provider.quota(resolved.capability.operation, resolved.model)
    return resolved.job.concurrency or quota.concurrency


def _get_limiter(resolved: ResolvedJob, engine: Engine, journal: Journal) -> tuple[Limiter, str, PaceExchange | None]:
    """The limiter of this provider, model and operation, with the limits that earlier runs learned, and its name.

    And what shares it with other processes: None for the built-in provider, of which each process has its own.
    """
    job, provider, model = resolved.job, resolved.provider, resolved.model
    operation = resolved.capability.operation
    name = f"{provider.name} {provider.endpoint.origin} {model} {operation}"
    quota = provider.quota(operation, model)
    concurrency = choose_concurrency(resolved)
    staged = concurrency + concurrency // _STAGING_STEP_REQUESTS * _STAGING_STEP_EXTRA
    quota = replace(quota, concurrency=staged, start=None if job.concurrency else quota.start)
    if job.rpm:
        quota = replace(quota, rpm=min(job.rpm, quota.rpm or job.rpm))

    def create_limiter() -> Limiter:
        limiter = Limiter(quota, f"{provider.name} {model} {operation}")
        if learned := journal.learned_limits.load(name):
            limiter.restore_state(*learned)
        return limiter

    limiter = engine.get_or_create_limiter(f"{name} {quota}", create_limiter)
    origin = provider.endpoint.origin
    if not origin:
        return limiter, name, None
    limit = name_limit(origin, model, operation, _get_key(engine, provider))
    return limiter, name, engine.get_or_create_pace_exchange(f"{name} {quota}", lambda: PaceExchange(limiter, limit))


def _report_replaced_engine(resolved: ResolvedJob) -> None:
    """Say why pocketsphinx transcribes, where nobody chose it."""
    is_unnamed = resolved.job.model is None and not resolved.provider.endpoint.origin
    if resolved.is_local and is_unnamed and resolved.model == POCKETSPHINX and (reason := choose_asr_engine().reason):
        write_record(RUN_LOGGER, logging.WARNING, "engine_replaced", reason, notice=True)


def _report_unused_params(resolved: ResolvedJob) -> None:
    """Say which parameters the model does not take, where the capability goes on without them."""
    describe = getattr(resolved.capability, "describe_unused_params", None)
    if describe is not None and (words := describe(resolved.params, resolved.provider, resolved.model)):
        write_record(RUN_LOGGER, logging.WARNING, "params_not_used", words, notice=True)


def _get_hang_detector(limiter_name: str, engine: Engine, journal: Journal) -> HangDetector:
    """What finds hanging requests, shared and remembered as the limiter of the same name is."""

    def create() -> HangDetector:
        times = ResponseTimes()
        if learned := journal.learned_limits.load(to_journal_name(limiter_name)):
            times.restore_state(learned[0])
        return HangDetector(times)

    return engine.get_or_create_hang_detector(limiter_name, create)


def _get_key(engine: Engine, provider: Provider) -> str | None:
    """The provider's key from its environment variable, or that of the built-in servers which this process starts."""
    if not provider.endpoint.origin:
        return engine.local_key
    return os.environ.get(provider.endpoint.key_env) if provider.endpoint.key_env else None


def _make_origin_resolver(engine: Engine, provider: Provider, model: str) -> Callable[[Wire], Awaitable[str]]:
    """A function for the address that requests go to: the provider's, or the built-in server's once it is needed."""
    provider_origin = provider.endpoint.origin

    async def resolve_fixed(_: Wire) -> str:
        return provider_origin

    async def resolve_local(_: Wire) -> str:
        return await engine.get_local_origin(model)

    return resolve_fixed if provider_origin else resolve_local
