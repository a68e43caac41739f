"""Progress: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import IO, cast

from mediamill.flows.cli.console import LastingStderr, print_note
from mediamill.flows.cli.formatting import format_dollars, format_duration
from mediamill.tasks.summary import Outage, Progress
from mediamill.tasks.untrusted_text import escape_controls

ShowProgress = Callable[[Progress], None]

_LINE_SECONDS = 5.0


@contextmanager
def show_progress(*, quiet: bool) -> Iterator[ShowProgress | None]:
    """The function that a run calls with its progress; None with ``quiet``."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _show_live_line() as show:
            yield show
    else:
        yield _make_line_printer()


@contextmanager
def _show_live_line() -> Iterator[ShowProgress]:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(file=cast("IO[str]", LastingStderr())), refresh_per_second=4, transient=True) as live:
        yield lambda progress: live.update(
            Text(format_progress(progress, after_cause="\n"), no_wrap=True, overflow="ellipsis")
        )


def _make_line_printer() -> ShowProgress:
    last = time.monotonic()

    def show(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= _LINE_SECONDS:
            last = time.monotonic()
            print_note(format_progress(progress))

    return show


def format_progress(progress: Progress, *, after_cause: str = ": ") -> str:
    """A run's progress in one line; of an outage in two where ``after_cause`` is a line break."""
    if progress.phase != "run":
        phase = {"plan": "reading the source", "publish": "writing the report"}.get(progress.phase, progress.phase)
        return f"{phase}: {progress.total} items" if progress.total else phase
    parts = [f"{progress.done + progress.failed}/{progress.total} items"]
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    if progress.running:
        parts.append(f"{progress.running} jobs running")
    parts += [f"{progress.in_flight} in flight", f"{progress.rate:.1f}/s"]
    if progress.spent or progress.budget is not None:
        limit_text = f" of {format_dollars(progress.budget)}" if progress.budget is not None else ""
        parts.append(f"{format_dollars(progress.spent)}{limit_text}")
    if progress.outage is not None:  # first, because a narrow terminal cuts the end off
        return f"{format_outage(progress.outage, after_cause)}; {', '.join(parts)}"
    if progress.eta_s is not None:
        parts.append(f"{format_duration(progress.eta_s)} left")
    return ", ".join(parts)


def format_outage(outage: Outage, after_cause: str = ": ") -> str:
    """A provider that does not answer: since when, why, and, ``after_cause``, what happens next."""
    since, end = (f"{datetime.fromisoformat(time):%H:%M:%S}" for time in (outage.since, outage.gives_up_at))
    next_try = "trying now" if outage.next_try_s is None else f"next try in {outage.next_try_s:.0f} s"
    cause = escape_controls(outage.cause)
    return f"{outage.provider} does not answer since {since} ({cause}){after_cause}{next_try}, gives up at {end}"
