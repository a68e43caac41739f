"""What the paid calls of one try need: the provider's limiter, its gate, and what all tries of a run share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mediamill.tasks.calls.call import Caller
from mediamill.tasks.calls.call_context import CallContext, CallStats
from mediamill.tasks.calls.hang_detector import HangDetector
from mediamill.tasks.calls.output_fetcher import OutputFetcher
from mediamill.tasks.calls.pace_exchange import PaceExchange, name_limit
from mediamill.tasks.calls.provider_gate import ProviderGate
from mediamill.tasks.calls.rate_limiter import Limiter
from mediamill.tasks.calls.response_times import ResponseTimes, to_journal_name
from mediamill.tasks.calls.retry import RetryBudget, RetryPolicy
from mediamill.tasks.engine import Engine
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.money.budget import Budget
from mediamill.tasks.run.capability_context import EngineCapabilityContext
from mediamill.tasks.run.item_slots import ItemSlots
from mediamill.tasks.run.resolved_job import ResolvedJob
from mediamill.tasks.run.run_context import StopSwitch, TryContext
from mediamill.tasks.system.open_files import limit_by_open_files
from mediamill.tasks.wire import Provider, Wire

_STAGING_STEP_REQUESTS, _STAGING_STEP_EXTRA = 64, 8
"""For every 64 requests in flight, 8 more attempts may wait for their commit in the journal. With few in flight its
commits cost nothing; with hundreds they would leave a tenth of the slots empty."""

_ROUNDING = 1e-6
_MAX_OPEN_ITEMS = 4096
"""Maximum items open at once where many share a request."""


@dataclass(frozen=True, slots=True)
class SharedByTries:
    """What the tries of a run share, whichever provider makes them: one journal, one budget, one stop.

    ``item_slots`` make room for another item while one waits for a retry. ``share`` is this process's part of the
    requests in flight and of the configured limits.
    """

    engine: Engine
    journal: Journal
    budget: Budget
    stats: CallStats
    item_slots: ItemSlots
    stop_switch: StopSwitch
    run_id: str
    share: float = 1.0


def create_try_context(
    resolved: ResolvedJob, shared: SharedByTries, scratch: Path, earlier: Sequence[TryContext] = ()
) -> TryContext:
    """What the paid calls of one try need; tries by one provider share its gate and its slots.

    Args:
        resolved: names the provider, the model and the parameters.
        shared: what all tries share.
        scratch: a folder for files that are sent.
        earlier: those of the tries before it.
    """
    job, provider, model = resolved.job, resolved.provider, resolved.model
    engine, journal = shared.engine, shared.journal
    limiter, limiter_name, pace_exchange = _get_limiter(resolved, engine, journal, shared.share)
    hang_detector = _get_hang_detector(limiter_name, engine, journal)
    resolve_origin = _make_origin_resolver(engine, provider, model)
    same = next((each for each in earlier if _has_same_account(each.call_context.provider, provider)), None)
    if same is not None:
        call_context = replace(
            same.call_context,
            pricing=resolved.pricing,
            resolve_origin=resolve_origin,
            limiter_for=lambda _: limiter,
            hang_detector=hang_detector,
        )
    else:
        call_context = _create_call_context(resolved, shared, limiter, hang_detector, resolve_origin)
    fetch_output = OutputFetcher(call_context)
    capability_context = (
        earlier[0].capability_context.with_provider(provider, model, fetch_output)
        if earlier
        else EngineCapabilityContext(
            job, engine, journal, provider, model, scratch, shared.stop_switch.raise_if_stopped, fetch_output
        )
    )
    return TryContext(
        job=job,
        params=resolved.params,
        call_context=call_context,
        caller=Caller(call_context),
        capability_context=capability_context,
        limiter=limiter,
        limiter_name=limiter_name,
        pace_exchange=pace_exchange,
    )


def _has_same_account(provider: Provider, other: Provider) -> bool:
    """Whether two tries go to the same address with the same key."""
    first, second = provider.endpoint, other.endpoint
    return (provider.name, first.origin, first.key_env) == (other.name, second.origin, second.key_env)


def _create_call_context(
    resolved: ResolvedJob,
    shared: SharedByTries,
    limiter: Limiter,
    hang_detector: HangDetector,
    resolve_origin: Callable[[Wire], Awaitable[str]],
) -> CallContext:
    job, provider, engine = resolved.job, resolved.provider, shared.engine
    origin, client, stop_switch = provider.endpoint.origin, engine.client, shared.stop_switch
    create_gate = partial(
        ProviderGate,
        provider.name,
        check_stop=stop_switch.raise_if_stopped,
        request_stop=stop_switch.trigger,
        wait_seconds=job.wait_for_provider,
        has_life=partial(client.has_life, origin, f"{provider.endpoint.api}/models") if origin else None,
        run_id=shared.run_id,
    )
    gate = create_gate(
        on_outage=lambda streak: limiter.forget_outage(by_refusals=streak.is_refusal),
        list_overdue=hang_detector.list_overdue,
    )
    return CallContext(
        provider=provider,
        journal=shared.journal,
        client=engine.client,
        budget=shared.budget,
        pricing=resolved.pricing,
        policy=RetryPolicy(
            max_retries=job.retries,
            budget=RetryBudget(),
            gate=gate,
            step_aside=shared.item_slots.step_aside,
            measure_room=shared.item_slots.measure_room,
        ),
        resolve_origin=resolve_origin,
        limiter_for=lambda _: limiter,
        slots=asyncio.Semaphore(choose_concurrency(resolved, shared.share)),
        gate=gate,
        lookup_gate=create_gate(),
        check_stop=stop_switch.raise_if_stopped,
        request_stop=stop_switch.trigger,
        run_id=shared.run_id,
        out_id=shared.journal.out_id,
        key=_get_key(engine, provider),
        timeout=job.timeout,
        hang_detector=hang_detector,
        server_deaths=None if origin else engine.server_deaths,
        stats=shared.stats,
    )


def choose_max_open_items(resolved: ResolvedJob, share: float = 1.0) -> int:
    """How many items are open at once: enough to fill the requests in flight, also where items share a request."""
    quota = resolved.provider.quota(resolved.capability.operation, resolved.model).divide(share)
    concurrency = choose_concurrency(resolved, share)
    max_batched_items = min(concurrency * quota.per_request, _MAX_OPEN_ITEMS) if quota.per_request > 1 else 0
    return max(2 * concurrency + 16, max_batched_items, quota.jobs)


def choose_concurrency(resolved: ResolvedJob, share: float = 1.0) -> int:
    """The number of requests in flight at most: the job's, else the provider's, and what open files allow.

    ``share`` is the part of one process, of several that each have open files of their own.

    Raises:
        UsageError: when this process may not open enough files for one.
    """
    wanted, processes = get_wanted_concurrency(resolved), resolved.job.processes
    if share < 1:
        return limit_by_open_files(max(1, int(wanted * share + _ROUNDING)))
    return min(wanted, processes * limit_by_open_files(-(-wanted // processes)))


def get_wanted_concurrency(resolved: ResolvedJob) -> int:
    """The number of requests in flight that the job wants, else the provider."""
    quota = resolved.provider.quota(resolved.capability.operation, resolved.model)
    return resolved.job.concurrency or quota.concurrency


def _get_limiter(
    resolved: ResolvedJob, engine: Engine, journal: Journal, share: float
) -> tuple[Limiter, str, PaceExchange | None]:
    """The limiter of this provider, model and operation, with the limits that earlier runs learned, and its name.

    And what shares it with other processes: None for the built-in provider, of which each process has its own.
    """
    job, provider, model = resolved.job, resolved.provider, resolved.model
    operation = resolved.capability.operation
    name = f"{provider.name} {provider.endpoint.origin} {model} {operation}"
    quota = provider.quota(operation, model)
    concurrency = choose_concurrency(resolved, share)
    staged = concurrency + concurrency // _STAGING_STEP_REQUESTS * _STAGING_STEP_EXTRA
    quota = replace(quota, concurrency=staged, start=None if job.concurrency else quota.start)
    if job.rpm:
        quota = replace(quota, rpm=min(job.rpm, quota.rpm or job.rpm))
    quota = quota.divide(share)

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
