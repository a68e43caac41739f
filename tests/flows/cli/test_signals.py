"""Signals that come before a command has begun its work."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from mediamill.flows.cli.signals import StoppedBySignal, end_on_signal


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Handle signals as a shell's foreground does: a background or nohup may have them ignored."""
    numbers = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGHUP, 129), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("before_run", [True, False])
def test_a_signal_ends_a_command_with_a_line(number: signal.Signals, code: int, before_run: bool) -> None:
    handler = signal.getsignal(number)
    with (
        pytest.raises(StoppedBySignal, match=f"^stopped by {number.name}") as stop,
        end_on_signal(before_run=before_run),
    ):
        signal.raise_signal(number)
    assert stop.value.exit_code == code
    assert ("nothing was sent" in str(stop.value)) is before_run
    assert signal.getsignal(number) is handler


def test_a_command_that_starts_no_run_takes_ctrl_c_as_python_does() -> None:
    with pytest.raises(KeyboardInterrupt), end_on_signal(before_run=False):
        signal.raise_signal(signal.SIGINT)
