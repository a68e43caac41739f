"""mediamill retry: failed items again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flows.options import given_fields, job_options_but_out, talk_options
from flows.running import run_job


@click.command("retry")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--only", multiple=True, metavar="KIND", help="only failures of this kind; may be given several times")
@job_options_but_out
@talk_options
def command(out: Path, *, only: tuple[str, ...], **options: Any) -> int:
    """Do the failed items of OUT again; everything else stays untouched.

    Items that failed with ``unknown`` or ``bad_reply`` are bought anew; the kinds stand in `mediamill status OUT`.
    """
    from tasks.errors import NoSuchOption, UsageError
    from tasks.job import make_job
    from tasks.run import Retry
    from tasks.status import bound_job, status

    stands = status(out)
    known = stands.by_kind
    for kind in only:
        if kind not in known and not stands.pending:  # what a crashed retry left pending has no kind any more
            if not known:
                raise UsageError(f"{out}: no failures to retry")
            raise NoSuchOption("kind of failure", kind, known)
    given = given_fields(options)
    stored = bound_job(out).model_dump(exclude_defaults=True)
    params = {**stored.get("params", {}), **given.pop("params")}
    job = make_job(**{**stored, **given, "params": params})
    again = sum(count for kind, count in known.items() if not only or kind in only)
    return run_job(job, options, Retry(frozenset(only) or None), again=again)
