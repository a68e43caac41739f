"""The command line on a pseudo-terminal: its screen, typed keys, signals."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.cli_runs import bare_environment

_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Screen:
    """The exit code of a command and all that it wrote to its terminal, control codes included."""

    code: int
    text: str


class Terminal:
    """A command on a pseudo-terminal, in a session of its own, so that a terminal that closes hangs it up.

    Args:
        *arguments: of the command line.
        home: its home.
        prefix: a program that starts it.
    """

    def __init__(self, *arguments: str | Path, home: Path, prefix: Sequence[str] = ()) -> None:
        self._master, slave = pty.openpty()
        environment = bare_environment(home, TERM="xterm", COLUMNS="100")
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "mediamill.flows.cli", *map(str, arguments)],
            cwd=home if prefix else None,  # nohup writes what a terminal would show to a file
            stdin=slave,
            stdout=slave,
            stderr=slave,
            preexec_fn=_take_terminal,  # noqa: PLW1509 (a test starts no threads before)
            env=environment,
        )
        os.close(slave)
        self._output = b""

    def wait_for_text(self, text: str) -> None:
        """Wait until ``text`` is on the screen."""
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while text.encode() not in self._output:
            assert time.monotonic() < deadline, self._output
            assert self._read_output(), f"the command ended without {text!r}: {self._output!r}"

    def type_keys(self, keys: str) -> None:
        """Type keys."""
        os.write(self._master, keys.encode())

    def close(self) -> None:
        """Close the terminal, as its window does: the system hangs up what runs on it."""
        os.close(self._master)

    def press_ctrl_c(self) -> Screen:
        """Press Ctrl-C until the command ends: one just before a prompt starts to read has no effect until the next.

        The next one waits long enough for a slow machine: one that reaches an interpreter at its exit kills it.
        """
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        return self.wait_for_end()

    def wait_for_end(self, signals: Sequence[int] = ()) -> Screen:
        """Send signals, wait for the end, and return the screen."""
        for number in signals:
            self.process.send_signal(number)
        while self._read_output():
            pass
        code = self.process.wait(_TIMEOUT_SECONDS)
        os.close(self._master)
        return Screen(code, self._output.decode())

    def _read_output(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], _TIMEOUT_SECONDS)
        if not ready:
            self.process.kill()
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the other side is closed
            return False
        self._output += data
        return bool(data)


def _take_terminal() -> None:
    """Make the terminal on stdin the one that controls this process, which leads a new session."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
