"""The log of a run: its loggers, and records whose fields stand beside a message in plain words.

``mediamill.run`` speaks of runs and shards, ``mediamill.calls`` of requests, retries and limits. Nothing is configured
here: whoever uses this as a library adds handlers of their own. No record has a key, a body or a URL's query.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from mediamill.tasks.untrusted_text import cut_text, escape_controls

PACKAGE_LOGGER = logging.getLogger("mediamill")
CALLS_LOGGER = logging.getLogger("mediamill.calls")
RUN_LOGGER = logging.getLogger("mediamill.run")
_MAX_TEXT_CHARACTERS = 300
_USER = re.compile(r"://[^/\s]*@")
_RECORD_ATTRIBUTES = frozenset({*logging.makeLogRecord({}).__dict__, "message", "asctime"})

PACKAGE_LOGGER.addHandler(logging.NullHandler())  # or Python prints warnings of a program that configures no logging


def write_record(logger: logging.Logger, level: int, event: str, message: str, **fields: Any) -> None:
    """Write a record. Where building ``message`` costs much, ask ``logger.isEnabledFor(level)`` first.

    Args:
        logger: one of this module's.
        level: of :mod:`logging`.
        event: one word for what happened, by which records are counted.
        message: the same in plain words.
        **fields: plain values, which become attributes of the record; None is left out.
    """
    if logger.isEnabledFor(level):
        values = {
            name: clean_text(value) if isinstance(value, str) else value
            for name, value in fields.items()
            if value is not None
        }
        logger.log(level, "%s", escape_controls(message), extra={"event": event, **values})


def read_fields(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of a record: what was passed as ``extra``."""
    return {name: value for name, value in record.__dict__.items() if name not in _RECORD_ATTRIBUTES}


def clean_text(text: str) -> str:
    """Text from outside as a log may have it: short, on one line, and of a URL nothing that may give access."""
    if "://" in text:
        text = _USER.sub("://", re.split(r"[?#]", text, maxsplit=1)[0])
    return escape_controls(cut_text(text, _MAX_TEXT_CHARACTERS))
