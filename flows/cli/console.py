"""Lines on stderr. A closed stderr must not end a run that has paid work in flight."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO

_STDERR = 2
_CLEAR_LINE = "\r\x1b[2K"
_SHOW_CURSOR = "\x1b[?25h"


def print_note(text: str) -> None:
    """Print a line on stderr; once that is closed, print nothing any more."""
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except OSError:
        redirect_to_null(sys.stderr)


def redirect_to_null(stream: TextIO) -> None:
    """Redirect a stream to the null device, so that what it still buffers causes no error at exit either."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def print_from_signal_handler(text: str) -> None:
    """Print a line from a signal handler: past all buffers, which may be in use, and over a live line."""
    with contextlib.suppress(OSError):
        os.write(_STDERR, f"{_CLEAR_LINE if os.isatty(_STDERR) else ''}{text}\n".encode())


def show_cursor() -> None:
    """Show the terminal's cursor again, before the process ends without cleaning up."""
    if os.isatty(_STDERR):
        print_from_signal_handler(_SHOW_CURSOR)
