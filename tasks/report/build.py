"""The page and the cost tables of an OUT, built from its journal."""

from __future__ import annotations

from pathlib import Path

from tasks.journal.journal import Journal
from tasks.report.costs import cost_table, write_costs
from tasks.report.facts import gather
from tasks.report.page import render
from tasks.sinks.files import whole_file


def build_report(out: Path, journal: Journal) -> Path:
    """Write ``costs.csv`` and ``report.html``; the page's path.

    Raises:
        StorageError: when OUT cannot be written.
    """
    costs = cost_table(journal.attempts.all())
    write_costs(out, costs)
    page = out / "report.html"
    html = render(gather(out, journal), costs)
    with whole_file(out, page) as temporary:
        temporary.write_text(html, encoding="utf-8", errors="replace")
    return page
