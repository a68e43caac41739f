"""mediamill retry: do failed items again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mediamill.flows.cli.completion import complete_kind, complete_out
from mediamill.flows.cli.help_layout import HelpfulCommand
from mediamill.flows.cli.options import make_job_options, make_run_options, to_job_fields
from mediamill.flows.cli.run_command import run_job_command

if TYPE_CHECKING:
    from mediamill.tasks.job import Job

_OF_THE_SOURCE = (
    *("out", "config", "path_column", "id_column", "group", "group_by", "infer_types", "limit", "settle"),
    "shard_size",
)
"""Options of a run that reads its source, which a retry does not."""


@click.command(
    "retry",
    cls=HelpfulCommand,
    own_heading="What is done",
    params=[
        click.Argument(["out"], type=click.Path(path_type=Path), shell_complete=complete_out),
        click.Option(
            ["--only"],
            multiple=True,
            metavar="KIND",
            shell_complete=complete_kind,
            help="only failures of this kind; may be repeated; default: every kind",
        ),
        click.Option(
            ["--promote"], is_flag=True, help="generate the full version of every preview whose file still exists"
        ),
        *make_job_options(leave_out=_OF_THE_SOURCE),
        *make_run_options(),
    ],
)
def command(out: Path, *, only: tuple[str, ...], promote: bool, **options: Any) -> int:
    """Do the failed items of OUT again; everything else stays untouched.

    Items that failed with `unknown` or `bad_reply` are paid for again, unless the reply can be read now; `mediamill
    status OUT` lists the kinds. Another --provider, --model or --set applies to these items alone.
    `--only flagged --model BIGGER` does the results with flags again, which stay until better ones exist. `--only lost`
    fetches the files missing from OUT/media, free. `--only outdated` buys rows anew for which this program sends other
    bytes than the one that made them. `--promote --only unknown` buys full versions whose creation got no reply.
    """
    from mediamill.tasks.errors import UsageError
    from mediamill.tasks.journal.renamed_kinds import to_kind_now
    from mediamill.tasks.out.nothing_to_retry import describe_nothing_to_retry
    from mediamill.tasks.out.status import count_flagged_results, count_results_lacking_try
    from mediamill.tasks.run.plan import FLAGGED, Retry

    only = tuple(map(to_kind_now, only))
    if promote:
        return _promote_previews(out, only, options)
    names_another = options.get("model") or options.get("provider") or options.get("settings")
    if FLAGGED in only and not names_another and count_flagged_results(out):
        hint = "name a better one with --model"
        if n_lacking := count_results_lacking_try(out):
            hint += f"; the later tries that failed in passing, of {n_lacking:,}, the command that made OUT makes again"
        raise UsageError("the same model would give the same results", hint=hint)
    if message := describe_nothing_to_retry(out, only):
        return _print_nothing_to_retry(out, message, as_json=options["as_json"])
    return run_job_command(_make_retry_job(out, options), options, Retry(frozenset(only) or None))


def _promote_previews(out: Path, only: tuple[str, ...], options: dict[str, Any]) -> int:
    from mediamill.tasks.errors import UsageError
    from mediamill.tasks.journal.items import PROMOTED_PREVIEW
    from mediamill.tasks.run.plan import Retry

    job = _make_retry_job(out, options)
    if not job.params.get("preview"):
        raise UsageError(f"{out} holds no previews", hint="generate them with generate-video --preview")
    full_job = job.model_copy(update={"params": {**job.params, "preview": False}})
    return run_job_command(full_job, options, Retry(frozenset({PROMOTED_PREVIEW, *only})))


def _print_nothing_to_retry(out: Path, message: str, *, as_json: bool) -> int:
    from mediamill.flows.cli.console import print_json, print_line

    if as_json:
        path = str(out.expanduser().absolute())
        print_json({"out": path, "state": "nothing", "total": 0, "message": message, "exit_code": 0})
    else:
        print_line(message)
    return 0


def _make_retry_job(out: Path, options: dict[str, Any]) -> Job:
    """The job OUT was last run with, with the options given; another provider gets its own model and address."""
    from mediamill.tasks.job_loading import make_job
    from mediamill.tasks.out.status import load_bound_job
    from mediamill.tasks.renamed_options import get_renamed_params, override

    fields = to_job_fields(options)
    stored = load_bound_job(out).model_dump(exclude_defaults=True)
    if fields.get("provider", stored.get("provider")) != stored.get("provider"):
        for name in ("model", "base_url", "api_key_env"):
            stored.pop(name, None)
    params = override(stored.get("params", {}), fields.pop("params"), get_renamed_params(stored["capability"]))
    return make_job(**{**stored, **fields, "params": params})
