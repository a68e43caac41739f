"""The command line on a terminal of its own: what is on its screen, typed keys, signals."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.cli_runs import bare_environment

_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Screen:
    """How a command ended and everything it wrote to its terminal, control codes included."""

    code: int
    text: str


class Terminal:
    """A command that believes a person is watching."""

    def __init__(self, *arguments: str | Path, home: Path) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mediamill.flows.cli", *map(str, arguments)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=bare_environment(home, TERM="xterm", COLUMNS="100"),
        )
        os.close(theirs)
        self._seen = b""

    def until(self, text: str) -> None:
        """Wait until ``text`` stands on the screen."""
        end = time.monotonic() + _SECONDS
        while text.encode() not in self._seen:
            assert time.monotonic() < end, self._seen
            assert self._read(), f"it ended without {text!r}: {self._seen!r}"

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def interrupt(self) -> Screen:
        """Press Ctrl-C until it ends: one that comes just before a prompt begins to read is seen only by the next.

        The next waits long enough for a slow machine: one that meets an interpreter which is ending kills it.
        """
        end = time.monotonic() + _SECONDS
        while self.process.poll() is None and time.monotonic() < end:
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        return self.end()

    def end(self, signals: Sequence[int] = ()) -> Screen:
        """Send signals, wait for the end, and look at the screen."""
        for number in signals:
            self.process.send_signal(number)
        while self._read():
            pass
        code = self.process.wait(_SECONDS)
        os.close(self._ours)
        return Screen(code, self._seen.decode())

    def _read(self) -> bool:
        ready, _, _ = select.select([self._ours], [], [], _SECONDS)
        if not ready:
            self.process.kill()
            return False
        try:
            read = os.read(self._ours, 65536)
        except OSError:  # the other side is closed
            return False
        self._seen += read
        return bool(read)
