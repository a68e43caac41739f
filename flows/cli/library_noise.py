"""What libraries in C write to stderr during a run, such as libav's and leptonica's warnings: caught, and logged.

They write to the file descriptor itself, into the middle of what is drawn there. While a run works, that descriptor is
a pipe, whose lines go to the log at DEBUG, and stderr itself is a copy of the old one.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mediamill.flows.cli.console import move_stderr
from mediamill.tasks.run_log import RUN_LOGGER, clean_text, write_record

_STDERR = 2
_MAX_LINE_BYTES = 4096


@contextmanager
def catch_library_noise(*, enabled: bool = True) -> Iterator[None]:
    """Log what reaches stderr past Python while the block runs."""
    if not enabled or not _is_plain_stderr():
        yield
        return
    sys.stderr.flush()
    own, (read_end, write_end) = os.dup(_STDERR), os.pipe()
    previous = sys.stderr
    os.set_blocking(write_end, False)
    os.dup2(write_end, _STDERR)
    os.close(write_end)
    encoding = previous.encoding or "utf-8"
    sys.stderr = io.TextIOWrapper(io.FileIO(own, "w"), encoding, errors="backslashreplace", line_buffering=True)
    reader = threading.Thread(target=_log_lines, args=(read_end,), name="library-noise", daemon=True)
    reader.start()
    try:
        with move_stderr(own):
            yield
    finally:
        sys.stderr.flush()
        os.dup2(own, _STDERR)  # the pipe's last end, unless a child process has it: the reader goes on until that ends
        sys.stderr = previous
        reader.join(timeout=1.0)


def _is_plain_stderr() -> bool:
    """Whether Python's stderr is the process's own, and nobody has put something in its place."""
    try:
        return sys.__stderr__ is not None and sys.stderr is sys.__stderr__ and sys.__stderr__.fileno() == _STDERR
    except (OSError, ValueError):
        return False


def _log_lines(descriptor: int) -> None:
    """Log each line that comes through a pipe, until it has no writer any more."""
    with os.fdopen(descriptor, "rb") as pipe:
        while line := pipe.readline(_MAX_LINE_BYTES):
            text = clean_text(line.decode("utf-8", "replace").strip())
            if text:
                write_record(RUN_LOGGER, logging.DEBUG, "library_said", f"a library says: {text}", text=text)
