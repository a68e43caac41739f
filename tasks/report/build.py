"""Build the report page and the cost tables of an OUT from its journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from mediamill.tasks.journal.documents import Document
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.report.costs import build_cost_table, to_endpoint_row, write_costs
from mediamill.tasks.report.page import render_page
from mediamill.tasks.report.report_data import gather_report_data
from mediamill.tasks.report.thumbnail_files import remove_other_thumbnails, write_thumbnails
from mediamill.tasks.sinks.atomic_file import write_atomically
from mediamill.tasks.sinks.documents import describe_file

REPORT_FILES = ("costs.csv", "report.html")
"""What :func:`build_report` writes in any case, below OUT."""


def build_report(
    out: Path, journal: Journal, current_runs: Sequence[tuple[int, Mapping[str, Any]]] = ()
) -> list[Document]:
    """Write ``costs.csv``, ``report.html`` and the thumbnails that it shows, and remove those of an earlier page.

    ``current_runs`` holds the run that is ending, where its endpoint is paid by the hour: its start in microseconds
    since the epoch, and its summary.

    Returns:
        The files, for :meth:`Documents.record_report`.

    Raises:
        StorageError: when OUT cannot be written.
    """
    endpoint_rows = (to_endpoint_row(*run) for run in (*journal.runs.load_endpoint_runs(), *current_runs))
    costs = build_cost_table(chain(journal.attempts.stream_all(), endpoint_rows))
    write_costs(out, costs)
    report = gather_report_data(out, journal)
    paths = write_thumbnails(out, [*report.thumbnails.values(), *(image.thumbnail for image in report.sheet)])
    with write_atomically(out, out / "report.html") as temporary:
        temporary.write_text(render_page(report, costs), encoding="utf-8", errors="replace")
    remove_other_thumbnails(out, paths)
    return [describe_file(out, path) for path in (*REPORT_FILES, *paths)]
