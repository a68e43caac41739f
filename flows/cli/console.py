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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO

import click

from mediamill.tasks.errors import StorageError
from mediamill.tasks.system.os_errors import build_storage_error
from mediamill.tasks.untrusted_text import escape_controls

_STDERR = 2
_STANDARD_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
_CLEAR_BELOW = "\x1b[J"
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


def print_link(label: str, url: str, text: str) -> None:
    """Print a label and a link on stdout, for a terminal that knows OSC 8. The URL is one that Python has encoded."""
    _print_on_stdout(
        f"{escape_controls(label)} \x1b]8;;{escape_controls(url)}\x1b\\{escape_controls(text)}\x1b]8;;\x1b\\"
    )


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


@dataclass(slots=True)
class _SignalOutput:
    """Where signal handlers print: to a descriptor, or into a list that a live view prints from."""

    descriptor: int = _STDERR
    held: list[str] | None = None


_signal_output = _SignalOutput()


@contextlib.contextmanager
def move_stderr(descriptor: int) -> Iterator[None]:
    """Have signal handlers print to another descriptor while the block runs."""
    _signal_output.descriptor = descriptor
    try:
        yield
    finally:
        _signal_output.descriptor = _STDERR


@contextlib.contextmanager
def hold_signal_notes() -> Iterator[Callable[[], list[str]]]:
    """Hold back what signal handlers print while the block draws on the terminal; the function takes what there is."""
    held: list[str] = []
    _signal_output.held = held

    def take_notes() -> list[str]:
        taken = held[:]
        del held[: len(taken)]
        return taken

    try:
        yield take_notes
    finally:
        _signal_output.held = None
        for note in held:
            print_note(note)


def print_from_signal_handler(text: str) -> None:
    """Print a line from a signal handler: past all buffers, which may be in use, or above a live view."""
    if _signal_output.held is not None:
        _signal_output.held.append(text)
        return
    _write_from_signal_handler(f"{escape_controls(_format_note(text, 'INFO'))}\n")


def print_last_words(text: str) -> None:
    """Print a line below a live view, and show the cursor again, before the process ends without cleaning up."""
    line = escape_controls(_format_note(text, "ERROR"))
    on_terminal = os.isatty(_signal_output.descriptor)
    _write_from_signal_handler(f"\r\n{_CLEAR_BELOW}{line}\n{_SHOW_CURSOR}" if on_terminal else f"{line}\n")


def _write_from_signal_handler(text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(_signal_output.descriptor, text.encode(errors="backslashreplace"))
