"""Signals: before a run they end the command; the first one drains a run, the second ends the process at once.

A terminal that closes sends SIGHUP, often several: from its shell, from the system, and again when its window is gone.
It drains a run, and never ends it at once. ``nohup`` has it ignored, and so it stays.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from mediamill.flows.cli.console import print_from_signal_handler, print_last_words

if TYPE_CHECKING:
    from mediamill.tasks.run.run import Run

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StoppedBySignal(BaseException):
    """A signal ended a command. No ``Exception``: nothing on its way takes it for a failure of its own.

    ``before_run`` says that the command starts a run, which had not begun.
    """

    def __init__(self, number: int, *, before_run: bool) -> None:
        when = " before the run began; nothing was sent" if before_run else ""
        super().__init__(f"stopped by {signal.Signals(number).name}{when}")
        self.exit_code = 128 + number


@contextmanager
def end_on_signal(*, before_run: bool = True) -> Iterator[None]:
    """Raise :class:`StoppedBySignal` at a signal while the block runs, until a run drains on them; main thread only.

    Commands that start no run take Ctrl-C as Python does: some wait for it.
    """

    def on_signal(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise StoppedBySignal(number, before_run=before_run)

    with _handle_signals(on_signal, _SIGNALS if before_run else _SIGNALS[1:]):
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
def _handle_signals(
    on_signal: Callable[[int, FrameType | None], None], numbers: Sequence[signal.Signals] = _SIGNALS
) -> Iterator[None]:
    """Handle ``numbers`` while the block runs, where this is the main thread; a SIGHUP that is ignored stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous_handlers: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}
    for number in numbers:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            previous_handlers[number] = signal.signal(number, on_signal)
    try:
        yield
    finally:
        for handled, handler in previous_handlers.items():
            signal.signal(handled, handler)
