"""mediamill retry: do failed items again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mediamill.flows.cli.options import make_job_options, make_output_options, to_job_fields
from mediamill.flows.cli.run_command import run_job_command

if TYPE_CHECKING:
    from mediamill.tasks.job import Job
    from mediamill.tasks.summary import Status


@click.command(
    "retry",
    params=[
        click.Argument(["out"], type=click.Path(path_type=Path)),
        click.Option(
            ["--only"],
            multiple=True,
            metavar="KIND",
            help="only failures of this kind; may be repeated; default: every kind",
        ),
        click.Option(
            ["--promote"], is_flag=True, help="generate the full version of every preview whose file still exists"
        ),
        *make_job_options(leave_out=["out"]),
        *make_output_options(),
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
    from mediamill.tasks.journal.planning import OUTDATED
    from mediamill.tasks.plan import FLAGGED, Retry
    from mediamill.tasks.status import count_flagged_results, count_outdated_results, read_status

    if promote:
        return _promote_previews(out, only, options)
    out_status = read_status(out)
    flagged = count_flagged_results(out) if FLAGGED in only else 0
    _check_kinds(out, only, out_status, flagged, options)
    n_outdated = count_outdated_results(out) if OUTDATED in only else 0
    n_items = (
        flagged + n_outdated + sum(count for kind, count in out_status.by_kind.items() if not only or kind in only)
    )
    return run_job_command(_make_retry_job(out, options), options, Retry(frozenset(only) or None), n_items=n_items)


def _promote_previews(out: Path, only: tuple[str, ...], options: dict[str, Any]) -> int:
    from mediamill.tasks.errors import UsageError
    from mediamill.tasks.journal.items import PROMOTED_PREVIEW
    from mediamill.tasks.plan import Retry
    from mediamill.tasks.status import count_previews

    job = _make_retry_job(out, options)
    if not job.params.get("preview"):
        raise UsageError(f"{out} holds no previews", hint="generate them with generate-video --preview")
    full_job = job.model_copy(update={"params": {**job.params, "preview": False}})
    return run_job_command(full_job, options, Retry(frozenset({PROMOTED_PREVIEW, *only})), n_items=count_previews(out))


def _check_kinds(out: Path, only: tuple[str, ...], out_status: Status, flagged: int, options: dict[str, Any]) -> None:
    """Refuse kinds that no item has; items that a crashed retry left pending have no kind any more."""
    from mediamill.tasks.errors import NoSuchOption, UsageError
    from mediamill.tasks.journal.planning import LOST_FILE, OUTDATED
    from mediamill.tasks.plan import FLAGGED

    if FLAGGED in only:
        if not flagged:
            raise UsageError(f"{out}: no result carries a flag")
        if not (options.get("model") or options.get("provider") or options.get("settings")):
            raise UsageError("the same model would give the same results", hint="name a better one with --model")
    for kind in only:
        if kind not in (*out_status.by_kind, FLAGGED, LOST_FILE, OUTDATED) and not out_status.pending:
            if not out_status.by_kind:
                raise UsageError(f"{out}: no failures to retry")
            raise NoSuchOption("kind of failure", kind, out_status.by_kind)


def _make_retry_job(out: Path, options: dict[str, Any]) -> Job:
    """The job OUT was last run with, with the options given; another provider gets its own model and address."""
    from mediamill.tasks.job import make_job
    from mediamill.tasks.renamed_options import get_renamed_params, override
    from mediamill.tasks.status import load_bound_job

    fields = to_job_fields(options)
    stored = load_bound_job(out).model_dump(exclude_defaults=True)
    if fields.get("provider", stored.get("provider")) != stored.get("provider"):
        for name in ("model", "base_url", "api_key_env"):
            stored.pop(name, None)
    params = override(stored.get("params", {}), fields.pop("params"), get_renamed_params(stored["capability"]))
    return make_job(**{**stored, **fields, "params": params})
