"""Starting a run: OUT locked and bound, the provider chosen, the budget opened, the schema frozen."""

from __future__ import annotations

import asyncio
import os
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tasks import capabilities
from tasks.calls.call import Caller
from tasks.calls.limits import Limiter
from tasks.calls.line import Line
from tasks.calls.retry import Retrying, RetryBudget
from tasks.capabilities.base import Capability
from tasks.context import Context, StopSwitch
from tasks.engine import Engine
from tasks.errors import NoSuchOption, StorageError, UsageError
from tasks.item import Ask
from tasks.job import Job
from tasks.journal.journal import Journal
from tasks.journal.lock import OutLock
from tasks.kit import Workbench
from tasks.money.budget import Budget
from tasks.money.cost import Pricing
from tasks.providers import registry
from tasks.providers.base import Provider, Wire
from tasks.sinks.parts import clean_tmp

if TYPE_CHECKING:
    from tasks.sources.source import Source

_LOCAL = "local:"


def choose_provider(job: Job) -> Provider:
    """The provider a job names, or the first one with a key, or the built-in one.

    Raises:
        UsageError: when it is unknown, its key is missing, or it needs a base URL.
    """
    name = job.provider or ("compatible" if job.base_url else registry.default_provider(os.environ))
    return registry.make_provider(name, base_url=job.base_url, api_key_env=job.api_key_env, environ=os.environ)


def check_params(capability: Capability, params: dict[str, Any]) -> Any:
    """The capability's parameters, validated.

    Raises:
        UsageError: naming the parameter, with the nearest known one when it is unknown.
    """
    try:
        return capability.params.model_validate(params)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(p) for p in first["loc"])
        if first["type"] == "extra_forbidden":
            raise NoSuchOption(f"{capability.name} parameter", name, capability.params.model_fields) from None
        raise UsageError(f"{name}: {first['msg']}") from None


def out_folder(job: Job) -> Path:
    """OUT as an absolute path, made if need be.

    Raises:
        UsageError: when it is a URL or stands on something that is not a folder.
        StorageError: when it cannot be made or written.
    """
    if "://" in job.out_path:
        raise UsageError(f"{job.out_path}: OUT is a local folder", hint="write locally, then copy the folder")
    out = Path(job.out_path).expanduser().absolute()
    try:
        (out / ".journal").mkdir(parents=True, exist_ok=True)
        (out / ".tmp").mkdir(exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{out}: is not a folder", hint="choose another --out") from None
    except OSError as error:
        raise StorageError(f"{out}: {error.strerror or error}", hint="choose another --out") from None
    return out


async def open_context(job: Job, engine: Engine, *, retry: bool) -> tuple[Context, Source | None]:
    """Everything a run needs, opened in the order in which it can fail cheapest."""
    capability = capabilities.get(job.capability)
    params = check_params(capability, job.params)
    provider = choose_provider(job)
    model = provider.model(capability.operation, job.model)
    source = None if retry else await engine.thread(_open_source, job, capability)
    out = out_folder(job)
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    journal = await engine.thread(Journal.open, out, job.journal)
    try:
        lock = await engine.thread(OutLock.acquire, out, journal, run_id)
    except BaseException:
        journal.close()
        raise
    try:
        return await _opened(
            job, engine, capability, params, provider, model, out, run_id, journal, lock, source
        ), source
    except BaseException:
        lock.release()
        journal.close()
        raise


def _open_source(job: Job, capability: Capability) -> Source:
    from tasks.sources import open_source

    return open_source(job, capability.kinds, frozenset(capability.params.model_fields))


async def _opened(
    job: Job,
    engine: Engine,
    capability: Capability,
    params: Any,
    provider: Provider,
    model: str,
    out: Path,
    run_id: str,
    journal: Journal,
    lock: OutLock,
    source: Source | None,
) -> Context:
    root = source.root if source else job.source
    out_id = await journal.outs.bind(
        root, capability.name, provider.name, model, dict(job.params), job.model_dump(mode="json"), job.replace
    )
    await journal.asks.recover(out_id, run_id)
    await engine.thread(clean_tmp, out)
    await journal.runs.start(run_id, job.model_dump(mode="json"))
    spent = await journal.attempts.spent(out_id)
    stop = StopSwitch()
    line = Line(
        provider=provider,
        journal=journal,
        client=engine.client,
        budget=Budget(job.budget, spent.known, spent.unknown_max),
        pricing=Pricing.of(provider, capability.operation),
        retrying=Retrying(job.retries, RetryBudget()),
        origin=_origins(engine, provider),
        limiter=_limiters(engine, provider, job),
        stopping=stop.check,
        run_id=run_id,
        out_id=out_id,
        key=os.environ.get(provider.endpoint.key_env or ""),
        deadline=job.deadline,
    )
    gate_size = 2 * (job.concurrency or provider.concurrency(capability.operation, model))
    scratch = out / ".tmp" / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    return Context(
        job=job,
        run_id=run_id,
        out=out,
        out_id=out_id,
        journal=journal,
        lock=lock,
        engine=engine,
        capability=capability,
        params=params,
        line=line,
        caller=Caller(line),
        kit=Workbench(job, engine, journal, provider, model, scratch),
        stop=stop,
        gate=asyncio.Semaphore(gate_size),
        gate_size=gate_size,
        row_schema=await engine.thread(source.row_schema) if source else None,
    )


def _origins(engine: Engine, provider: Provider) -> Callable[[Wire], Awaitable[str]]:
    """Where requests really go: the provider's address, or the built-in server's once it is needed."""
    if provider.endpoint.origin:
        origin = provider.endpoint.origin

        async def fixed(_: Wire) -> str:
            return origin

        return fixed

    async def local(wire: Wire) -> str:
        return await engine.local_origin(wire.origin.removeprefix(_LOCAL))

    return local
