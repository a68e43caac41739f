"""Signals: before a run they end the command; the first one drains a run, the second ends the process at once.

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

from mediamill.flows.cli.console import print_from_signal_handler, print_last_words

if TYPE_CHECKING:
    from mediamill.tasks.run.run import Run

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StoppedBySignal(BaseException):
    """A signal came before a run had begun. No ``Exception``: nothing on its way takes it for a failure of its own."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name} before the run began; nothing was sent")
        self.exit_code = 128 + number


@contextmanager
def end_on_signal() -> Iterator[None]:
    """Raise :class:`StoppedBySignal` at a signal while the block runs, until a run drains on them; main thread only."""

    def on_signal(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise StoppedBySignal(number)

    with _handle_signals(on_signal):
        yield


@contextmanager
def drain_on_signal(run: Run) -> Iterator[list[int]]:
    """Drain ``run`` at a signal while the block runs; the list holds the signals received. Only in the main thread."""
    signals: list[int] = []

    def on_signal(number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP and signals:
            return
        signals.append(number)
        if len(signals) > 1:
            print_last_words(f"mediamill: ended at once; {run.describe_cut_off()}")
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        print_from_signal_handler("mediamill: stopping; requests in flight may end. A second signal cuts them off.")
        run.stop(f"stopped by {signal.Signals(number).name}")

    with _handle_signals(on_signal):
        yield signals


@contextmanager
def _handle_signals(on_signal: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle signals while the block runs, where this is the main thread; a SIGHUP that is ignored stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous_handlers: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}
    for number in _SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            previous_handlers[number] = signal.signal(number, on_signal)
    try:
        yield
    finally:
        for handled, handler in previous_handlers.items():
            signal.signal(handled, handler)
