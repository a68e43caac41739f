"""A capability's command: its options, help and run, made from the capability's own file."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

import click
import yaml

from mediamill.flows.cli.options import PERMITTED, build_job, job_options, run_options
from mediamill.flows.cli.run_command import run_job
from mediamill.tasks import capabilities
from mediamill.tasks.capabilities.base import Capability
from mediamill.tasks.capabilities.parameters import Option
from mediamill.tasks.errors import UsageError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_METAVARS = {int: "N", float: "NUMBER"}


_SCALARS = {str, int, float, bool, Decimal, Path}
"""Types whose values are read from text."""


class _Value(click.ParamType[Any]):
    """What a parameter does not read from text by itself, such as a list or a choice of numbers; as in a job file."""

    name = "value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value as YAML; what is none goes on as text, for the parameter's own check to refuse."""
        try:
            return yaml.safe_load(value)
        except yaml.YAMLError:
            return value


_VALUE = _Value()


def capability_command(name: str) -> click.Command:
    """The command of a capability: SOURCE, an option for each parameter, and those that all runs share.

    Raises:
        UsageError: when another package's capability cannot be used.
    """
    capability = capabilities.get(name)
    own = param_options(capability)
    shared = [*job_options(), *run_options()]
    _check_names(capability, own, shared)

    def run(source: str | None, **options: Any) -> int:
        return run_job(build_job(name, source, options, {field: options[field] for field in own}), options)

    source = click.Argument(["source"], required=False)
    about = inspect.getdoc(type(capability)) or capabilities.summary(name)
    return click.Command(name, params=[source, *own.values(), *shared], callback=run, help=about)


def param_options(capability: Capability) -> dict[str, click.Option]:
    """An option for each parameter that makes sense for all items at once, by the parameter's name."""
    fields = capability.params.model_fields
    validators = capability.params.__pydantic_decorators__.field_validators.values()
    reading = {name for one in validators if one.info.mode in ("before", "wrap", "plain") for name in one.info.fields}
    return {
        name: _option(name, field, readable=name in reading or _parts(field.annotation) <= _SCALARS)
        for name, field in fields.items()
        if _declared(field).offered
    }


def permission_options() -> list[click.Option]:
    """A flag for each parameter, of any capability, that is for the person at the keyboard to allow.

    What is given is listed in the context under ``PERMITTED``. Every capability is imported for it; one that cannot
    be has nothing to allow.
    """
    found: dict[str, click.Option] = {}
    for capability in capabilities.iter_usable():
        for name in permissions(capability):
            field = capability.params.model_fields[name]
            names = [_declared(field).flag or _flag(name), name]
            about = f"{field.description} ({capability.name})"
            found.setdefault(
                name, click.Option(names, is_flag=True, help=about, expose_value=False, callback=_note_permission)
            )
    return list(found.values())


def _note_permission(context: click.Context, option: click.Parameter, given: bool) -> None:
    if given:
        context.meta.setdefault(PERMITTED, []).append(option.name)


def permissions(capability: Capability) -> list[str]:
    """The parameters of a capability that are for the person at the keyboard to allow."""
    return [name for name, field in capability.params.model_fields.items() if _declared(field).permission]


def _option(name: str, field: FieldInfo, *, readable: bool) -> click.Option:
    """The option of a parameter; ``readable`` where it reads its value from text by itself."""
    declared = _declared(field)
    flag = declared.flag or _flag(name)
    if _kinds(field.annotation) == [bool]:
        flag += f"/--no-{flag.removeprefix('--')}"
        return click.Option([flag, name], default=None, help=field.description)
    metavar = declared.metavar or _metavar(field.annotation)
    kind = str if readable else _VALUE
    return click.Option([flag, name], type=kind, default=None, metavar=metavar, help=field.description)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _declared(field: FieldInfo) -> Option:
    return next((each for each in field.metadata if isinstance(each, Option)), Option())


def _metavar(annotation: Any) -> str:
    """What help shows for a value: its choices, what kind of number it is, or just TEXT."""
    kinds = _kinds(annotation)
    if len(kinds) == 1 and get_origin(kinds[0]) is Literal:
        return f"[{'|'.join(map(str, get_args(kinds[0])))}]"
    return _METAVARS.get(kinds[0], "TEXT") if len(kinds) == 1 else "TEXT"


def _kinds(annotation: Any) -> list[Any]:
    """The types a value may have, beside nothing."""
    union = get_origin(annotation) in (Union, UnionType)
    return [kind for kind in get_args(annotation) if kind is not NoneType] if union else [annotation]


def _parts(annotation: Any) -> set[Any]:
    """The types a value may have; a choice of texts is a text."""
    kinds = _kinds(annotation)
    return {str if get_origin(kind) is Literal and _only_texts(kind) else kind for kind in kinds}


def _only_texts(choice: Any) -> bool:
    return all(isinstance(each, str) for each in get_args(choice))


def _check_names(capability: Capability, own: Mapping[str, click.Option], shared: list[click.Parameter]) -> None:
    """Refuse a parameter whose option would hide one that all runs share.

    Raises:
        UsageError: naming the parameter.
    """
    taken = {"source", *(each for option in shared for each in (option.name, *option.opts, *option.secondary_opts))}
    for name, option in own.items():
        if taken & {name, *option.opts, *option.secondary_opts}:
            raise UsageError(
                f"{capability.name}: the parameter {name!r} is called like an option that every run has",
                hint="rename it, or leave it out with Annotated[..., Option(offered=False)]",
            )
