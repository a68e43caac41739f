"""Chain: the validated description of steps that follow one another, from YAML or Python."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mediamill.tasks.bounded.expressions import Expression
from mediamill.tasks.bounded.files import load_yaml_file
from mediamill.tasks.errors import NoSuchOption, UsageError
from mediamill.tasks.escalation import Escalation
from mediamill.tasks.field_errors import get_first_error
from mediamill.tasks.job import AllowedPaths, Columns, Job, Parameters, Usd
from mediamill.tasks.job_loading import make_job
from mediamill.tasks.notification import Notifications
from mediamill.tasks.renamed_options import TASK_OPTIONS, RenamedFields, get_renamed_params, override
from mediamill.tasks.schedule import Schedule

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_JOB_FIELDS = (
    *("provider", "model", "base_url", "api_key_env"),
    *("check", "check_model", "until", "escalate"),
    *("concurrency", "rpm", "timeout", "retries", "subtitles", "beside", "overwrite", "skip_existing"),
)


class _StrictSpec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Task(_StrictSpec, RenamedFields):
    """What one step does, and with which provider: a job without source, OUT and budget, which the chain sets."""

    renamed: ClassVar[Mapping[str, str]] = TASK_OPTIONS

    capability: str = Field(description="what is done to each row, e.g. transcribe")
    provider: str | None = Field(None, description="the provider; default: the first one whose key is set, else local")
    model: str | None = Field(None, description="the provider's model name; default from configs/providers")
    base_url: str | None = Field(None, description="address of another server with the provider's API")
    api_key_env: str | None = Field(
        None, description="NAME of the environment variable that holds the key; default: the provider's own"
    )
    params: Parameters = Field(default_factory=dict, description="the capability's own parameters")
    check: bool | None = Field(None, description="try a row with doubts once more; as for a job")
    check_model: str | None = Field(None, description="the model of the second try; as for a job")
    until: str | None = Field(None, description="with escalate: condition on the task's own row; as for a job")
    escalate: tuple[Escalation, ...] | None = Field(None, description="who tries a row next; as for a job")
    of: dict[str, str] = Field(
        default_factory=dict, description="the column for path, for text or for a parameter, e.g. {text: heard_text}"
    )
    concurrency: int | None = Field(None, description="maximum requests in flight; default: the provider's limit")
    rpm: float | None = Field(None, description="maximum requests per minute; default: the provider's limit")
    timeout: float | str | None = Field(
        None, description="maximum time of one attempt, e.g. 90s; default: the operation's own"
    )
    retries: int | None = Field(None, description="maximum retries of one request; default 5")
    subtitles: list[str] | str | None = Field(
        None, description="subtitles as NAME.srt and so on in the step's OUT: srt, vtt, txt, json; default: none"
    )
    beside: bool = Field(
        default=False, description="write the text beside each file of the source, too: NAME.srt or NAME.txt"
    )
    overwrite: bool = Field(
        default=False, description="with beside: write over files that the step did not write, or that were changed"
    )
    skip_existing: bool = Field(
        default=False,
        description="in the first step: the chain passes over items that have a file of this step beside them",
    )

    def job_fields(self) -> dict[str, Any]:
        """The fields of a job that the task sets."""
        fields = {name: getattr(self, name) for name in _JOB_FIELDS if getattr(self, name) is not None}
        if self.escalate is not None:
            fields["escalate"] = [each.model_dump(exclude_defaults=True) for each in self.escalate]
        return {"capability": self.capability, "params": self.params, **fields}

    def template_columns(self) -> set[str]:
        """The columns that the templates among its parameters use."""
        from jinja2 import Environment, TemplateSyntaxError, meta

        columns: set[str] = set()
        for template in self.params.values():
            if isinstance(template, str) and "{" in template:
                try:
                    columns |= meta.find_undeclared_variables(Environment(autoescape=True).parse(template))
                except (TemplateSyntaxError, ValueError, RecursionError):  # its own task refuses it
                    continue
        return columns

    def with_changes(self, change: dict[str, Any]) -> Task:
        """The task with a repeat's changes; parameters are changed one by one, unless the capability changes.

        Raises:
            ValidationError: when it changes a field that a task does not have.
        """
        fields = override(self.model_dump(exclude_defaults=True), change, TASK_OPTIONS)
        params = change.get("params")
        if isinstance(params, dict) and fields["capability"] == self.capability:
            fields["params"] = override(self.params, params, get_renamed_params(self.capability))
        return Task.model_validate(fields)


class Step(_StrictSpec):
    """One step: a task for each row, several tasks in parallel, or only a selection of rows.

    The next step knows its columns by their plain names, later steps and the results as ``NAME_column``.
    """

    name: str = Field(description="short name of the step; its columns begin with it")
    task: Task | None = Field(None, description="what is done to each row")
    parallel: dict[str, Task] = Field(default_factory=dict, description="several tasks on every row, by name")
    when: str | None = Field(
        None, description="condition on a row, an expression; the step skips rows for which it is false"
    )
    keep: str | None = Field(
        None, description="condition on a row after the step; rows for which it is false are dropped"
    )
    until: str | None = Field(
        None, description="condition on a row; the step is repeated for rows for which it is false"
    )
    again: tuple[dict[str, Any], ...] = Field(
        (), max_length=10, description="what each repeat changes, e.g. [{model: a-stronger-one, params: {seed: 2}}]"
    )

    @field_validator("name")
    @classmethod
    def _validate_name(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError("a name is up to 40 small letters, digits and underscores")
        return value

    @field_validator("when", "keep", "until")
    @classmethod
    def _validate_expression(cls, value: str | None) -> str | None:
        if value is not None:
            Expression(value)
        return value

    @model_validator(mode="after")
    def _validate_step(self) -> Step:
        if bool(self.task) + bool(self.parallel) > 1:
            raise ValueError("a step has one task or several in parallel, not both")
        if not self.task and not self.parallel and not self.keep:
            raise ValueError("a step has a task, several in parallel, or rows to keep")
        if (self.until is None) != (not self.again):
            raise ValueError("until and again go together: the condition to reach, and what each repeat changes")
        if self.until and not self.task:
            raise ValueError("until repeats one task")
        for name in self.parallel:
            self._validate_name(name)
        return self

    def branches(self) -> dict[str, Task]:
        """The tasks by the name that their columns begin with."""
        return {self.name: self.task} if self.task else dict(self.parallel)


class Chain(_StrictSpec):
    """Steps over one source, with one budget and one OUT."""

    source: str = Field(description="folder, glob, file, URL or manifest of the first step")
    out: str | None = Field(
        None, description="folder for the results of all steps; default data/results/chain-NAME-HASH"
    )
    budget: Usd | None = Field(
        None, description="maximum cost of all steps together in US dollars, over all runs; default: none"
    )
    confirmed: bool = Field(
        default=False, description="a paid chain may start without a budget where nobody is asked: what --yes says"
    )
    limit: Annotated[int, Field(gt=0)] | None = Field(
        None, description="only the first N items of the source; default: all"
    )
    columns: Columns = Field(default_factory=Columns, description="how the source's columns are read")
    allow_hosts: list[str] = Field(default_factory=list, description="private hosts that source URLs may name")
    allow_paths: AllowedPaths = Field(
        default=False,
        description="let rows name files anywhere on this machine, or below a list of folders; "
        "default: only below the source's folder and OUT",
    )
    moved: bool = Field(default=False, description="the source or OUT was moved: go on with the results there are")
    copied: bool = Field(default=False, description="OUT is a copy of another: make it an OUT of its own")
    settle: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None, description="seconds for which a file of a folder must be unchanged to be taken; default: as for a job"
    )
    notify: Notifications = Field(default_factory=list, description="who is told how a run ended; as for a job")
    schedule: Schedule | None = Field(None, description="when its deployment runs")
    steps: tuple[Step, ...] = Field(min_length=1, max_length=50, description="the steps in their order")

    @model_validator(mode="after")
    def _validate_names(self) -> Chain:
        names = [name for step in self.steps for name in {step.name, *step.branches()}]
        repeated = {name for name in names if names.count(name) > 1}
        if repeated:
            raise ValueError(f"two steps are called {min(repeated)!r}")
        if not self.steps[0].branches():
            raise ValueError("the first step has a task")
        if self.steps[0].when:
            raise ValueError("the first step is for every item: when comes later")
        return self

    @property
    def out_path(self) -> Path:
        """Where everything goes."""
        if self.out:
            return Path(self.out).expanduser().absolute()
        job = make_job(capability="chain", source=self.source)
        return Path(job.out_path).absolute()

    def tasks(self) -> Iterator[tuple[Step, str, Task]]:
        """Every task with its step and its name."""
        for step in self.steps:
            for name, task in step.branches().items():
                yield step, name, task


def is_chain(data: Any) -> bool:
    """True for the mapping of a file that holds steps."""
    return isinstance(data, dict) and "steps" in data


def load_yaml_or_none(path: Path) -> Any:
    """The contents of a YAML file, to tell chains from jobs; None when it cannot be read.

    :func:`~mediamill.tasks.job_loading.load_job` then reports the error.
    """
    try:
        return load_yaml_file(path)
    except ValueError:
        return None


def make_chain(data: dict[str, Any], where: str = "", **overrides: Any) -> Chain:
    """A Chain from plain values; ``overrides`` that are not None win.

    Raises:
        UsageError: naming the option, the step and the error.
    """
    fields = {**data, **{name: value for name, value in overrides.items() if value is not None}}
    try:
        chain = Chain.model_validate(fields)
    except ValidationError as error:
        raise _to_chain_error(error, where) from None
    for step, name, task in chain.tasks():
        _validate_task(chain, step, name, task)
    return chain


def _validate_task(chain: Chain, step: Step, name: str, task: Task) -> None:
    """Refuse a task or a repeat that makes no valid job, before anything is paid."""
    from mediamill.tasks import capabilities
    from mediamill.tasks.run.params import validate_params
    from mediamill.tasks.run.sidecar_check import check_sidecars

    for change in ({}, *step.again):
        try:
            changed = task.with_changes(change)
        except ValidationError as error:
            raise _to_chain_error(error, f"step {name}: again", Task) from None
        try:
            job: Job = make_job(f"step {name}", source=chain.source, **changed.job_fields())
            capability = capabilities.get(job.capability)
            check_sidecars(job, capability, validate_params(capability, job.params))
            _check_step_sidecars(chain, step, changed)
        except UsageError as error:
            message = error.message if error.message.startswith("step ") else f"step {name}: {error.message}"
            raise UsageError(message, hint=error.hint) from None


def _check_step_sidecars(chain: Chain, step: Step, task: Task) -> None:
    """Refuse files beside the source where they could not be right.

    Raises:
        UsageError: naming the option.
    """
    if task.skip_existing and (step is not chain.steps[0] or step.task is None):
        raise UsageError("skip_existing is for the only task of the first step, as later ones would lose rows")
    if task.beside and step.until:
        raise UsageError("beside and until exclude each other, as each repeat would meet the files of the one before")
    if task.beside and "path" in task.of:
        raise UsageError("beside is for the source's own files, and of.path names others")


def _to_chain_error(error: ValidationError, where: str, model: type[BaseModel] = Chain) -> UsageError:
    first = get_first_error(error, model)
    prefix = f"{where}: " if where else ""
    if first.is_unknown:
        known = model.model_fields if len(first.path) == 1 else {**Step.model_fields, **Task.model_fields}
        return NoSuchOption("option", first.path[-1], known, where=f"{prefix}{first.name}")
    return UsageError(f"{prefix}{first}")
