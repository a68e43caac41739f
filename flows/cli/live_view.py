"""The live view of a run on a terminal: a bar, counts, pace, cost, time, the slowest item and the last failures.

It is drawn anew several times a second, at whatever size the terminal then has: below 80 columns and 15 lines it is a
single line. It is gone when the run ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, cast

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.live import Live
from rich.text import Text

from mediamill.flows.cli.console import LastingStderr, hold_signal_notes
from mediamill.flows.cli.progress_text import (
    format_claims_of_others,
    format_cost,
    format_outage,
    format_phase,
    format_progress,
    format_silence,
)
from mediamill.tasks.formatting import format_duration, pluralize
from mediamill.tasks.untrusted_text import escape_controls

if TYPE_CHECKING:
    from mediamill.tasks.summary import Progress

MIN_WIDTH, MIN_HEIGHT = 80, 15
"""The smallest terminal, in columns and lines, that gets more than a line."""
_REFRESHES_PER_SECOND = 4
_LABEL_CELLS = 10
_MAX_BAR_CELLS = 60


class LiveView:
    """What is drawn of the latest progress.

    Args:
        title: what runs.
    """

    def __init__(self, title: str) -> None:
        self._title = escape_controls(title)
        self._progress: Progress | None = None

    def update(self, progress: Progress) -> None:
        """Show this progress from the next drawing on."""
        self._progress = progress

    def format_lines(self, width: int, height: int, *, has_blocks: bool = True) -> list[Text]:
        """The view's lines, none of them wider than the terminal.

        Args:
            width: of the terminal, in columns.
            height: of the terminal, in lines.
            has_blocks: whether the terminal can show more than ASCII.
        """
        progress = self._progress
        if progress is None:
            return [_fit(Text(self._title), width)]
        if width < MIN_WIDTH or height < MIN_HEIGHT:
            return [_fit(Text(format_progress(progress)), width)]
        if progress.phase != "run":
            return [_fit(Text(f"{self._title}: {format_phase(progress)}"), width)]
        lines = [self._format_bar(progress, width, has_blocks=has_blocks)]
        lines += [_format_row(label, value) for label, value in _list_facts(progress)]
        if progress.outage is not None:
            lines += [Text(part, "yellow") for part in format_outage(progress.outage, "\n").splitlines()]
        elif progress.silent_seconds is not None:
            lines.append(Text(format_silence(progress.silent_seconds), "yellow"))
        lines += [_format_row("failed", group.example, "red") for group in progress.last_failures]
        return [_fit(line, width) for line in lines]

    def _format_bar(self, progress: Progress, width: int, *, has_blocks: bool) -> Text:
        ended, total = progress.done + progress.failed, progress.total
        share = min(ended / total, 1.0) if total else 0.0
        numbers = f"  {ended:,} of {pluralize(total, 'item')}  {int(100 * share)} %"
        title = self._title if cell_len(self._title) <= width // 3 else set_cell_size(self._title, width // 3)
        cells = min(width - cell_len(title) - len(numbers) - 3, _MAX_BAR_CELLS)
        filled = int(cells * share)
        full, empty = ("━", "━") if has_blocks else ("#", "-")
        return Text.assemble(
            (title, "bold"), "  ", (full * filled, "green"), (empty * (cells - filled), "bright_black"), numbers
        )


def _list_facts(progress: Progress) -> Iterator[tuple[str, str]]:
    """The rows of the view that every run has, label and value."""
    parts = [f"{progress.done:,} done", f"{progress.failed:,} failed", f"{progress.retried:,} retried"]
    if progress.cached:
        parts.insert(1, f"{progress.cached:,} of them reused")
    yield "items", ", ".join(parts)
    limit = "" if progress.max_in_flight is None else f" of at most {progress.max_in_flight:,}"
    parts = [f"{progress.in_flight:,} in flight{limit}"]
    if progress.running:
        parts.append(f"{pluralize(progress.running, 'job')} running")
    if progress.claimed_by_others:
        parts.append(format_claims_of_others(progress.claimed_by_others))
    if progress.rate_limited or progress.max_requests_per_second is not None:
        pace = progress.max_requests_per_second
        parts.append(f"{progress.rate_limited:,} refused as too many (429)" + (f", now {pace:.1f}/s" if pace else ""))
    yield "requests", ", ".join(parts)
    yield "pace", f"{progress.rate:.1f} items/s"
    yield "cost", format_cost(progress)
    left = (
        ""
        if progress.eta_s is None or progress.outage is not None
        else f", about {format_duration(progress.eta_s)} left"
    )
    yield "time", f"{format_duration(progress.seconds)}{left}"
    if progress.slowest_item is not None:
        yield "slowest", f"{progress.slowest_item}, for {format_duration(progress.slowest_seconds)}"


def _format_row(label: str, value: str, style: str = "") -> Text:
    return Text.assemble((f"{label:<{_LABEL_CELLS}}", "bright_black"), (escape_controls(value), style))


def _fit(line: Text, width: int) -> Text:
    """The line, cut to the terminal's width; its last column stays free, as some terminals wrap there."""
    line.truncate(max(width - 1, 1), overflow="ellipsis")
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


class _RedrawnLive(Live):
    """A live display that draws the view anew at each refresh.

    It first prints what signal handlers left, and clears what a narrower terminal has wrapped of its last lines.

    Args:
        view: what it draws.
        take_notes: returns the signal handlers' lines since the last time.
    """

    def __init__(self, view: LiveView, take_notes: Callable[[], list[str]]) -> None:
        self._view, self._take_notes = view, take_notes
        self._drawn: tuple[int, list[int]] = (0, [])
        console = Console(file=cast("IO[str]", LastingStderr()))
        super().__init__(console=console, refresh_per_second=_REFRESHES_PER_SECOND, transient=True)

    def get_renderable(self) -> Text:
        """The view's lines now."""
        width, height = self.console.size
        old_width, lengths = self._drawn
        if lengths and width < old_width:
            rows = sum(max(-(-length // width), 1) for length in lengths)
            self._live_render._shape = (width, rows)  # noqa: SLF001 - what it clears; rich has no way to say it
        for note in self._take_notes():
            self.console.print(Text(note), soft_wrap=True)
        lines = self._view.format_lines(width, height, has_blocks=not self.console.options.ascii_only)
        self._drawn = (width, [line.cell_len for line in lines])
        return Text("\n", no_wrap=True, overflow="ellipsis").join(lines)


@contextmanager
def show_live_view(title: str) -> Iterator[Callable[[Progress], None]]:
    """Draw a live view on stderr for as long as the block runs; the function takes the run's progress."""
    view = LiveView(title)
    with hold_signal_notes() as take_notes, _RedrawnLive(view, take_notes):
        yield view.update
