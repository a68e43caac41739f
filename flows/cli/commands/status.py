"""mediamill status: print the state of an OUT."""

from __future__ import annotations

from pathlib import Path

import click

from mediamill.flows.cli.completion import complete_out
from mediamill.flows.cli.console import print_json, print_line
from mediamill.flows.cli.help_layout import HelpfulCommand
from mediamill.flows.cli.output import print_status


@click.command("status", cls=HelpfulCommand)
@click.argument("out", type=click.Path(path_type=Path), shell_complete=complete_out)
@click.option("--json", "as_json", is_flag=True, help="print one JSON object instead of text")
@click.option("--debug", is_flag=True, help="print tracebacks")
def command(out: Path, *, as_json: bool, debug: bool) -> int:  # noqa: ARG001
    """Print what is done, failed and spent in OUT, also while a run works on it; for a chain, in each of its steps."""
    from mediamill.tasks.out.chain_steps import find_step_folders
    from mediamill.tasks.out.status import read_status

    steps = find_step_folders(out)
    if steps and as_json:
        print_json({str(folder.relative_to(out)): read_status(folder).as_dict() for folder in steps})
        return 0
    for folder in steps:
        print_line(f"{folder.relative_to(out)}:")
        print_status(read_status(folder), as_json=False)
    if not steps:
        print_status(read_status(out), as_json=as_json)
    return 0
