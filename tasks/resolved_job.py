"""Resolve a job: look up once what it names, before anything is opened or paid."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediamill.tasks import capabilities
from mediamill.tasks.capabilities.base import Capability
from mediamill.tasks.errors import MediamillError, UsageError
from mediamill.tasks.job import Job
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.journal_choice import choose_journal, has_journal
from mediamill.tasks.journal.out_place import read_out_id
from mediamill.tasks.money.cost import Pricing
from mediamill.tasks.params import validate_params
from mediamill.tasks.plugins import plugin_error
from mediamill.tasks.providers import registry
from mediamill.tasks.providers.operations import find_meter, find_priced_as
from mediamill.tasks.wire import Provider

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class ResolvedJob:
    """A job and everything that it names. It serves one run or one quote: see ``capabilities.get``.

    Attributes:
        job: as it was given; what it leaves out is as in OUT's earlier runs.
        capability, provider, model: what does what.
        params: the capability's own parameters, validated: an object of ``capability.params``.
        schema: the capability's own columns for them.
        pricing: the prices of the provider's models.
        out: OUT as an absolute path; it need not exist.
    """

    job: Job
    capability: Capability
    provider: Provider
    model: str
    params: Any
    schema: pa.Schema
    pricing: Pricing
    out: Path

    @property
    def is_local(self) -> bool:
        """Whether the built-in provider does the job, which costs nothing."""
        return self.provider.name == "local"


def resolve_job(job: Job | ResolvedJob) -> ResolvedJob:
    """Look up what a job names, and refuse a job that no run could start with.

    Args:
        job: a resolved job is returned as it is.

    Raises:
        UsageError: when its capability, provider, key, model, parameters or OUT cannot be used.
    """
    if isinstance(job, ResolvedJob):
        return job
    capability = capabilities.get(job.capability)
    job = _keep_what_out_is_bound_to(job)
    params = validate_params(capability, job.params)
    provider = _choose_provider(job, capability.operation)
    model = provider.choose_model(capability.operation, job.model)
    schema = _load_own_schema(capability, params, provider, model)
    if job.subtitles and "segments" not in schema.names:
        raise UsageError(f"{capability.name} has no subtitles", hint="leave --subtitles out")
    if "://" in job.out_path:
        raise UsageError(f"{job.out_path}: OUT is a local folder", hint="write locally, then copy the folder")
    if (job.moved or job.copied) and not job.out:
        flag = "moved" if job.moved else "copied"
        raise UsageError(f"--{flag} says so of an OUT that exists, and none is named", hint="name it with --out")
    if job.moved and job.copied:
        raise UsageError("an OUT was either moved or copied", hint="give --moved or --copied")
    out = Path(job.out_path).expanduser().absolute()
    pricing = Pricing.load(provider.name, provider.billing, find_meter, find_priced_as)
    return ResolvedJob(job, capability, provider, model, params, schema, pricing, out)


def _keep_what_out_is_bound_to(job: Job) -> Job:
    """The job with the provider and model of OUT's earlier runs, where it names none.

    Defaults follow keys and our own versions; what was bought with the earlier ones must stay bought.

    Raises:
        UsageError: when OUT's journal cannot be read.
    """
    names_provider = bool(job.provider or job.base_url)
    out = Path(job.out_path).expanduser().absolute()
    if (names_provider and job.model) or "://" in job.out_path or not (has_journal(out) or read_out_id(out)):
        return job
    with closing(Journal.open_existing(out, choose_journal(out, job.journal))) as journal:
        binding = journal.output.load_binding() if journal.output.load_id(out) else None
        stored = (journal.output.load_job() or {}) if binding else {}
    if binding is None or binding.capability != job.capability:
        return job
    if names_provider:
        is_same = job.provider == binding.provider
        return job.model_copy(update={"model": job.model or binding.model}) if is_same else job
    return job.model_copy(
        update={
            "provider": binding.provider,
            "model": job.model or binding.model,
            "base_url": stored.get("base_url"),
            "api_key_env": job.api_key_env or stored.get("api_key_env"),
        }
    )


def _load_own_schema(capability: Capability, params: Any, provider: Provider, model: str) -> pa.Schema:
    """The capability's own columns.

    Raises:
        UsageError: when the parameters, the provider or the model cannot be used, or another package's columns.
    """
    plugin = (
        capabilities.find_capability_plugins().get(capability.name)
        if capability.name not in capabilities.BUILT_IN
        else None
    )
    if plugin is None:
        return capability.schema(params, provider, model)
    import pyarrow as pa

    from mediamill.tasks.sinks.results import find_reserved_names

    try:
        schema = capability.schema(params, provider, model)
    except MediamillError:
        raise
    except Exception as error:  # another package's code may raise anything
        raise plugin_error(plugin, f"its columns: {type(error).__name__}: {error}".partition("\n")[0]) from error
    if not isinstance(schema, pa.Schema):
        raise plugin_error(plugin, "its columns are no pyarrow.Schema")
    if taken := find_reserved_names(schema):
        raise plugin_error(plugin, f"its columns are called like those of every result: {', '.join(taken)}")
    return schema


def _choose_provider(job: Job, operation: str) -> Provider:
    """The provider a job names, or the first one with a key, or the built-in one.

    Raises:
        UsageError: when it is unknown, its key is missing, or it needs a base URL.
    """
    name = job.provider or ("compatible" if job.base_url else registry.choose_default_provider(os.environ, operation))
    return registry.make_provider(name, base_url=job.base_url, api_key_env=job.api_key_env, environ=os.environ)
