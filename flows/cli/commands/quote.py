"""mediamill quote: print what a job would cost."""

from __future__ import annotations

import shlex
from typing import Any

import click

from mediamill.flows.cli.completion import complete_capability_or_source, complete_source
from mediamill.flows.cli.file_commands import CommandWithPermissions, load_job_file
from mediamill.flows.cli.library_noise import catch_library_noise
from mediamill.flows.cli.log_output import configure_logging
from mediamill.flows.cli.options import build_job, make_job_options
from mediamill.flows.cli.output import print_quote
from mediamill.tasks.errors import EmptySource, NoSuchOption, UsageError
from mediamill.tasks.pipeline.mistakes import locating_mistakes
from mediamill.tasks.pipeline.spec import Chain

_HELP = """Print what transcribing SOURCE, another CAPABILITY of it, or running a job file would cost. Nothing is sent.

SOURCE may be a job file, a chain, or a recipe: `mediamill quote recipe:alt-text photos/`. Parameters of a capability
are given as `--set NAME=VALUE`.
"""


@click.command(
    "quote",
    cls=CommandWithPermissions,
    help=_HELP,
    params=[
        click.Argument(["source"], metavar="[CAPABILITY] SOURCE", shell_complete=complete_capability_or_source),
        click.Argument(["more"], metavar="", required=False, shell_complete=complete_source),
        *make_job_options(),
        click.Option(["--json", "as_json"], is_flag=True, help="print one JSON object instead of text"),
        click.Option(["--debug"], is_flag=True, help="print tracebacks"),
    ],
)
def command(source: str, more: str | None, **options: Any) -> int:
    """Print what a job would cost."""
    configure_logging(options)
    with catch_library_noise(enabled=not options["debug"]):
        return _quote(source, more, options)


def _quote(source: str, more: str | None, options: dict[str, Any]) -> int:
    from mediamill.tasks import capabilities
    from mediamill.tasks.run.quote import quote
    from mediamill.tasks.starters.recipes import is_job_file

    if is_job_file(source):
        loaded, file = load_job_file(source, more, options)
        if isinstance(loaded, Chain):
            from mediamill.flows.cli.pipeline import print_chain_quote

            with locating_mistakes(file):
                print_chain_quote(loaded, as_json=options["as_json"])
            return 0
        job = loaded
    elif more is not None:
        if not capabilities.is_known(source):
            raise NoSuchOption("capability", source, capabilities.list_names())
        job = build_job(source, more, options, {})
    else:
        try:
            quoted = quote(build_job("transcribe", source, options, {}))
        except EmptySource as error:
            raise error if error.is_missing else _add_capability_hint(error, source) from None
        except UsageError as error:
            raise _add_capability_hint(error, source) from None
        print_quote(quoted, as_json=options["as_json"])
        return 0
    print_quote(quote(job), as_json=options["as_json"])
    return 0


def _add_capability_hint(error: UsageError, source: str) -> UsageError:
    """What a refusal of a source says where no capability was named: that it was taken for recordings."""
    named = f"this quotes transcribe; another capability is named first: mediamill quote caption {shlex.quote(source)}"
    return UsageError(error.message, hint=f"{error.hint}; {named}" if error.hint else named)
