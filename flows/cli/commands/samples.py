"""mediamill samples: write the project's own samples into a folder."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from mediamill.flows.cli.console import print_line
from mediamill.flows.cli.help_layout import HelpfulCommand


@click.command("samples", cls=HelpfulCommand)
@click.argument("folder", type=click.Path(path_type=Path), default=Path("samples"))
@click.option("--debug", is_flag=True, expose_value=False, help="print tracebacks")
def command(folder: Path) -> int:
    """Write small samples into FOLDER (default: samples), to try every command with: 0.5 MB.

    Eight recordings, eight pictures, a video, and manifests of texts, prompts, questions and cells of code.
    """
    from mediamill.tasks.formatting import pluralize
    from mediamill.tasks.starters.samples import write_samples

    names = write_samples(folder)
    print_line(f"{pluralize(len(names), 'file')} in {folder}; {folder / 'README.md'} says what they are")
    print_line(f"next: mediamill transcribe {shlex.quote(str(folder / 'recordings'))}")
    return 0
