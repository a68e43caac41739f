"""Which OUT a job gets, and what OUT's earlier runs decide for it.

An OUT keeps what it is bound to, its provider, model and parameters, wherever the job names nothing else: defaults
follow keys and our own versions, and what was bought with the earlier ones must stay bought. A job that names something
else is refused where it names OUT, too; where it does not, it gets an OUT of its own, whose name says what differs.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
from pydantic_core import to_jsonable_python

from mediamill.tasks.capabilities.base import Capability
from mediamill.tasks.capabilities.parameters import Option, select_sent_params
from mediamill.tasks.errors import MediamillError, UsageError
from mediamill.tasks.job import Job, drop_empty
from mediamill.tasks.journal.journal_choice import has_journal, open_begun_journal
from mediamill.tasks.journal.out_place import read_out_id
from mediamill.tasks.journal.output_binding import Binding
from mediamill.tasks.out.differences import Difference, describe, hash_value, show_value, to_name
from mediamill.tasks.providers import registry
from mediamill.tasks.renamed_options import get_renamed_params, to_new_names
from mediamill.tasks.run.params import validate_params
from mediamill.tasks.system.loopback import is_loopback

_MAX_NAME_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class OutChoice:
    """A job with its OUT.

    Attributes:
        job: names the OUT that was chosen, and what that OUT keeps.
        kept: what the job leaves out and OUT's earlier runs decide, by name.
        instead_of: the default OUT that is bound to something else; None for a job in the OUT one expects.
        differences: between the job and ``instead_of``; or between the job and the OUT that it names, which refuses it.
        made_again: between the job and its OUT, where they change rows and no request.
        suggested_out: a path that the job may name instead of such an OUT.
        capability: another capability, whose results OUT holds.
        formats: of OUT's subtitles, those that its earlier runs named.
    """

    job: Job
    kept: Mapping[str, Any] = field(default_factory=dict)
    instead_of: str | None = None
    differences: tuple[Difference, ...] = ()
    made_again: tuple[Difference, ...] = ()
    suggested_out: str = ""
    capability: str | None = None
    formats: tuple[str, ...] = ()

    def describe(self) -> str | None:
        """Why it is this OUT, and what it decides; None where both are as one expects."""
        made_again = f"rows are made again for {describe(self.made_again)}, free" if self.made_again else None
        return "; ".join(filter(None, (self._describe_own(), self._describe_kept(), made_again))) or None

    def _describe_own(self) -> str | None:
        """Why the job has an OUT of its own; None where it has the one that one expects."""
        if self.instead_of is None:
            return None
        before, now = describe(self.differences, before=True), describe(self.differences)
        return f"an OUT of its own for {now}, as {self.instead_of} has {before}" if now else "an OUT of its own"

    def _describe_kept(self) -> str | None:
        """What OUT's earlier runs decide; None where they decide nothing that would be otherwise."""
        if not self.kept:
            return None
        values = ", ".join(f"{name} {show_value(value)}" for name, value in self.kept.items())
        return f"kept from OUT's earlier runs: {values}"


def choose_out(job: Job, capability: Capability, params: Any) -> OutChoice:
    """Choose the OUT of a job. Nothing is created, and no key is needed.

    Args:
        job: what to do.
        capability: the job's.
        params: the job's parameters, validated.

    Raises:
        UsageError, StorageError: when the journal of an OUT that may be the job's cannot be read.
    """
    if "://" in job.out_path:
        return OutChoice(job)
    base = _load_earlier(job.out_path, job.journal, moved=job.moved)
    if base is None or base.binding.capability != capability.name:
        return OutChoice(job, capability=base.binding.capability if base else None)
    named = _NamedSettings(job, capability, params)
    differences = named.find_differences(base)
    if not differences and not job.replace:
        if (older := _find_older_own_out(named, base)) is not None:
            return older
        if (kept := named.keep(base)) is not None:
            return kept
    if job.out or job.replace:
        suggested = named.name_own_out(base, differences)
        return OutChoice(
            named.keep_provider(base), differences=differences, suggested_out=suggested, formats=base.formats
        )
    found = _find_own_out(named, base, differences)
    choice = named.keep(found) if isinstance(found, _Earlier) else None
    if choice is None:
        own = found.out if isinstance(found, _Earlier) else found
        names = named.list_kept_names(base)  # data stays with the provider it went to, whatever keys there are by now
        choice = OutChoice(named.keep_provider(base).model_copy(update={"out": own}), names)
    return replace(choice, instead_of=base.out, differences=differences)


@dataclass(frozen=True, slots=True)
class _Earlier:
    """What an OUT is bound to, its last job, and the formats of its subtitles."""

    out: str
    binding: Binding
    job: Mapping[str, Any]
    formats: tuple[str, ...] = ()

    @property
    def is_rehearsal(self) -> bool:
        return _is_rehearsal(self.binding.provider, self.job.get("base_url"))


