"""mediamill report: rebuild the report and the cost tables."""

from __future__ import annotations

from pathlib import Path

import click

from mediamill.flows.cli.console import print_line


@click.command("report")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--debug", is_flag=True, help="print tracebacks")
def command(out: Path, *, debug: bool) -> int:  # noqa: ARG001
    """Rebuild report.html and costs.csv of OUT from its journal."""
    from mediamill.tasks.publish import rebuild_report

    print_line(str(rebuild_report(out)))
    return 0
