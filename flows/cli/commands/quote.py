"""mediamill quote: print what a job would cost."""

from __future__ import annotations

from typing import Any

import click

from mediamill.flows.cli.options import build_job, make_job_options
from mediamill.flows.cli.output import print_quote
from mediamill.tasks.errors import UsageError

_HELP = """Print what transcribing SOURCE, or running a job file, would cost. Nothing is sent.

\b
mediamill quote recordings/ --provider together
mediamill quote transcribe recordings/ --provider together
mediamill quote configs/jobs/transcribe.yaml
"""


@click.command(
    "quote",
    help=_HELP,
    params=[
        click.Argument(["source"]),
        click.Argument(["more"], required=False),
        *make_job_options(),
        click.Option(["--json", "as_json"], is_flag=True, help="print one JSON object instead of text"),
        click.Option(["--debug"], is_flag=True, help="print tracebacks"),
    ],
)
def command(source: str, more: str | None, **options: Any) -> int:
    """Print what a job would cost."""
    from mediamill.flows.cli.commands.run import load_job_with_options
    from mediamill.tasks import capabilities
    from mediamill.tasks.quote import quote

    if more is None and source.endswith((".yaml", ".yml")):
        from pathlib import Path

        job = load_job_with_options(Path(source), options)
    elif more is not None:
        if not capabilities.is_known(source):
            raise UsageError(f"no capability {source!r}", hint=f"known: {', '.join(capabilities.list_names())}")
        job = build_job(source, more, options, {})
    else:
        job = build_job("transcribe", source, options, {})
    print_quote(quote(job), as_json=options["as_json"])
    return 0