class _NamedSettings:
    """What a job names: an option that is left out names nothing."""

    def __init__(self, job: Job, capability: Capability, params: Any) -> None:
        self.job = job
        self.capability = capability
        self.provider = job.provider or ("compatible" if job.base_url else None)
        self._renamed = get_renamed_params(capability.name)
        self._own = params.model_dump(mode="json", exclude_defaults=True)
        self._all = params.model_dump(mode="json")
        self._named = params.model_fields_set
        self._tries = job.describe_tries()

    def find_differences(self, earlier: _Earlier) -> tuple[Difference, ...]:
        """What OUT was made otherwise with than the job names."""
        binding, differences = earlier.binding, []
        if self.provider is not None:
            if self.provider != binding.provider:
                differences.append(Difference("provider", binding.provider, self.provider))
            elif _is_rehearsal(self.provider, self.job.base_url) != earlier.is_rehearsal:
                own = f"{self.provider}'s own"
                differences.append(Difference("address", earlier.job.get("base_url") or own, self.job.base_url or own))
        if self.job.model is not None and self.job.model != binding.model:
            differences.append(Difference("model", binding.model, self.job.model))
        changed = self._find_changed_params(binding)
        differences += [each for each in changed if not self._changes_rows_only(each)]
        tries = _load_tries(binding)
        differences += [
            Difference(name, tries.get(name) or None, now)
            for name, now in self._tries.items()
            if (tries.get(name) or None) != (now or None)
        ]
        return tuple(differences)

    def find_row_differences(self, earlier: _Earlier) -> tuple[Difference, ...]:
        """What OUT was made otherwise with than the job names, and that changes rows alone."""
        return tuple(filter(self._changes_rows_only, self._find_changed_params(earlier.binding)))

    def keep(self, earlier: _Earlier) -> OutChoice | None:
        """The job in this OUT, with what its earlier runs decide; None where a file that they read is another now."""
        job, binding = self.keep_provider(earlier), earlier.binding
        own = {name: value for name, value in self._load_own_params(binding).items() if not self._is_permission(name)}
        left_out = {name: value for name, value in own.items() if name not in self._named}
        row_differences = self.find_row_differences(earlier)
        own |= {each.name: each.now for each in row_differences}
        own = {name: value for name, value in own.items() if name in left_out or name in self._own}
        if left_out:
            as_given = to_new_names(earlier.job.get("params") or {}, self._renamed)
            for values in (left_out, {name: as_given.get(name) for name in left_out}):
                merged = {**values, **job.params}
                if self._dump_own_params(merged) == own:
                    job = job.model_copy(update={"params": merged})
                    break
            else:
                return None
        tries = {name: value for name, value in _load_tries(binding).items() if name not in self._tries}
        kept = {**self.list_kept_names(earlier), **left_out, **tries}
        stored = Job.model_validate({"capability": "", "source": "", **{name: earlier.job.get(name) for name in tries}})
        update = {"out": earlier.out, **{name: getattr(stored, name) for name in tries}}
        return OutChoice(job.model_copy(update=update), kept, made_again=row_differences, formats=earlier.formats)

    def keep_provider(self, earlier: _Earlier) -> Job:
        """The job with OUT's provider and model, as far as it names none."""
        binding, stored, job = earlier.binding, earlier.job, self.job
        if self.provider is not None:
            is_same = self.provider == binding.provider
            return job.model_copy(update={"model": job.model or binding.model}) if is_same else job
        return job.model_copy(
            update={
                "provider": binding.provider,
                "model": job.model or binding.model,
                "base_url": stored.get("base_url"),
                "api_key_env": job.api_key_env or stored.get("api_key_env"),
            }
        )

    def is_made_like(self, earlier: _Earlier, *, exactly: bool) -> bool:
        """Whether an OUT was made with the job's parameters, and with the provider and model it names.

        Parameters that change rows alone may be others, unless ``exactly``.
        """
        if earlier.binding.capability != self.capability.name or self.find_differences(earlier):
            return False
        is_same = drop_empty(self._tries) == _load_tries(earlier.binding)
        before = self._load_params(earlier.binding)
        if exactly or not is_same:
            return is_same and before == self._all
        model = self.capability.params
        return select_sent_params(model, before) == select_sent_params(model, self._all)

    def name_own_out(self, base: _Earlier, differences: Sequence[Difference]) -> str:
        """The path of an OUT beside ``base`` whose name says what differs."""
        name = "-".join(to_name(each) for each in differences)
        if len(name) > _MAX_NAME_CHARACTERS:
            name = f"{name[:_MAX_NAME_CHARACTERS].rstrip('-.')}-{self.hash_settings()}"
        return f"{base.out}-{name or self.hash_settings()}"

    def hash_settings(self) -> str:
        """A short name for everything that the job names."""
        values = [self.provider, _is_rehearsal(self.provider, self.job.base_url), self.job.model, self._own]
        values += [tries] if (tries := drop_empty(self._tries)) else []
        return hash_value(values)

    def list_kept_names(self, earlier: _Earlier) -> dict[str, str]:
        """OUT's provider, address and model where the job names none and others would be chosen now."""
        binding, kept = earlier.binding, {}
        default = registry.choose_default_provider(os.environ, self.capability.operation)
        if self.provider is None and binding.provider != default:
            kept["provider"] = binding.provider
        if self.provider is None and earlier.job.get("base_url"):
            kept["address"] = str(earlier.job["base_url"])
        if self.job.model is None:
            with suppress(UsageError):  # it is refused where it is used
                default_model = registry.find_default_model(binding.provider, self.capability.operation)
                if default_model not in (None, binding.model):
                    kept["model"] = binding.model
        return kept

    def _find_changed_params(self, binding: Binding) -> list[Difference]:
        before = self._load_params(binding)
        names = [name for name in self._all if name in self._named and before[name] != self._all[name]]
        return [Difference(name, before[name], self._all[name]) for name in names]

    def _changes_rows_only(self, difference: Difference) -> bool:
        model, name = self.capability.params, difference.name
        return select_sent_params(model, {name: difference.before}) == select_sent_params(model, {name: difference.now})

    def _dump_own_params(self, params: dict[str, Any]) -> dict[str, Any] | None:
        """Parameters as OUT's binding has them; None when they are not valid, or read a file that is gone."""
        try:
            validated = validate_params(self.capability, params)
        except MediamillError:
            return None
        own = validated.model_dump(mode="json", exclude_defaults=True)
        return {name: value for name, value in own.items() if not self._is_permission(name)}

    def _load_own_params(self, binding: Binding) -> dict[str, Any]:
        """The parameters that OUT was made with and that are not at their default."""
        stored = to_new_names(orjson.loads(binding.params), self._renamed)
        return {name: value for name, value in stored.items() if name in self.capability.params.model_fields}

    def _load_params(self, binding: Binding) -> dict[str, Any]:
        """All parameters that OUT was made with."""
        fields = self.capability.params.model_fields
        defaults = {
            name: None if each.is_required() else to_jsonable_python(each.get_default(call_default_factory=True))
            for name, each in fields.items()
        }
        return {**defaults, **self._load_own_params(binding)}

    def _is_permission(self, name: str) -> bool:
        metadata = self.capability.params.model_fields[name].metadata
        return any(isinstance(each, Option) and each.permission for each in metadata)


