"""The log on stderr: in plain words, or with ``--log-json`` as one JSON object a line."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mediamill.flows.cli.console import format_json, print_log_line
from mediamill.tasks.run_log import PACKAGE_LOGGER, RUN_LOGGER, read_fields
from mediamill.tasks.untrusted_text import escape_controls

_LEVELS = {0: logging.CRITICAL + 1, 1: logging.INFO}


class StderrHandler(logging.Handler):
    """Prints each record as a line on stderr: above the live line of a terminal, and nowhere once that is closed."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        try:
            for line in self.format(record).splitlines():
                print_log_line(line)
        except Exception:  # noqa: BLE001 (a record that cannot be printed must not end a run)
            self.handleError(record)


class _LogFormatter(logging.Formatter):
    """What both forms of the log share: whether tracebacks are shown."""

    def __init__(self, *, tracebacks: bool) -> None:
        super().__init__()
        self._tracebacks = tracebacks


class TextFormatter(_LogFormatter):
    """Time, level, logger and message; a traceback follows on indented lines.

    Args:
        tracebacks: whether tracebacks are shown.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        line = f"{clock} {record.levelname.lower()} {record.name}: {escape_controls(record.getMessage())}"
        if not (self._tracebacks and record.exc_info):
            return line
        return "\n  ".join([line, *self.formatException(record.exc_info).splitlines()])


class JsonFormatter(_LogFormatter):
    """One JSON object a line: ``time`` in UTC, ``level``, ``logger``, ``message``, and the record's own fields.

    Args:
        tracebacks: whether tracebacks are shown.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        values: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **read_fields(record),
        }
        if self._tracebacks and record.exc_info:
            values["traceback"] = self.formatException(record.exc_info)
        return format_json(values)


def _make_notice_handler() -> logging.Handler:
    """Prints, without an option, the few records that everybody should see (``notice``), in plain words."""
    handler = StderrHandler(logging.WARNING)
    handler.addFilter(lambda record: bool(getattr(record, "notice", False)))
    handler.setFormatter(logging.Formatter("warning: %(message)s"))
    return handler


def configure_logging(options: Mapping[str, Any]) -> None:
    """Show what a command's options ask for: nothing, mediamill's own log, or with ``--debug`` that of libraries too.

    Args:
        options: ``verbose`` (how often ``-v`` was given), ``log_json`` and ``debug``.
    """
    debug, as_json, verbose = (
        bool(options.get("debug")),
        bool(options.get("log_json")),
        int(options.get("verbose") or 0),
    )
    level = logging.DEBUG if debug else _LEVELS.get(max(verbose, int(as_json)), logging.DEBUG)
    handler = StderrHandler(level)
    handler.setFormatter((JsonFormatter if as_json else TextFormatter)(tracebacks=debug))
    if debug:
        logging.basicConfig(level=level, handlers=[handler])
        logging.getLogger("asyncio").setLevel(logging.INFO)
    else:
        logging.getLogger().addHandler(logging.NullHandler())  # libraries log tracebacks of abandoned tasks
    if level <= logging.CRITICAL:
        PACKAGE_LOGGER.addHandler(handler)
        PACKAGE_LOGGER.setLevel(level)
    elif not options.get("quiet"):
        RUN_LOGGER.addHandler(_make_notice_handler())
    PACKAGE_LOGGER.propagate = False  # other packages set up the root's handlers, and each line would come twice
