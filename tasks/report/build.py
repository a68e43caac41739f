"""Build the report page and the cost tables of an OUT from its journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.report.costs import build_cost_table, to_endpoint_row, write_costs
from mediamill.tasks.report.page import render_page
from mediamill.tasks.report.report_data import gather_report_data
from mediamill.tasks.sinks.atomic_file import write_atomically

REPORT_FILES = ("costs.csv", "report.html")
"""What :func:`build_report` writes, below OUT."""


def build_report(out: Path, journal: Journal, current_runs: Sequence[tuple[int, Mapping[str, Any]]] = ()) -> Path:
    """Write ``costs.csv`` and ``report.html``; the path of the page.

    ``current_runs`` holds the run that is ending, where its endpoint is paid by the hour: its start in microseconds
    since the epoch, and its summary.

    Raises:
        StorageError: when OUT cannot be written.
    """
    endpoint_rows = (to_endpoint_row(*run) for run in (*journal.runs.load_endpoint_runs(), *current_runs))
    costs = build_cost_table(chain(journal.attempts.stream_all(), endpoint_rows))
    write_costs(out, costs)
    page = out / "report.html"
    html = render_page(gather_report_data(out, journal), costs)
    with write_atomically(out, page) as temporary:
        temporary.write_text(html, encoding="utf-8", errors="replace")
    return page
