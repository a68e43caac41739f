"""mediamill report: rebuild the report and the cost tables."""

from __future__ import annotations

from pathlib import Path

import click

from mediamill.flows.cli.completion import complete_out
from mediamill.flows.cli.console import print_json, print_line
from mediamill.flows.cli.help_layout import HelpfulCommand
from mediamill.flows.cli.output import print_verification


@click.command("report", cls=HelpfulCommand)
@click.argument("out", type=click.Path(path_type=Path), shell_complete=complete_out)
@click.option(
    "--verify", is_flag=True, help="compare every file of OUT with its SHA-256, and write again what the journal holds"
)
@click.option("--json", "as_json", is_flag=True, help="print one JSON object instead of text")
@click.option("--debug", is_flag=True, help="print tracebacks")
def command(out: Path, *, verify: bool, as_json: bool, debug: bool) -> int:  # noqa: ARG001
    """Rebuild report.html and costs.csv of OUT from its journal; with --verify check all files and mend them.

    --verify says what was missing or damaged. Parts, cost tables, report and run records are written again; for media
    it says what to do. It ends with 0 when every file is right now, and with 1 when one is not. Each step of a chain
    has a page of its own.
    """
    if verify:
        return _verify(out, as_json=as_json)
    from mediamill.tasks.out.chain_steps import find_step_folders
    from mediamill.tasks.run.publish import rebuild_report

    steps = find_step_folders(out)
    pages = {str(folder.relative_to(out.expanduser())): str(rebuild_report(folder)) for folder in steps}
    if not steps:
        pages = {"report": str(rebuild_report(out))}
    if as_json:
        print_json(pages)
    else:
        for page in pages.values():
            print_line(page)
    return 0


def _verify(out: Path, *, as_json: bool) -> int:
    from mediamill.tasks.out.chain_steps import find_step_folders
    from mediamill.tasks.out.repair import verify

    steps = find_step_folders(out)
    found = {str(folder.relative_to(out.expanduser())): verify(folder) for folder in steps}
    if not steps:
        found = {"": verify(out)}
    if as_json:
        print_json({name: each.as_dict() for name, each in found.items()} if steps else found[""].as_dict())
    else:
        for name, each in found.items():
            print_verification(each, name)
    return max(each.exit_code for each in found.values())
