"""Open a run: lock and bind OUT, set up the budget, freeze the schemas."""

from __future__ import annotations

import asyncio
import os
import shlex
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pyarrow as pa

from mediamill.tasks.calls.call import Caller
from mediamill.tasks.calls.call_context import CallContext
from mediamill.tasks.calls.hang_detector import HangDetector
from mediamill.tasks.calls.output_fetcher import OutputFetcher
from mediamill.tasks.calls.provider_gate import ProviderGate
from mediamill.tasks.calls.rate_limiter import Limiter
from mediamill.tasks.calls.response_times import ResponseTimes, to_journal_name
from mediamill.tasks.calls.retry import RetryBudget, RetryPolicy
from mediamill.tasks.capability_context import EngineCapabilityContext
from mediamill.tasks.damage import Damage, mend_at_start
from mediamill.tasks.engine import Engine
from mediamill.tasks.item_slots import ItemSlots
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.journal_choice import choose_journal, write_mark
from mediamill.tasks.journal.output_binding import Binding
from mediamill.tasks.journal.output_lock import OutputLock
from mediamill.tasks.journal.planning import OUTDATED
from mediamill.tasks.money.budget import Budget, EarlierHold
from mediamill.tasks.moved_out import check_is_same_source, check_place
from mediamill.tasks.open_files import limit_by_open_files
from mediamill.tasks.params import list_param_names
from mediamill.tasks.private_files import make_private_folder
from mediamill.tasks.renamed_options import get_renamed_params, to_stored_job, to_stored_names
from mediamill.tasks.resolved_job import ResolvedJob
from mediamill.tasks.run_context import RunContext, StopSwitch
from mediamill.tasks.sinks.media import find_lost_media
from mediamill.tasks.sinks.out_folder import create_out_folder
from mediamill.tasks.sinks.results import build_results_schema
from mediamill.tasks.sinks.schema import deserialize_schema, serialize_schema
from mediamill.tasks.sources.row_paths import RowPaths
from mediamill.tasks.wire import Provider, Wire

if TYPE_CHECKING:
    from mediamill.tasks.sources import Source


_STAGING_STEP_REQUESTS, _STAGING_STEP_EXTRA = 64, 8
"""For every 64 requests in flight, 8 more attempts may wait for their commit in the journal. With few in flight its
commits cost nothing; with hundreds they would leave a tenth of the slots empty."""

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
    source = None if retry else await engine.run_in_thread(_open_source, resolved)
    out = resolved.out
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
        damage = await _bind_out(resolved, journal, run_id, root, source)
        if source is not None and {"file", "bytes"} <= set(resolved.schema.names):
            await journal.items.restore_unpromoted_previews()
            lost = await engine.run_in_thread(lambda: find_lost_media(out, journal.outcomes.stream_done_results()))
            await journal.items.mark_lost(lost)
        context = _create_context(resolved, engine, run_id, journal, lock, root)
        context.damage = damage
    except BaseException:
        if lock is not None:
            lock.release()
        await engine.run_in_thread(journal.close)
        raise
    return context, source


def _open_source(resolved: ResolvedJob) -> Source:
    from mediamill.tasks.sources import open_source

    capability = resolved.capability
    return open_source(resolved.job, capability.kinds, list_param_names(capability))


def _load_bound_root(journal: Journal, resolved: ResolvedJob) -> str:
    """The root OUT is bound to: a retry reads no source, and the job may name it relative to another folder."""
    journal.output.load_id(resolved.out)
    binding = journal.output.load_binding()
    return binding.root if binding else resolved.job.source


async def _bind_out(resolved: ResolvedJob, journal: Journal, run_id: str, root: str, source: Source | None) -> Damage:
    """Bind OUT, recover from a crash, and freeze the schemas before the first part; what has to be written again."""
    job, out = resolved.job, resolved.out
    own_params = resolved.params.model_dump(mode="json", exclude_defaults=True)
    params = to_stored_names(own_params, get_renamed_params(resolved.capability.name))
    binding = Binding.from_values(root, resolved.capability.name, resolved.provider.name, resolved.model, params)
    fields = job.model_dump(mode="json", exclude={"limit", "run_deadline", "schedule", "moved", "copied"})
    fields = to_stored_job({**fields, "out": str(out)})  # others that share the journal name it from any folder
    await journal.output.bind(out, binding, fields, replace=job.replace, this_run_only=source is None, moved=job.moved)
    write_mark(out, job.journal)  # only now: the journal it names knows OUT
    await journal.runs.start(run_id)
    await journal.asks.recover()
    damage = await mend_at_start(out, journal, run_id)
    if source is not None:
        await _mark_outdated(resolved, journal)
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
    frozen = (serialize_schema(schema), serialize_schema(row_schema))
    if stored != frozen:
        await journal.output.freeze_schemas(*frozen)


async def _mark_outdated(resolved: ResolvedJob, journal: Journal) -> None:
    """Have rows of an earlier program made again from the journal, where the capability makes them otherwise now."""
    schemas = journal.output.load_schemas()
    is_outdated = getattr(resolved.capability, "is_outdated", None)
    if schemas is None or is_outdated is None or not is_outdated(deserialize_schema(schemas[0]).names, {}):
        return
    rows = (orjson.loads(result) for result in journal.outcomes.stream_done_results())
    ids = [str(row["item_id"]) for row in rows if is_outdated(row, row)]
    await journal.items.mark_lost(ids, kind=OUTDATED)


def _create_context(
    resolved: ResolvedJob, engine: Engine, run_id: str, journal: Journal, lock: OutputLock, root: str
) -> RunContext:
    job, provider, model, out = resolved.job, resolved.provider, resolved.model, resolved.out
    operation = resolved.capability.operation
    stop_switch = StopSwitch()
    limiter, limiter_name = _get_limiter(resolved, engine, journal)
    quota = provider.quota(operation, model)
    concurrency = choose_concurrency(resolved)
    spent = journal.attempts.sum_costs()
    max_batched_items = min(concurrency * quota.per_request, _MAX_OPEN_ITEMS) if quota.per_request > 1 else 0
    max_open_items = max(2 * concurrency + 16, max_batched_items, quota.jobs)
    item_slots = ItemSlots(max_open_items)
    create_gate = partial(
        ProviderGate,
        provider.name,
        check_stop=stop_switch.raise_if_stopped,
        request_stop=stop_switch.trigger,
        wait_seconds=job.wait_for_provider,
        run_id=run_id,
    )
    gate = create_gate(on_outage=limiter.forget_overload)
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
        hang_detector=_get_hang_detector(limiter_name, engine, journal),
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


def _get_limiter(resolved: ResolvedJob, engine: Engine, journal: Journal) -> tuple[Limiter, str]:
    """The limiter of this provider, model and operation, with the limits that earlier runs learned; and its name."""
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

    return engine.get_or_create_limiter(f"{name} {quota}", create_limiter), name


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
