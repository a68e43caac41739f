"""Progress: a live view on a terminal, a plain line every half minute elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mediamill.flows.cli.console import print_note
from mediamill.flows.cli.library_noise import catch_library_noise
from mediamill.flows.cli.progress_text import format_progress
from mediamill.tasks.summary import Progress

ShowProgress = Callable[[Progress], None]

_LINE_SECONDS = 30.0


@contextmanager
def show_progress(*, quiet: bool, title: str, debug: bool = False) -> Iterator[ShowProgress | None]:
    """The function that a run calls with its progress; None with ``quiet``.

    Args:
        quiet: show nothing.
        title: what runs.
        debug: let what libraries in C write to stderr through.
    """
    with catch_library_noise(enabled=not debug):
        if quiet:
            yield None
        elif sys.stderr.isatty():
            from mediamill.flows.cli.live_view import show_live_view

            with show_live_view(title) as show:
                yield show
        else:
            yield make_line_printer()


def make_line_printer(clock: Callable[[], float] = time.monotonic) -> ShowProgress:
    """A function that prints the progress it is given as a line, at most one every half minute.

    Args:
        clock: the time in seconds.
    """
    last = clock()

    def show(progress: Progress) -> None:
        nonlocal last
        if clock() - last >= _LINE_SECONDS:
            last = clock()
            print_note(format_progress(progress))

    return show
