"""The options that commands share, made from Job's own fields so that help and YAML cannot differ."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from mediamill.flows.cli.completion import Completer, complete_list, complete_model, complete_out, complete_provider
from mediamill.tasks.bounded.files import parse_yaml
from mediamill.tasks.errors import UsageError
from mediamill.tasks.job import Columns, Job
from mediamill.tasks.job_loading import make_job
from mediamill.tasks.renamed_options import JOB_OPTIONS, get_renamed_params, to_new_names

PERMITTED = "mediamill.permitted"
"""Key in a command's context under which the permissions given on the command line are listed."""

_TEXT_FIELDS = (
    "provider",
    "model",
    "base_url",
    "api_key_env",
    "check_model",
    "until",
    "out",
    "journal",
    "budget",
    "endpoint_hourly",
    "timeout",
    "run_deadline",
    "wait_for_provider",
    "subtitles",
)
_NUMBER_FIELDS = (
    "limit",
    "group",
    "concurrency",
    "processes",
    "rpm",
    "retries",
    "max_failures_in_a_row",
    "shard_size",
    "max_memory",
    "settle",
)
_FLAG_FIELDS = ("replace", "moved", "copied", "no_cache", "allow_paths", "beside", "overwrite", "skip_existing")
_METAVARS = {
    "budget": "USD",
    "endpoint_hourly": "USD",
    "timeout": "TIME",
    "run_deadline": "TIME",
    "wait_for_provider": "TIME",
    "out": "FOLDER",
    "subtitles": "srt,vtt",
    "max_memory": "BYTES",
    "settle": "SECONDS",
    "base_url": "URL",
    "provider": "NAME",
    "model": "NAME",
    "check_model": "NAME",
    "until": "EXPRESSION",
    "api_key_env": "NAME",
    "journal": "FOLDER",
}
_SHORT = {"out": "-o", "limit": "-n"}
_COMPLETERS: Mapping[str, Completer] = {
    "provider": complete_provider,
    "model": complete_model,
    "out": complete_out,
    "subtitles": complete_list(["srt", "vtt", "txt", "json"]),
}


class _Bytes(click.types.IntParamType):
    """A number of bytes, written out; the error of ``1GB`` names the unit."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse a whole number."""
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is not a whole number; write it in bytes, e.g. 1000000000", param, ctx)


_BYTES = _Bytes()


def make_job_options(leave_out: Iterable[str] = (), hide: Collection[str] = ()) -> list[click.Parameter]:
    """An option for every field of a job except its capability and source.

    Args:
        leave_out: options that the command does not take.
        hide: options that it takes, as it always did, and that its help leaves out.
    """
    skipped = set(leave_out)
    options = [
        click.Option(["--check/--no-check"], default=None, help=Job.model_fields["check"].description),
        click.Option(
            ["--escalate"],
            multiple=True,
            metavar="NAME[:MODEL]",
            help=Job.model_fields["escalate"].description,
        ),
        click.Option(
            ["--config"], type=click.Path(path_type=Path), help="a job file, whose values the other options override"
        ),
        click.Option(
            ["--set", "settings"],
            multiple=True,
            metavar="NAME=VALUE",
            help="a parameter of the capability; VALUE is YAML; may be repeated",
        ),
        _make_column_option("--path-column", "with paths or URLs; default: found by its name"),
        _make_column_option("--group-by", "whose equal neighbours form one item"),
        _make_column_option("--text-column", "with texts; default: found by its name"),
        _make_column_option("--id-column", "with each row's unique id; default: found by its name"),
        click.Option(["--infer-types"], is_flag=True, help=Columns.model_fields["infer_types"].description),
        click.Option(
            ["--allow-host", "allow_hosts"],
            multiple=True,
            metavar="HOST",
            help="private host that source URLs may name, e.g. media.lan:8080; may be repeated",
        ),
    ]
    shown = [_make_job_option(name) for name in (*_TEXT_FIELDS, *_NUMBER_FIELDS, *_FLAG_FIELDS)]
    hidden = [_make_job_option(new, old) for old, new in JOB_OPTIONS.items() if new not in skipped]
    taken = [option for option in (*options, *shown) if option.name not in skipped]
    for option in taken:
        option.hidden = option.name in hide
    return [*taken, *hidden]


def _make_column_option(flag: str, what_it_is: str) -> click.Option:
    return click.Option([flag], metavar="COLUMN", help=f"manifest column {what_it_is}")


