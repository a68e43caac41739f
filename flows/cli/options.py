"""The options that commands share, made from Job's own fields so that help and YAML never drift apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from mediamill.tasks.errors import UsageError
from mediamill.tasks.job import Job, load_job, make_job

PERMITTED = "mediamill.permitted"
"""Where a command's context lists the parameters that the person at the keyboard has allowed."""

_TEXT_FIELDS = (
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
_NUMBER_FIELDS = ("limit", "group", "concurrency", "rpm", "retries", "shard_size", "memory")
_FLAG_FIELDS = ("replace", "refresh")
_METAVARS = {
    "budget": "USD",
    "endpoint_hourly": "USD",
    "deadline": "TIME",
    "run_deadline": "TIME",
    "out": "FOLDER",
    "subtitles": "srt,vtt",
}


def make_job_options(leave_out: Iterable[str] = ()) -> list[click.Parameter]:
    """Every option a job has, except its capability and source, and those left out."""
    skipped = set(leave_out)
    options = [
        click.Option(["--config"], type=click.Path(path_type=Path), help="a job file whose values these override"),
        click.Option(["--set", "settings"], multiple=True, metavar="NAME=VALUE", help="a parameter, as YAML"),
        click.Option(["--path-column"], help="manifest column with paths or URLs"),
        click.Option(["--group-by"], metavar="COLUMN", help="manifest column whose equal neighbours form one item"),
        click.Option(["--text-column"], help="manifest column with texts"),
        click.Option(["--id-column"], help="manifest column with each row's id"),
        click.Option(["--allow-host", "allow_hosts"], multiple=True, help="private host that URLs may name"),
    ]
    return [
        *options,
        *(_make_job_option(name) for name in (*_TEXT_FIELDS, *_NUMBER_FIELDS, *_FLAG_FIELDS) if name not in skipped),
    ]


def _make_job_option(name: str) -> click.Option:
    about = Job.model_fields[name].description
    flag = "--" + name.replace("_", "-")
    if name in _FLAG_FIELDS:
        return click.Option([flag], is_flag=True, default=None, help=about)
    kind = {"rpm": float}.get(name, int) if name in _NUMBER_FIELDS else str
    metavar = _METAVARS.get(name, "N" if name in _NUMBER_FIELDS else "TEXT")
    return click.Option([flag], type=kind, default=None, metavar=metavar, help=about)


def make_run_options() -> list[click.Parameter]:
    """How a run talks, and whether it only quotes."""
    quote = click.Option(["--quote", "quote_only"], is_flag=True, help="say what it would cost, and stop")
    return [*make_output_options(), quote]


def make_output_options() -> list[click.Parameter]:
    """How a run talks."""
    prefect = "run as a Prefect flow run, or without; by default where a Prefect API is configured and answers"
    return [
        click.Option(["--debug"], is_flag=True, help="tracebacks, those of single items too"),
        click.Option(["--quiet"], is_flag=True, help="no progress, only the end"),
        click.Option(["--json", "as_json"], is_flag=True, help="one JSON object instead of text"),
        click.Option(["--yes"], is_flag=True, help="spend without asking"),
        click.Option(["--prefect/--no-prefect"], default=None, help=prefect),
    ]


def to_job_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """The job's fields that were given as options."""
    given = {
        name: options[name] for name in (*_TEXT_FIELDS, *_NUMBER_FIELDS, *_FLAG_FIELDS) if options.get(name) is not None
    }
    if options.get("allow_hosts"):
        given["allow_hosts"] = list(options["allow_hosts"])
    columns = {"id": options.get("id_column"), "path": options.get("path_column")}
    columns["text"] = options.get("text_column")
    columns["group"] = options.get("group_by")
    chosen = {name: value for name, value in columns.items() if value is not None}
    if chosen:
        given["columns"] = chosen
    given["params"] = _parse_settings(options.get("settings") or ())
    return given


def build_job(capability: str, source: str | None, options: Mapping[str, Any], params: Mapping[str, Any]) -> Job:
    """A Job from a command's options, over its ``--config`` file if there is one."""
    given = to_job_fields(options)
    given["params"] = {**{k: v for k, v in params.items() if v is not None}, **given["params"]}
    if options.get("config"):
        return load_job(options["config"], capability=capability, source=source, **given)
    if source is None:
        raise UsageError("SOURCE is missing", hint="name a folder, file, glob, URL or manifest")
    return make_job(capability=capability, source=source, **given)


def _parse_settings(pairs: tuple[str, ...]) -> dict[str, Any]:
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
