"""The signatures of the functions of capabilities: their parameters by name, with types, as editors show them.

They are made from a job's fields and the capability's parameters, which stay the only places of both. None is the
default of each and means that it is not given, so that OUT and the capability decide.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from mediamill.tasks import capabilities
from mediamill.tasks.job import Columns, Job
from mediamill.tasks.python import functions
from mediamill.tasks.python.job_arguments import COLUMN_OPTIONS
from mediamill.tasks.python.run_handle import RunHandle

_LEFT_OUT = frozenset(("capability", "source", "params", "confirmed", "schedule"))
_OWN_TYPES = {"out": "str | Path", "journal": "str | Path", "columns": "Mapping[str, Any]"}
_JSON_SCHEMA_TYPE = "Mapping[str, Any] | type[Any] | str | Path"
_CONTROLS = (
    ("wait", "bool", "True", "False returns at once, while the run works"),
    ("raise_on_failure", "bool", "False", "raise RunFailed where items failed or the run was stopped"),
    ("on_progress", "Callable[[Progress], None] | None", "None", "called about four times a second"),
)


class Argument(NamedTuple):
    """An argument of a function: name, type and default as they are written, and what it means."""

    name: str
    type: str
    default: str
    meaning: str


def list_arguments(capability: str) -> list[Argument]:
    """The arguments behind ``source``: the capability's own parameters, then what every job has."""
    params = capabilities.get(capability).params
    fields = [(params, name) for name in params.model_fields if name not in Job.model_fields]
    fields += [(Job, name) for name in Job.model_fields if name not in _LEFT_OUT]
    arguments = [
        Argument(name, f"{_render_field(model, name)} | None", "None", model.model_fields[name].description or "")
        for model, name in fields
    ]
    for option, field in COLUMN_OPTIONS.items():
        kind = "bool" if field == "infer_types" else "str"
        arguments.append(Argument(option, f"{kind} | None", "None", Columns.model_fields[field].description or ""))
    return [*arguments, *(Argument(*control) for control in _CONTROLS)]


def make_function(capability: str) -> Callable[..., RunHandle[Any]]:
    """The function of a capability, for ``mediamill.NAME``."""

    def function(source: str | Path, **options: Any) -> RunHandle[Any]:
        return functions.run(capability, source, **options)

    _describe(function, capability)
    return function


def make_async_function(capability: str) -> Callable[..., Awaitable[RunHandle[Any]]]:
    """The async function of a capability, for ``mediamill.aio.NAME``."""

    async def function(source: str | Path, **options: Any) -> RunHandle[Any]:
        return await functions.run_async(capability, source, **options)

    _describe(function, capability)
    return function


def _describe(function: Any, capability: str) -> None:
    """Give a function the name, the signature and the help of its capability."""
    arguments = list_arguments(capability)
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter("source", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation="str | Path"),
        *(
            inspect.Parameter(a.name, keyword, default={"True": True, "False": False}.get(a.default), annotation=a.type)
            for a in arguments
        ),
    ]
    function.__name__ = function.__qualname__ = capability.replace("-", "_")
    function.__module__ = "mediamill"
    function.__signature__ = inspect.Signature(parameters, return_annotation="RunHandle[Summary]")
    first = inspect.getdoc(type(capabilities.get(capability))) or capabilities.get_summary(capability)
    lines = [f"    {a.name}: {a.meaning}" for a in arguments]
    function.__doc__ = "\n".join([first, "", "Args:", "    source: what to do it to; see SOURCE above", *lines])


def _render_field(model: type[BaseModel], name: str) -> str:
    """The type of a field's values without None, as a call may give them."""
    if model is Job and name in _OWN_TYPES:
        return _OWN_TYPES[name]
    if name == "json_schema":
        return _JSON_SCHEMA_TYPE
    for validator in model.__pydantic_decorators__.field_validators.values():
        given = getattr(validator.info, "json_schema_input_type", PydanticUndefined)
        if name in validator.info.fields and given is not PydanticUndefined:
            return _render(given)
    return _render(model.model_fields[name].annotation)


def _render(kind: Any) -> str:
    """A type as it is written; a model is any mapping of its fields."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _render(get_args(kind)[0])
    if origin in (Union, UnionType):
        return " | ".join(dict.fromkeys(_render(member) for member in get_args(kind) if member is not NoneType))
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, get_args(kind)))}]".replace("'", '"')
    if origin is list:
        return f"list[{_render(get_args(kind)[0])}]"
    if origin is dict:
        return "Mapping[str, Any]"
    if kind is Decimal:
        return "float | str | Decimal"
    if kind in (str, int, float, bool):
        return str(kind.__name__)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "Mapping[str, Any]"
    return "Any"
