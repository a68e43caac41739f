"""The artifacts of a run in Prefect: its progress while it runs, then its summary and its costs.

Their texts come from files and providers, so all of them are escaped: neither a file's name nor a provider's message
becomes markup in somebody's browser.
"""

from __future__ import annotations

import csv
import html
import os
import re
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from mediamill.flows.cli.output import format_counts, format_flags
from mediamill.flows.cli.progress_text import format_progress
from mediamill.tasks.formatting import format_dollars, format_duration, format_unpriced
from mediamill.tasks.untrusted_text import cut_text, to_single_line

if TYPE_CHECKING:
    from mediamill.tasks.summary import Progress, Summary

_MARKDOWN_CHARACTERS = re.compile(r"([\\`*_{}\[\]()#+.!|~>:@-])")
_MAX_TEXT_CHARACTERS = 300
_MAX_COST_ROWS = 500
_MAX_NAME_CHARACTERS = 60


def make_artifact_key(out: str, kind: str) -> str:
    """An artifact's key: the same for every run on an OUT, so that the UI shows them as versions of one artifact.

    OUTs of one name in several folders have keys of their own.
    """
    path = Path(out).expanduser().absolute()
    name = re.sub(r"[^a-z0-9]+", "-", path.name.lower()).strip("-")[:_MAX_NAME_CHARACTERS] or "out"
    return f"{name}-{sha256(os.fsencode(path)).hexdigest()[:8]}-{kind}"


class ProgressArtifact:
    """The progress artifact of one run, created at the first progress and updated afterwards."""

    def __init__(self, out: str) -> None:
        self._key = make_artifact_key(out, "progress")
        self._id: UUID | None = None
        self._last: tuple[float, str] | None = None

    def update(self, progress: Progress) -> None:
        """Show how far the run is, where that has changed."""
        ended = progress.done + progress.failed
        percent = round(100 * ended / progress.total, 1) if progress.total else 0.0
        current = (percent, format_progress(progress))
        if current == self._last:
            return
        if self._id is None:
            self._id = cast(UUID, create_progress_artifact(percent, key=self._key, description=current[1]))
        else:
            update_progress_artifact(self._id, percent, description=current[1])
        self._last = current

    def finish(self, summary: Summary) -> None:
        """Show the progress with which the run ended."""
        total = summary.done + summary.failed + summary.left
        percent = round(100 * (summary.done + summary.failed) / total, 1) if total else 100.0
        if self._id is None:
            create_progress_artifact(percent, key=self._key, description=format_counts(summary))
        else:
            update_progress_artifact(self._id, percent, description=format_counts(summary))


def create_run_artifacts(summary: Summary) -> None:
    """Create the summary and the cost table of a run that has ended."""
    create_markdown_artifact(
        format_summary(summary), key=make_artifact_key(summary.out, "summary"), description=format_counts(summary)
    )
    rows = read_cost_rows(Path(summary.out))
    if rows:
        description = f"costs of {escape_markdown(Path(summary.out).name)} over all its runs, from costs.csv"
        create_table_artifact(rows, key=make_artifact_key(summary.out, "costs"), description=description)


def format_summary(summary: Summary) -> str:
    """Format the run in Markdown: numbers, failures by cause, where its files are."""
    facts = [
        ("done", f"{summary.done:,}" + (f" ({summary.cached:,} reused, free)" if summary.cached else "")),
        ("failed", f"{summary.failed:,}"),
        ("unchanged", f"{summary.skipped:,}"),
        ("left", f"{summary.left:,}"),
        ("requests", f"{summary.calls:,}"),
        ("audio", format_duration(float(summary.audio_seconds))),
        ("took", format_duration(summary.seconds)),
        ("cost of this run", _format_cost(summary)),
        ("cost of this OUT", format_dollars(summary.out_cost_usd)),
        ("provider", f"{summary.provider}, {summary.model}"),
    ]
    if summary.flags:
        facts.append(("worth a look", format_flags(summary)))
    facts += [("not taken", reason) for reason in (summary.not_taken.describe() if summary.not_taken else ())]
    lines = [
        f"## {escape_markdown(summary.capability)}: {escape_markdown(format_counts(summary))}",
        "",
        "| | |",
        "|---|---|",
    ]
    lines += [f"| {name} | {escape_markdown(value)} |" for name, value in facts]
    if summary.message:
        lines += ["", f"**Stopped**: {escape_markdown(summary.message)} {escape_markdown(summary.hint or '')}"]
    if summary.simulated:
        lines += ["", "**Simulated**: some or all of these results were generated without a real model."]
    if summary.failures:
        lines += ["", "### Failures", "", "| items | kind | for example | what to do |", "|---|---|---|---|"]
        for group in summary.failures:
            cells = (f"{group.count:,}", group.kind, group.example, group.hint or "")
            lines.append(f"| {' | '.join(escape_markdown(cell) for cell in cells)} |")
    lines += ["", f"Results: {escape_markdown(summary.out)}/results"]
    if summary.report:
        lines += ["", f"[Report]({Path(summary.report).absolute().as_uri()}): {escape_markdown(summary.report)}"]
    return "\n".join(lines)


def read_cost_rows(out: Path) -> list[dict[str, Any]]:
    """Read the rows of OUT's ``costs.csv``, the newest day first; numbers as exact text."""
    try:
        with (out / "costs.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return []
    return [{name: to_single_line(value) for name, value in row.items()} for row in rows[: -_MAX_COST_ROWS - 1 : -1]]


def escape_markdown(text: str) -> str:
    """Escape a text so that Markdown shows it as it is, in one line of bounded length."""
    plain = cut_text(to_single_line(text), _MAX_TEXT_CHARACTERS)
    return _MARKDOWN_CHARACTERS.sub(r"\\\1", html.escape(plain, quote=False))


def _format_cost(summary: Summary) -> str:
    cost = "free" if summary.is_free else format_dollars(summary.cost_usd)
    cost += f" and up to {format_dollars(summary.unknown_max_usd)} more" if summary.unknown_max_usd else ""
    return cost + format_unpriced(summary.unstated)
