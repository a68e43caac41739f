"""A capability's command: its options and help are made from the capability's parameters and docstring."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

import click

from mediamill.flows.cli.completion import complete_choices, complete_source
from mediamill.flows.cli.help_layout import HelpfulCommand
from mediamill.flows.cli.options import PERMITTED, build_job, make_job_options, make_run_options, to_flag
from mediamill.flows.cli.run_command import run_job_command
from mediamill.tasks import capabilities
from mediamill.tasks.bounded.files import parse_yaml
from mediamill.tasks.capabilities.base import Capability
from mediamill.tasks.capabilities.parameters import Option
from mediamill.tasks.errors import UsageError
from mediamill.tasks.renamed_options import get_renamed_params
from mediamill.tasks.run.more_tries import get_second_opinion
from mediamill.tasks.run.sidecar_check import SIDECAR_OPTIONS, get_sidecar_kind

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_METAVARS = {int: "N", float: "NUMBER"}


_SCALARS = {str, int, float, bool, Decimal, Path}
"""Types whose values are parsed from text."""


class _YamlValue(click.ParamType[Any]):
    """A value that its parameter does not parse from text, such as a list or a choice of numbers; it is YAML."""

    name = "value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse the value as YAML; text that is not YAML stays text, for the parameter's own validation to refuse."""
        try:
            return parse_yaml(value)
        except ValueError:
            return value


_YAML_VALUE = _YamlValue()


def make_capability_command(name: str) -> click.Command:
    """Make the command of a capability: SOURCE, an option for each parameter, and the options that all runs share.

    Raises:
        UsageError: when another package's capability cannot be used.
    """
    capability = capabilities.get(name)
    own = make_param_options(capability)
    leave_out = () if get_sidecar_kind(capability) else SIDECAR_OPTIONS
    shared = [*make_job_options(leave_out, hide=_list_useless_options(capability)), *make_run_options()]
    _refuse_taken_names(capability, own, shared)

    def run(source: str | None, **options: Any) -> int:
        return run_job_command(build_job(name, source, options, {field: options[field] for field in own}), options)

    source = click.Argument(["source"], required=False, shell_complete=complete_source)
    description = inspect.getdoc(type(capability)) or capabilities.get_summary(name)
    params = [source, *own.values(), *shared]
    return HelpfulCommand(name, params=params, callback=run, help=description, own_heading="What is done")


def _list_useless_options(capability: Capability) -> list[str]:
    """The options of jobs that mean nothing to a capability, as it would refuse them or pass them over."""
    useless = [] if "audio" in capability.kinds else ["subtitles"]
    useless += [] if capability.kinds == {"image"} else ["group", "group_by"]
    useless += [] if get_second_opinion(capability) else ["check", "check_model"]
    return useless + ([] if "text" in capability.kinds else ["text_column"])


def make_param_options(capability: Capability) -> dict[str, click.Option]:
    """Make an option for each parameter that makes sense for all items at once, by the parameter's name.

    A parameter that was renamed has a hidden one under its old name, too.
    """
    fields = capability.params.model_fields
    validators = capability.params.__pydantic_decorators__.field_validators.values()
    parsed_from_text = {
        name
        for validator in validators
        if validator.info.mode in ("before", "wrap", "plain")
        for name in validator.info.fields
    }
    names = {name: name for name in fields} | dict(get_renamed_params(capability.name))
    options = {}
    for name, field_name in names.items():
        field = fields[field_name]
        if _find_declaration(field).offered:
            reads_text = field_name in parsed_from_text or _list_scalar_types(field.annotation) <= _SCALARS
            options[name] = _make_option(name, field, reads_text=reads_text, hidden=name != field_name)
    return options


def make_permission_options() -> list[click.Option]:
    """Make a flag for each parameter of any capability that only the user may allow.

    The flags that are given are listed in the context under ``PERMITTED``. Every capability is imported for it; one
    that cannot be imported has none.
    """
    found: dict[str, click.Option] = {}
    for capability in capabilities.iter_usable():
        for name in list_permissions(capability):
            field = capability.params.model_fields[name]
            names = [_find_declaration(field).flag or to_flag(name), name]
            description = f"{field.description} ({capability.name})"
            found.setdefault(
                name,
                click.Option(names, is_flag=True, help=description, expose_value=False, callback=_record_permission),
            )
    return list(found.values())


def _record_permission(context: click.Context, option: click.Parameter, given: bool) -> None:
    if given:
        context.meta.setdefault(PERMITTED, []).append(option.name)


def list_permissions(capability: Capability) -> list[str]:
    """The parameters of a capability that only the user may allow."""
    return [name for name, field in capability.params.model_fields.items() if _find_declaration(field).permission]


def _make_option(name: str, field: FieldInfo, *, reads_text: bool, hidden: bool) -> click.Option:
    """The option of a parameter.

    Args:
        name: the parameter's name, or its old one.
        field: what the parameter declares.
        reads_text: whether it reads its value from text by itself.
        hidden: whether it is the option of an old name, which the help leaves out.
    """
    declared = _find_declaration(field)
    flag = to_flag(name) if hidden else declared.flag or to_flag(name)
    if _list_types_beside_none(field.annotation) == [bool]:
        flag += f"/--no-{flag.removeprefix('--')}"
        return click.Option([flag, name], default=None, help=field.description, hidden=hidden)
    metavar = declared.metavar or _choose_metavar(name, field.annotation)
    return click.Option(
        [flag, name],
        type=str if reads_text else _YAML_VALUE,
        default=None,
        metavar=metavar,
        help=field.description,
        hidden=hidden,
        shell_complete=complete_choices(metavar[1:-1].split("|")) if metavar.startswith("[") else None,
    )


def _find_declaration(field: FieldInfo) -> Option:
    return next((metadata for metadata in field.metadata if isinstance(metadata, Option)), Option())


def _choose_metavar(name: str, annotation: Any) -> str:
    """What the help shows for a value: its choices, SECONDS, N or NUMBER, else TEXT."""
    kinds = _list_types_beside_none(annotation)
    if len(kinds) == 1 and get_origin(kinds[0]) is Literal:
        return f"[{'|'.join(map(str, get_args(kinds[0])))}]"
    if name.endswith("seconds"):
        return "SECONDS"
    return _METAVARS.get(kinds[0], "TEXT") if len(kinds) == 1 else "TEXT"


def _list_types_beside_none(annotation: Any) -> list[Any]:
    """The types that a value may have beside None."""
    is_union = get_origin(annotation) in (Union, UnionType)
    return [kind for kind in get_args(annotation) if kind is not NoneType] if is_union else [annotation]


def _list_scalar_types(annotation: Any) -> set[Any]:
    """The types that a value may have; a choice of texts counts as text."""
    kinds = _list_types_beside_none(annotation)
    return {str if get_origin(kind) is Literal and _is_text_choice(kind) else kind for kind in kinds}


def _is_text_choice(choice: Any) -> bool:
    return all(isinstance(value, str) for value in get_args(choice))


def _refuse_taken_names(capability: Capability, own: Mapping[str, click.Option], shared: list[click.Parameter]) -> None:
    """Refuse a parameter whose option would hide an option that all runs share.

    Raises:
        UsageError: naming the parameter.
    """
    taken = {"source", *(each for option in shared for each in (option.name, *option.opts, *option.secondary_opts))}
    for name, option in own.items():
        if taken & {name, *option.opts, *option.secondary_opts}:
            raise UsageError(
                f"{capability.name}: the parameter {name!r} has the name of an option that every run has",
                hint="rename it, or leave it out with Annotated[..., Option(offered=False)]",
            )
