"""Resolve a job: look up once what it names, before anything is opened or paid."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from mediamill.tasks import capabilities
from mediamill.tasks.bounded.expressions import Expression
from mediamill.tasks.capabilities.base import Capability
from mediamill.tasks.capabilities.parameters import select_sent_params
from mediamill.tasks.errors import MediamillError, UsageError
from mediamill.tasks.escalation import Escalation
from mediamill.tasks.job import Job, drop_empty
from mediamill.tasks.journal.output_binding import Binding
from mediamill.tasks.money.cost import Pricing
from mediamill.tasks.out.differences import describe
from mediamill.tasks.out.out_choice import OutChoice, choose_out
from mediamill.tasks.plugins import plugin_error
from mediamill.tasks.providers import registry
from mediamill.tasks.providers.operations import find_meter, find_priced_as
from mediamill.tasks.renamed_options import get_renamed_params, to_new_names, to_stored_names
from mediamill.tasks.run.more_tries import (
    build_tries_schema,
    check_more_tries,
    has_more_tries,
    parse_until,
    refuse_equal_tries,
)
from mediamill.tasks.run.params import list_param_names, validate_params
from mediamill.tasks.run.sidecar_check import check_sidecars
from mediamill.tasks.sources.sidecars import SidecarNames, WithoutSidecar
from mediamill.tasks.wire import Provider

if TYPE_CHECKING:
    import pyarrow as pa

    from mediamill.tasks.sources import Source


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
        choice: why it is this OUT, and what OUT decided.
        sidecars: what the files beside its sources are called; None where it neither writes nor looks for any.
        second: who makes the second try of an item with doubts; None without ``check``.
        later: who tries an item next, in order (``escalate``).
        until: the condition that ends this; None where it is that there are no doubts.
    """

    job: Job
    capability: Capability
    provider: Provider
    model: str
    params: Any
    schema: pa.Schema
    pricing: Pricing
    out: Path
    choice: OutChoice
    sidecars: SidecarNames | None = None
    second: ResolvedJob | None = None
    later: tuple[ResolvedJob, ...] = ()
    until: Expression | None = None

    def list_tries(self) -> list[ResolvedJob]:
        """Who may try an item, in order: this job first."""
        return [self, *([self.second] if self.second else []), *self.later]

    @property
    def is_local(self) -> bool:
        """Whether the built-in provider does all of the job, which costs nothing."""
        return all(each.provider.name == "local" for each in self.list_tries())

    @property
    def is_paid(self) -> bool:
        """Whether somebody may be billed. A server of this machine that gets no key bills nobody."""
        providers = [each.provider for each in self.list_tries()]
        return any(
            not provider.billing.free and not (provider.endpoint.is_on_loopback and provider.endpoint.key_env is None)
            for provider in providers
        )

    def find_missing_key(self) -> str | None:
        """The name of the variable that a run needs and that is not set; None where it has its key or needs none."""
        names = [each.provider.endpoint.key_env for each in self.list_tries()]
        return next((name for name in names if name and not os.environ.get(name)), None)

    def open_source(self) -> Source:
        """Open the source of its items, without those that it passes over.

        Raises:
            UsageError: when it is missing, empty, unreadable or not supported.
        """
        from mediamill.tasks.sources import open_source

        source = open_source(self.job, self.capability.kinds, list_param_names(self.capability))
        return WithoutSidecar(source, self.sidecars) if self.job.skip_existing and self.sidecars else source

    def make_binding(self, root: str) -> Binding:
        """What OUT is bound to by this job, with its source's root."""
        own_params = self.params.model_dump(mode="json", exclude_defaults=True)
        params = to_stored_names(own_params, get_renamed_params(self.capability.name))
        if tries := drop_empty(self.job.describe_tries()):
            params["tries"] = tries
        return Binding.from_values(root, self.capability.name, self.provider.name, self.model, params)

    def select_sent_params(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What decides requests of a binding's parameters."""
        return select_sent_params(
            self.capability.params, to_new_names(params, get_renamed_params(self.capability.name))
        )

    def has_requests_of(self, binding: Binding) -> bool:
        """Whether an OUT that is bound to this has what this job requests; parameters may differ that change rows."""
        own = self.make_binding(binding.root)
        return (own.provider, own.model) == (binding.provider, binding.model) and (
            self.select_sent_params(orjson.loads(own.params)) == self.select_sent_params(orjson.loads(binding.params))
        )

    def refuse_another_out(self) -> None:
        """Refuse a job that names an OUT which was made with something else than the job names.

        Raises:
            UsageError: with both side by side, and the options that go on.
        """
        choice = self.choice
        if choice.instead_of is None and choice.differences and not self.job.replace:
            raise UsageError(
                f"{self.out} was made with {describe(choice.differences, before=True)}, and this job names "
                f"{describe(choice.differences)}",
                hint=f"leave that out to go on with what OUT holds; --out {shlex.quote(choice.suggested_out)} keeps "
                "both; --replace does every item again",
            )


def resolve_job(job: Job | ResolvedJob, *, needs_key: bool = True) -> ResolvedJob:
    """Look up what a job names, and refuse a job that no run could start with.

    Args:
        job: a resolved job is returned as it is.
        needs_key: refuse a provider whose key is not set; a quote sends nothing and needs none.

    Raises:
        UsageError: when its capability, provider, key, model, parameters or OUT cannot be used.
    """
    if isinstance(job, ResolvedJob):
        return job
    capability = capabilities.get(job.capability)
    choice = choose_out(job, capability, validate_params(capability, job.params))
    names_out, job = bool(job.out), choice.job
    params = validate_params(capability, job.params)
    provider = _choose_provider(job, capability.operation, needs_key=needs_key)
    model = provider.choose_model(capability.operation, job.model)
    schema = _load_own_schema(capability, params, provider, model)
    if job.subtitles and "segments" not in schema.names:
        raise UsageError(f"{capability.name} has no subtitles", hint="leave --subtitles out")
    sidecars = check_sidecars(job, capability, params, choice.formats)
    if "://" in job.out_path:
        raise UsageError(f"{job.out_path}: OUT is a local folder", hint="write locally, then copy the folder")
    if (job.moved or job.copied) and not names_out:
        flag = "moved" if job.moved else "copied"
        raise UsageError(f"--{flag} says so of an OUT that exists, and none is named", hint="name it with --out")
    if job.moved and job.copied:
        raise UsageError("an OUT was either moved or copied", hint="give --moved or --copied")
    out = Path(job.out_path).expanduser().absolute()
    pricing = Pricing.load(provider.name, provider.billing, find_meter, find_priced_as)
    resolved = ResolvedJob(job, capability, provider, model, params, schema, pricing, out, choice, sidecars)
    return _resolve_more_tries(resolved, needs_key=needs_key) if has_more_tries(job) else resolved


def _resolve_more_tries(first: ResolvedJob, *, needs_key: bool) -> ResolvedJob:
    """The job with those who try an item after the first try, and the columns that tell of it.

    Raises:
        UsageError: when one of them cannot be used, naming it; its key is needed from the start.
    """
    job, capability = first.job, first.capability
    check_more_tries(job, capability)
    second = None
    if job.check:
        model = first.provider.choose_model(capability.operation, job.check_model or first.model)
        second = replace(first, model=model)
    later: list[ResolvedJob] = []
    for number, escalation in enumerate(job.escalate or (), 1):
        try:
            later.append(_resolve_escalation(first, escalation, needs_key=needs_key))
        except UsageError as error:
            raise UsageError(f"escalate {number}: {error.message}", hint=error.hint) from None
    refuse_equal_tries([(each.provider.name, each.job.base_url, each.model, each.params) for each in (first, *later)])
    schema = build_tries_schema(capability.name, [first.schema, *(each.schema for each in later)])
    until = parse_until(job, schema)
    return replace(first, second=second, later=tuple(later), until=until, schema=schema)


def _resolve_escalation(first: ResolvedJob, escalation: Escalation, *, needs_key: bool) -> ResolvedJob:
    capability = first.capability
    fields = escalation.model_dump(exclude={"params"})
    if escalation.provider == first.provider.name:  # a rehearsal stays one, and a key goes to one address
        fields["base_url"] = escalation.base_url or first.job.base_url
        fields["api_key_env"] = escalation.api_key_env or first.job.api_key_env
    job = first.job.model_copy(update={**fields, "params": {**first.job.params, **escalation.params}})
    params = validate_params(capability, job.params)
    provider = _choose_provider(job, capability.operation, needs_key=needs_key)
    model = provider.choose_model(capability.operation, escalation.model)
    schema = _load_own_schema(capability, params, provider, model)
    pricing = Pricing.load(provider.name, provider.billing, find_meter, find_priced_as)
    return replace(first, job=job, provider=provider, model=model, params=params, schema=schema, pricing=pricing)


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


def _choose_provider(job: Job, operation: str, *, needs_key: bool) -> Provider:
    """The provider a job names, or the first one with a key, or the built-in one.

    Raises:
        UsageError: when it is unknown, its key is missing, or it needs a base URL.
    """
    name = job.provider or ("compatible" if job.base_url else registry.choose_default_provider(os.environ, operation))
    return registry.make_provider(
        name, base_url=job.base_url, api_key_env=job.api_key_env, environ=os.environ, needs_key=needs_key
    )
