"""A worker process as its run sees it: started with a socket and the file of OUT's lock, and read until it ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

import mediamill
from mediamill.tasks.engine import Engine
from mediamill.tasks.errors import StorageError
from mediamill.tasks.workers.channel import Channel

_ROOT = Path(mediamill.__file__).parent.parent
"""The folder from which the package is imported."""
_START_SECONDS = 240.0
"""How long a start may take at most, on a machine that is busy with other things."""
_MAX_LINE_CHARACTERS, _TAIL_BYTES = 200, 2000


@dataclass(slots=True)
class Child:
    """A worker process.

    Attributes:
        number: among the workers of its run, from 1.
        process: it.
        channel: to it.
        errors: what it writes to stdout and stderr.
        shards: those that it has and has not done.
        room: how many more it can take.
        is_finished: whether it has said that everything is in the journal.
        heard_at: when it last said anything, in the time of :func:`time.monotonic`; later than now while it starts.
    """

    number: int
    process: subprocess.Popen[bytes]
    channel: Channel
    errors: IO[bytes]
    shards: set[int] = field(default_factory=set)
    room: int = 0
    is_finished: bool = False
    heard_at: float = field(default_factory=lambda: time.monotonic() + _START_SECONDS)

    @classmethod
    async def start(cls, number: int, lock: int, engine: Engine) -> Self:
        """Start a process.

        Args:
            number: of the worker.
            lock: the descriptor of the file of OUT's lock, which the process keeps open.
            engine: of the run.

        Raises:
            StorageError: when the system starts none.
        """
        ours, theirs = socket.socketpair()
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        command = [sys.executable, "-P", "-m", "mediamill.tasks.workers.process", str(theirs.fileno())]
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        try:
            process = await engine.run_in_thread(
                lambda: subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                    pass_fds=(theirs.fileno(), lock),
                    env={**os.environ, "PYTHONPATH": path},
                )
            )
        except OSError as error:
            ours.close()
            raise StorageError(f"a worker process could not be started: {error.strerror or error}") from None
        finally:
            theirs.close()
        return cls(number, process, await Channel.open(ours), errors)

    def describe_death(self, code: int) -> str:
        """How it died, in words, with the last line that it wrote."""
        text = f"worker process {self.number} ended by " + (f"signal {-code}" if code < 0 else f"exit code {code}")
        self.errors.seek(0, os.SEEK_END)
        self.errors.seek(max(0, self.errors.tell() - _TAIL_BYTES))
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return f"{text}: {lines[-1][:_MAX_LINE_CHARACTERS]}" if lines else text
