"""mediamill init: write a commented job file."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from mediamill.flows.cli.completion import complete_capability
from mediamill.flows.cli.console import print_line
from mediamill.flows.cli.help_layout import HelpfulCommand


@click.command(
    "init",
    cls=HelpfulCommand,
    params=[
        click.Argument(["file"], type=click.Path(path_type=Path), default=Path("job.yaml")),
        click.Option(
            ["--capability"],
            default="transcribe",
            show_default=True,
            metavar="NAME",
            help="what the job does",
            shell_complete=complete_capability,
        ),
        click.Option(["--debug"], is_flag=True, expose_value=False, help="print tracebacks"),
    ],
)
def command(file: Path, capability: str) -> int:
    """Write a job to fill in, with every option and its meaning, to FILE (default: job.yaml)."""
    from mediamill.tasks.errors import UsageError
    from mediamill.tasks.starters.job_template import make_job_template
    from mediamill.tasks.system.os_errors import build_storage_error

    text = make_job_template(capability, shlex.quote(str(file)))
    try:
        with file.open("x", encoding="utf-8") as written:
            written.write(text)
    except FileExistsError:
        raise UsageError(f"{file} is there already", hint="name another file") from None
    except OSError as error:
        raise build_storage_error(error, file) from None
    print_line(f"{file}: name your files in its line `source`, then")
    print_line(f"  mediamill quote {shlex.quote(str(file))}    what it would cost; nothing is sent")
    print_line(f"  mediamill run {shlex.quote(str(file))}")
    return 0