def _find_own_out(named: _NamedSettings, base: _Earlier, differences: Sequence[Difference]) -> _Earlier | str:
    """The job's own OUT beside the default one: the one it already has, or the path of a new one."""
    own = named.name_own_out(base, differences)
    first = _load_earlier(own)
    if first is not None and named.is_made_like(first, exactly=True):
        return first
    beside = [*([first] if first else []), *filter(None, map(_load_earlier, _list_outs_beside(base)))]
    for exactly in (True, False):
        for earlier in beside:
            if named.is_made_like(earlier, exactly=exactly):
                return earlier
    return own if first is None else f"{own}-{named.hash_settings()}"


def _find_older_own_out(named: _NamedSettings, base: _Earlier) -> OutChoice | None:
    """The OUT that an earlier program made for parameters which change rows alone: what it bought stays in use."""
    row_differences = named.find_row_differences(base)
    if not row_differences or named.job.out:
        return None
    made_by = (base.binding.provider, base.binding.model, base.is_rehearsal)
    for out in _list_outs_beside(base):
        with suppress(MediamillError):  # one that cannot be read is not gone on with, and keeps no other from it
            older = _load_earlier(out)
            if older is None or (older.binding.provider, older.binding.model, older.is_rehearsal) != made_by:
                continue
            if named.is_made_like(older, exactly=True) and (kept := named.keep(older)) is not None:
                return replace(kept, instead_of=base.out, differences=row_differences)
    return None


def _list_outs_beside(base: _Earlier) -> list[str]:
    """The paths of folders beside the default OUT whose names begin with its."""
    parent, name = Path(base.out).parent, Path(base.out).name
    folders = sorted(parent.expanduser().glob(f"{glob.escape(name)}-*"))
    return [str(parent / folder.name) for folder in folders]


def _load_earlier(out_path: str, journal: str | None = None, *, moved: bool = False) -> _Earlier | None:
    """What an OUT is bound to; None where no run has begun one."""
    out = Path(out_path).expanduser().absolute()
    if not (has_journal(out) or read_out_id(out)):
        return None
    begun = open_begun_journal(out, journal, moved=moved)
    if begun is None:
        return None
    with closing(begun) as opened:
        binding = opened.output.load_binding() if opened.output.load_id(out) else None
        stored = (opened.output.load_job() or {}) if binding else {}
        formats = tuple(opened.output.load_formats()) if binding else ()
    return None if binding is None else _Earlier(out_path, binding, stored, formats)


def _load_tries(binding: Binding) -> dict[str, Any]:
    """What OUT was made with of more tries of an item; empty for one try."""
    tries: dict[str, Any] = orjson.loads(binding.params).get("tries") or {}
    return tries


def _is_rehearsal(provider: str | None, base_url: str | None) -> bool:
    """Whether a server of this machine stands in for a provider that has an address of its own."""
    if provider is None or base_url is None or not is_loopback(urlsplit(base_url).hostname or ""):
        return False
    try:
        return registry.load_config(provider).base_url is not None
    except UsageError:
        return False  # it is refused where it is used
