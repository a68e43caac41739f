"""Signals: the first one drains a run, the second ends the process at once.

A terminal that closes sends SIGHUP, often several: from its shell, from the system, and again when its window is gone.
It drains a run, and never ends it at once. ``nohup`` has it ignored, and so it stays.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from mediamill.flows.cli.console import print_from_signal_handler, show_cursor

if TYPE_CHECKING:
    from mediamill.tasks.run import Run

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def drain_on_signal(run: Run) -> Iterator[list[int]]:
    """Drain ``run`` at a signal while the block runs; the list holds the signals received. Only in the main thread."""
    signals: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    previous_handlers: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}

    def on_signal(number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP and signals:
            return
        signals.append(number)
        if len(signals) > 1:
            show_cursor()
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        print_from_signal_handler("mediamill: stopping; requests in flight may end. A second signal ends it now.")
        run.stop(f"stopped by {signal.Signals(number).name}")

    for number in _SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            previous_handlers[number] = signal.signal(number, on_signal)
    try:
        yield signals
    finally:
        for handled, handler in previous_handlers.items():
            signal.signal(handled, handler)