def _make_job_option(name: str, old_name: str | None = None) -> click.Option:
    """The option of a job's field; with ``old_name`` the hidden one that goes on working under that name."""
    description = Job.model_fields[name].description
    flag, hidden = to_flag(old_name or name), old_name is not None
    flags = [flag] if hidden or name not in _SHORT else [_SHORT[name], flag]
    if name in _FLAG_FIELDS:
        return click.Option([flag], is_flag=True, default=None, help=description, hidden=hidden)
    kind = {"rpm": float, "max_memory": _BYTES, "settle": float}.get(name, int) if name in _NUMBER_FIELDS else str
    metavar = _METAVARS.get(name, "N" if name in _NUMBER_FIELDS else "TEXT")
    completer = _COMPLETERS.get(name)
    return click.Option(
        flags, type=kind, metavar=metavar, help=description, hidden=hidden, default=None, shell_complete=completer
    )


def to_flag(name: str) -> str:
    """The option of a field: ``--max-memory`` of ``max_memory``."""
    return "--" + name.replace("_", "-")


def make_run_options() -> list[click.Parameter]:
    """Options of what a run prints, and whether it only quotes."""
    quote = click.Option(["--quote", "quote_only"], is_flag=True, help="print what the run would cost, and stop")
    return [*make_output_options(), quote]


def make_output_options() -> list[click.Parameter]:
    """Options of what a run prints and asks, and of whether Prefect sees it."""
    prefect = "run as a Prefect flow run, or without; default: as one where a Prefect API is configured and answers"
    verbose = "log retries, refusals, changed limits and shards to stderr; -vv logs every request"
    return [
        click.Option(["-v", "--verbose"], count=True, help=verbose),
        click.Option(["--log-json"], is_flag=True, help="write the log as one JSON object a line; alone it is like -v"),
        click.Option(["--debug"], is_flag=True, help="print tracebacks, also of single items, and what libraries log"),
        click.Option(["-q", "--quiet"], is_flag=True, help="print no progress, only a paid run's quote and the end"),
        click.Option(["--json", "as_json"], is_flag=True, help="print one JSON object instead of text"),
        click.Option(["-y", "--yes"], is_flag=True, help="spend without asking first"),
        click.Option(["--prefect/--no-prefect"], default=None, help=prefect),
    ]


def to_job_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a job that were given as options."""
    names = (*_TEXT_FIELDS, *_NUMBER_FIELDS, *_FLAG_FIELDS, "check", *JOB_OPTIONS)
    fields = _take_old_options({name: options[name] for name in names if options.get(name) is not None}, JOB_OPTIONS)
    if options.get("escalate"):
        fields["escalate"] = list(options["escalate"])
    if options.get("allow_hosts"):
        fields["allow_hosts"] = list(options["allow_hosts"])
    columns = {"id": options.get("id_column"), "path": options.get("path_column")}
    columns["text"] = options.get("text_column")
    columns["group"] = options.get("group_by")
    columns["infer_types"] = options.get("infer_types") or None
    named_columns = {name: value for name, value in columns.items() if value is not None}
    if named_columns:
        fields["columns"] = named_columns
    fields["params"] = _parse_settings(options.get("settings") or ())
    return fields


def build_job(capability: str, source: str | None, options: Mapping[str, Any], params: Mapping[str, Any]) -> Job:
    """Make a job from a command's options, which override its ``--config`` file if there is one."""
    fields = to_job_fields(options)
    renamed = get_renamed_params(capability)
    own = {name: value for name, value in params.items() if value is not None}
    fields["params"] = _take_old_options({**own, **fields["params"]}, renamed)
    if options.get("config"):
        from mediamill.flows.cli.job_files import load_config_file

        return load_config_file(options["config"], capability, source, fields)
    if source is None:
        raise UsageError("SOURCE is missing", hint="name a folder, file, glob, URL or manifest")
    return make_job(capability=capability, source=source, **fields)


def _take_old_options(given: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """What was given as options or with ``--set``, under the names they have now.

    Raises:
        UsageError: when an option is given under its old name and its new one, each as an option or with ``--set``.
    """
    for old, new in renamed.items():
        if old in given and new in given:
            hint = f"give {to_flag(new)} alone"
            raise UsageError(f"{to_flag(old)} is the old name of {to_flag(new)}, and both are given", hint=hint)
    return to_new_names(given, renamed)


def _parse_settings(pairs: tuple[str, ...]) -> dict[str, Any]:
    settings = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise UsageError(f"--set {pair}: write NAME=VALUE")
        try:
            settings[name.strip().replace("-", "_")] = parse_yaml(value)
        except ValueError:
            settings[name.strip()] = value
    return settings
