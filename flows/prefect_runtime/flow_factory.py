"""Makes the flow of a capability; its parameters, which Prefect shows as a form, are made from the job's fields."""

from __future__ import annotations

import functools
import importlib.util
import inspect
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.json_schema import SkipJsonSchema

from mediamill.flows.prefect_runtime.flow_call import JobRequest
from mediamill.flows.prefect_runtime.job_flow import JobFlow
from mediamill.tasks import capabilities
from mediamill.tasks.job import Job
from mediamill.tasks.job_loading import make_job
from mediamill.tasks.providers import registry
from mediamill.tasks.renamed_options import JOB_OPTIONS, RenamedFields
from mediamill.tasks.run.plan import Retry
from mediamill.tasks.untrusted_text import escape_controls

_MAIN_FIELDS = ("provider", "model", "out", "budget", "limit")
_FIELDS_WITHOUT_OPTION = ("capability", "source", "params", "schedule")
_MONEY_FIELDS = ("budget", "endpoint_hourly")
_FORM_TYPES: Mapping[str, Any] = {
    "budget": float,
    "endpoint_hourly": float,
    "timeout": float | str,
    "run_deadline": float | str,
    "wait_for_provider": float | str,
    "provider": Literal[registry.provider_names()],
}
"""Types that a form shows as one simple field; the job itself validates the values again."""


def _make_form_field(name: str) -> tuple[Any, Any]:
    """A job field's type and default for a form."""
    field = Job.model_fields[name]
    if not field.is_required() and field.default is None:
        kind = _FORM_TYPES.get(name) or _remove_none(field.annotation)
        return _make_optional(kind), Field(None, description=field.description)
    return field.annotation, field


def _make_optional(kind: Any) -> Any:
    """The type or None, without a second field for None in the form."""
    return kind | SkipJsonSchema[None]  # type: ignore[misc]


def _remove_none(kind: Any) -> Any:
    return next(member for member in kind.__args__ if member is not type(None))


class _OptionsBase(RenamedFields):
    model_config = ConfigDict(extra="forbid")
    renamed: ClassVar[Mapping[str, str]] = JOB_OPTIONS


def _make_options_model() -> type[BaseModel]:
    retry = Field(None, description="do failed items again instead of reading the source: kinds of failure, or all")
    block = Field(None, description="name of a Prefect Secret block that holds the provider's key")
    fields: dict[str, Any] = {
        "retry": (_make_optional(list[str]), retry),
        "api_key_block": (_make_optional(str), block),
    }
    fields |= {
        name: _make_form_field(name)
        for name in Job.model_fields
        if name not in (*_MAIN_FIELDS, *_FIELDS_WITHOUT_OPTION)
    }
    docstring = "Options of the run. Each has a default that suits most runs."
    return create_model("RunOptions", __base__=_OptionsBase, __doc__=docstring, **fields)


RunOptions = _make_options_model()


@functools.cache
def make_capability_flow(name: str) -> JobFlow:
    """Make the flow of a capability; a flow file needs nothing else.

    Its parameters are ``source``, a job's main fields, ``params`` (the capability's own) and ``options`` (the rest).

    Raises:
        NoSuchOption: when there is no such capability.
    """
    capability = capabilities.get(name)
    description = (inspect.getdoc(type(capability)) or name).splitlines()[0]
    signature = _make_signature(capability.params)

    def request(source: str, **parameters: Any) -> JobRequest:
        options = _dump_changed_fields(parameters.get("options"))
        return JobRequest(
            _parse_form(name, source, parameters), Retry.from_kinds(options.get("retry")), options.get("api_key_block")
        )

    request.__name__ = request.__qualname__ = name.replace("-", "_")
    request.__module__ = _find_flow_module(request.__name__)
    request.__signature__ = signature  # type: ignore[attr-defined]
    request.__doc__ = _make_docstring(description, signature)
    return JobFlow(request, name=name, flow_run_name=_name_capability_run, description=description)


