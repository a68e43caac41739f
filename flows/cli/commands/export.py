"""mediamill export: write an OUT's results to one file."""

from __future__ import annotations

from pathlib import Path

import click

from mediamill.flows.cli.completion import complete_out
from mediamill.flows.cli.console import print_line
from mediamill.flows.cli.help_layout import HelpfulCommand


@click.command("export", cls=HelpfulCommand)
@click.argument("out", type=click.Path(path_type=Path), shell_complete=complete_out)
@click.option("--to", type=click.Path(path_type=Path), required=True, help="file to write: .csv, .jsonl or .parquet")
@click.option("--columns", metavar="A,B", help="columns to write, in this order; default: all")
@click.option(
    "--long",
    is_flag=False,
    flag_value="",
    default=None,
    metavar="[COLUMN]",
    help="write one row for each member of a list: of a ranking, of segments, or of COLUMN",
)
@click.option("--debug", is_flag=True, help="print tracebacks")
def command(out: Path, to: Path, columns: str | None, long: str | None, *, debug: bool) -> int:  # noqa: ARG001
    """Write every result of OUT to one file.

    Lists and objects are JSON in a CSV, and a text that a spreadsheet would run as a formula gets an apostrophe in
    front; .jsonl and .parquet hold every text as it is. With --long a ranking has one row per document and a transcript
    one row per segment, beside the item's other columns.
    """
    from mediamill.tasks.out.export import export

    chosen = [name.strip() for name in columns.split(",")] if columns else ()
    count = export(out.expanduser(), to.expanduser(), columns=chosen, long=long)
    print_line(f"{count} row{'s' * (count != 1)}: {to}")
    return 0
