"""mediamill list: the OUTs there are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mediamill.flows.cli.console import print_json, print_line
from mediamill.flows.cli.help_layout import HelpfulCommand
from mediamill.flows.cli.output import to_relative_path
from mediamill.tasks.formatting import format_dollars, format_unpriced

if TYPE_CHECKING:
    from mediamill.tasks.out.listing import ListedOut

_DEFAULT_FOLDERS = (Path("data/results"), Path())
_HEADINGS = ("OUT", "what", "source", "state", "items", "spent")


@click.command("list", cls=HelpfulCommand)
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="print a JSON list instead of a table")
@click.option("--debug", is_flag=True, expose_value=False, help="print tracebacks")
def command(folders: tuple[Path, ...], *, as_json: bool) -> int:
    """List the OUTs in FOLDERS, the latest first: source, state, items and what was spent.

    Without FOLDERS those in data/results and in the working folder. An OUT that cannot be read is listed with the
    reason.
    """
    from mediamill.tasks.out.listing import list_outs

    listed = list_outs(folders or _DEFAULT_FOLDERS)
    if as_json:
        print_json([each.as_dict() for each in listed])
        return 0
    if not listed:
        where = ", ".join(map(str, folders)) or "data/results, nor in the working folder"
        print_line(f"no OUT in {where}")
        return 0
    rows = [_HEADINGS, *(_to_row(each) for each in listed)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, each in zip(rows, (None, *listed), strict=True):
        print_line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if each is not None and each.problem:
            print_line(f"  {each.problem}")
    return 0


def _to_row(listed: ListedOut) -> tuple[str, ...]:
    """The cells of an OUT's line."""
    name = to_relative_path(Path(listed.out).absolute())
    if listed.problem:
        return (name, "", "", "unreadable", "", "")
    what = " ".join(filter(None, (listed.capability, listed.provider, listed.model)))
    items = f"{listed.done}/{listed.items}" + f", {listed.failed} failed" * bool(listed.failed)
    spent = format_dollars(listed.spent_usd) + format_unpriced(listed.unstated)
    if listed.unknown_max_usd:
        spent += f" and up to {format_dollars(listed.unknown_max_usd)} more"
    source = to_relative_path(Path(listed.source)) if listed.source else ""
    return (name, what, source, listed.state or "not begun", items, spent)