def _find_flow_module(name: str) -> str:
    """The module from which a worker imports a flow."""
    own = f"mediamill.flows.{name}"
    return own if importlib.util.find_spec(own) is not None else "mediamill.flows.capability_flows"


def _make_signature(params: type[BaseModel]) -> inspect.Signature:
    keyword_only = inspect.Parameter.KEYWORD_ONLY
    source = _annotate(str, Job.model_fields["source"].description)
    parameters = [inspect.Parameter("source", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=source)]
    for name in _MAIN_FIELDS:
        kind, description = _make_form_field(name)
        annotation = _annotate(kind, description.description)
        parameters.append(inspect.Parameter(name, keyword_only, annotation=annotation, default=None))
    for name, model, description in (
        ("params", _make_form_model(params), "the capability's own parameters"),
        ("options", RunOptions, "options of the run"),
    ):
        needed = any(field.is_required() for field in model.model_fields.values())
        default = inspect.Parameter.empty if needed else model()
        parameters.append(
            inspect.Parameter(name, keyword_only, annotation=_annotate(model, description), default=default)
        )
    return inspect.Signature(parameters, return_annotation=State[Any])


def _make_form_model(params: type[BaseModel]) -> type[BaseModel]:
    """The same model with a schema that shows an optional value as one field."""

    def flatten_optional_fields(schema: dict[str, Any]) -> None:
        for field in schema.get("properties", {}).values():
            types = [kind for kind in field.get("anyOf", ()) if kind != {"type": "null"}]
            if len(types) == 1 and field.get("default", ...) is None:
                del field["anyOf"]
                field.update(types[0])

    return create_model(
        params.__name__,
        __base__=params,
        __module__=params.__module__,
        __doc__=params.__doc__,
        __cls_kwargs__={"json_schema_extra": flatten_optional_fields},
    )


def _make_docstring(description: str, signature: inspect.Signature) -> str:
    """The docstring for ``help()``, from which Prefect also takes the form's descriptions."""
    args = [
        f"    {name}: {parameter.annotation.__metadata__[0].description}"
        for name, parameter in signature.parameters.items()
    ]
    return "\n".join([description, "", "Args:", *args])


def _annotate(kind: Any, description: str | None) -> Any:
    return Annotated[kind, Field(description=description)]


def _parse_form(capability: str, source: str, parameters: Mapping[str, Any]) -> Job:
    """Make the job that a form describes; values left at their default are left out."""
    fields = {name: value for name, value in parameters.items() if name in _MAIN_FIELDS}
    fields |= {
        name: value
        for name, value in _dump_changed_fields(parameters.get("options")).items()
        if name in Job.model_fields
    }
    exact_fields = {name: _to_exact_value(name, value) for name, value in fields.items() if value is not None}
    return make_job(
        capability=capability, source=source, params=_dump_changed_fields(parameters.get("params")), **exact_fields
    )


def _to_exact_value(name: str, value: Any) -> Any:
    """A form's value as the job takes it: money, a float in a form, becomes a Decimal of the same digits."""
    return Decimal(str(value)) if name in _MONEY_FIELDS else value


def _dump_changed_fields(model: BaseModel | None) -> dict[str, Any]:
    return model.model_dump(mode="json", exclude_defaults=True) if model is not None else {}


def to_flow_parameters(job: Job, retry: Retry | None = None) -> dict[str, Any]:
    """The flow parameters that describe a job: the reverse of ``_parse_form``."""
    fields = job.model_dump(mode="json", exclude_defaults=True, exclude={"capability", "schedule"})
    fields |= {name: float(fields[name]) for name in _MONEY_FIELDS if name in fields}  # as a form's number field has it
    options = {name: fields.pop(name) for name in list(fields) if name not in (*_MAIN_FIELDS, *_FIELDS_WITHOUT_OPTION)}
    if retry is not None:
        options["retry"] = retry.to_list()
    return {**fields, "options": options} if options else fields


def _name_capability_run() -> str:
    source = escape_controls(str(flow_run.parameters.get("source") or ""))
    return f"{flow_run.flow_name} {Path(source).name or source}".strip()
