"""What the command line prints, line by line: results on stdout, notes on stderr.

Names, messages and replies come from others: whatever a line holds, nothing in it moves the cursor, turns text or
begins another line. A closed stdout or stderr must not end a run that has paid work in flight.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, TextIO

import click

from mediamill.tasks.errors import StorageError
from mediamill.tasks.os_errors import build_storage_error
from mediamill.tasks.untrusted_text import escape_controls

_STDERR = 2
_STANDARD_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
_CLEAR_LINE = "\r\x1b[2K"
_SHOW_CURSOR = "\x1b[?25h"


def open_closed_streams() -> None:
    """Open the standard streams that were closed at the start, as ``>&-`` does, on the null device.

    The next file to be opened, the journal for one, would get the number of a closed stream, and what a library prints
    would be written into it.
    """
    with contextlib.suppress(OSError):
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
            os.set_inheritable(descriptor, True)
        os.close(descriptor)
    for number, (name, mode) in enumerate(_STANDARD_STREAMS):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal's encoding lacks


def print_line(text: str = "") -> None:
    """Print a line on stdout; nothing any more once nobody reads it."""
    _print_on_stdout(escape_controls(text))


def print_json(value: Any, *, indent: int | None = None) -> None:
    """Print a value as JSON on stdout: exact, and in ASCII, where JSON writes control characters as escapes."""
    _print_on_stdout(format_json(value, indent=indent))


@contextlib.contextmanager
def report_unprintable_end() -> Iterator[None]:
    """Print the end of work that is done: what stdout cannot take is a note, and the exit code stands."""
    try:
        yield
    except StorageError as error:
        print_note(f"mediamill: the end of the run cannot be printed: {error}", level="WARNING")


def _print_on_stdout(text: str) -> None:
    try:
        click.echo(text)
    except BrokenPipeError:
        redirect_to_null(sys.stdout)
    except OSError as error:
        redirect_to_null(sys.stdout)
        raise build_storage_error(error, "stdout") from None


def format_json(value: Any, *, indent: int | None = None) -> str:
    """A value as JSON of printable ASCII; what JSON has no type for becomes text."""
    return json.dumps(value, indent=indent, default=str).replace("\x7f", "\\u007f")


def print_note(text: str, *, level: str = "INFO") -> None:
    """Print a line on stderr, with ``--log-json`` as a line of its log; once stderr is closed, nothing any more.

    Args:
        text: the line.
        level: of the log's line.
    """
    print_log_line(_format_note(text, level))


def _format_note(text: str, level: str) -> str:
    if "--log-json" not in sys.argv:
        return text
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    values = {"time": now, "level": level, "logger": "mediamill.cli", "message": text.strip(), "event": "note"}
    return format_json(values)


def print_log_line(text: str) -> None:
    """Print a line on stderr as it is."""
    try:
        sys.stderr.write(escape_controls(text) + "\n")
        sys.stderr.flush()
    except OSError:
        redirect_to_null(sys.stderr)


def print_traceback() -> None:
    """Print the traceback of the exception that is being handled, on stderr; indented, as a message may hold lines."""
    for line in traceback.format_exc().splitlines():
        print_note(f"  {line}")


def redirect_to_null(stream: TextIO) -> None:
    """Redirect a stream to the null device, so that what it still buffers causes no error at exit either."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


class LastingStderr:
    """Stderr for a library that draws on it: once the terminal is gone it draws on nothing, and goes on."""

    def write(self, text: str) -> int:
        """Write text."""
        with self._survive_loss():
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        with self._survive_loss():
            sys.stderr.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)

    @staticmethod
    @contextlib.contextmanager
    def _survive_loss() -> Iterator[None]:
        try:
            yield
        except OSError:
            redirect_to_null(sys.stderr)


def print_from_signal_handler(text: str) -> None:
    """Print a line from a signal handler: past all buffers, which may be in use, and over a live line."""
    line = escape_controls(_format_note(text, "INFO"))
    with contextlib.suppress(OSError):
        os.write(_STDERR, f"{_CLEAR_LINE if os.isatty(_STDERR) else ''}{line}\n".encode())


def show_cursor() -> None:
    """Show the terminal's cursor again, before the process ends without cleaning up."""
    with contextlib.suppress(OSError):
        if os.isatty(_STDERR):
            os.write(_STDERR, _SHOW_CURSOR.encode())
