"""The table at the end of a run on a terminal: this run and its OUT, each with counts that add up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mediamill.tasks.formatting import format_dollars

if TYPE_CHECKING:
    from mediamill.tasks.summary import Summary

_HEADINGS = ("", "items", "done", "failed", "left", "cost", "reused", "unchanged")


def format_end_table(summary: Summary) -> list[str]:
    """The lines of the table. In each row every item is done, failed or left.

    ``reused`` are those of the done whose answers were there already; ``unchanged`` ones were passed over.
    """
    is_out_free = summary.is_free and not (summary.out_cost_usd or summary.lost_requests)
    costs = [
        "free" if is_free else format_dollars(usd)
        for is_free, usd in ((summary.is_free, summary.cost_usd), (is_out_free, summary.out_cost_usd))
    ]
    run = (summary.total, summary.done, summary.failed, summary.left)
    out = (summary.out_total, summary.out_done, summary.out_failed, summary.out_left)
    rows = [
        _HEADINGS,
        ("this run", *map(_format, run), costs[0], _format(summary.cached), _format(summary.skipped)),
        ("OUT", *map(_format, out), costs[1], "", ""),
    ]
    return align(rows)


def _format(number: int) -> str:
    return f"{number:,}"


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return lines
