"""The options that commands share, made from Job's own fields so that help and YAML never drift apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
import yaml

from mediamill.tasks.errors import UsageError
from mediamill.tasks.job import Job, load_job, make_job

F = TypeVar("F", bound=Callable[..., Any])

_TEXTS = (
    "provider",
    "model",
    "base_url",
    "api_key_env",
    "out",
    "journal",
    "budget",
    "endpoint_hourly",
    "deadline",
    "run_deadline",
    "subtitles",
)
_NUMBERS = ("limit", "group", "concurrency", "rpm", "retries", "shard_size", "memory")
_FLAGS = ("replace", "refresh")


def job_options(command: F) -> F:
    """Every option a job has, except its capability and source."""
    return _job_options(command, (*_TEXTS, *_NUMBERS, *_FLAGS))


def job_options_but_out(command: F) -> F:
    """The same for commands whose argument is OUT."""
    return _job_options(command, tuple(name for name in (*_TEXTS, *_NUMBERS, *_FLAGS) if name != "out"))


def _job_options(command: F, names: tuple[str, ...]) -> F:
    for name in reversed(names):
        about = Job.model_fields[name].description
        flag = "--" + name.replace("_", "-")
        if name in _FLAGS:
            command = click.option(flag, is_flag=True, default=None, help=about)(command)
        else:
            kind = {"rpm": float}.get(name, int) if name in _NUMBERS else str
            command = click.option(flag, type=kind, default=None, metavar=_metavar(name), help=about)(command)
    command = click.option("--allow-host", "allow_hosts", multiple=True, help="private host that URLs may name")(
        command
    )
    command = click.option("--id-column", help="manifest column with each row's id")(command)
    command = click.option("--text-column", help="manifest column with texts")(command)
    command = click.option("--group-by", metavar="COLUMN", help="manifest column whose equal neighbours form one item")(
        command
    )
    command = click.option("--path-column", help="manifest column with paths or URLs")(command)
    command = click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="a parameter, as YAML")(
        command
    )
    return click.option("--config", type=click.Path(path_type=Path), help="a job file whose values these override")(
        command
    )


def param_options(capability: str, *names: str) -> Callable[[F], F]:
    """Options for a capability's common parameters, with the help their fields have."""
    from mediamill.tasks import capabilities

    fields = capabilities.get(capability).params.model_fields

    def declare(command: F) -> F:
        for name in reversed(names):
            flag = "--" + name.replace("_", "-")
            if fields[name].annotation in (bool, bool | None):
                flag += f"/--no-{flag.removeprefix('--')}"
            kind = {"type": str, "metavar": "TEXT"} if "/" not in flag else {}
            command = click.option(flag, default=None, help=fields[name].description, **kind)(command)  # type: ignore[arg-type]
        return command

    return declare


def run_options(command: F) -> F:
    """How a run talks, and whether it only quotes."""
    return talk_options(
        click.option("--quote", "quote_only", is_flag=True, help="say what it would cost, and stop")(command)
    )


def talk_options(command: F) -> F:
    """How a run talks."""
    for option in (
        click.option(
            "--prefect/--no-prefect",
            default=None,
            help="run as a Prefect flow run, or without; by default where a Prefect API is configured and answers",
        ),
        click.option("--yes", is_flag=True, help="spend without asking"),
        click.option("--json", "as_json", is_flag=True, help="one JSON object instead of text"),
        click.option("--quiet", is_flag=True, help="no progress, only the end"),
        click.option("--debug", is_flag=True, help="tracebacks, those of single items too"),
    ):
        command = option(command)
    return command


def given_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """The job's fields that were given as options."""
    given = {name: options[name] for name in (*_TEXTS, *_NUMBERS, *_FLAGS) if options.get(name) is not None}
    if options.get("allow_hosts"):
        given["allow_hosts"] = list(options["allow_hosts"])
    columns = {"id": options.get("id_column"), "path": options.get("path_column")}
    columns["text"] = options.get("text_column")
    columns["group"] = options.get("group_by")
    chosen = {name: value for name, value in columns.items() if value is not None}
    if chosen:
        given["columns"] = chosen
    given["params"] = _settings(options.get("settings") or ())
    return given


def build_job(capability: str, source: str | None, options: Mapping[str, Any], params: Mapping[str, Any]) -> Job:
    """A Job from a command's options, over its ``--config`` file if there is one."""
    given = given_fields(options)
    given["params"] = {**{k: v for k, v in params.items() if v is not None}, **given["params"]}
    if options.get("config"):
        return load_job(options["config"], capability=capability, source=source, **given)
    if source is None:
        raise UsageError("SOURCE is missing", hint="name a folder, file, glob, URL or manifest")
    return make_job(capability=capability, source=source, **given)


def _settings(pairs: tuple[str, ...]) -> dict[str, Any]:
    settings = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {pair}: write NAME=VALUE")
        try:
            settings[name.strip().replace("-", "_")] = yaml.safe_load(value)
        except yaml.YAMLError:
            settings[name.strip()] = value
    return settings


_METAVARS = {
    "budget": "USD",
    "endpoint_hourly": "USD",
    "deadline": "TIME",
    "run_deadline": "TIME",
    "rpm": "N",
    "out": "FOLDER",
    "subtitles": "srt,vtt",
}


def _metavar(name: str) -> str:
    return _METAVARS.get(name, "N" if name in _NUMBERS else "TEXT")
