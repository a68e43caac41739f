"""The run's log in Prefect: the first few records of each kind as they are, then a line a minute that counts them.

Prefect's API gets a bounded number of lines, however many requests an outage makes fail.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mediamill.tasks.run_log import PACKAGE_LOGGER, read_fields
from mediamill.tasks.untrusted_text import escape_controls

_MAX_RECORDS_OF_A_KIND = 3
_SUMMARY_SECONDS = 60.0
_MAX_KINDS = 50
"""Further kinds are counted together."""


@dataclass(slots=True)
class _KindCount:
    """Records of one kind: how many were passed on, and how many were held back since the last line."""

    passed: int = 0
    held: int = 0
    level: int = logging.WARNING
    since: float = field(default_factory=time.monotonic)


class CollapsingHandler(logging.Handler):
    """Passes a run's records on to another logger, and of many of one kind only how many there were.

    Args:
        target: where the records go.
        run_id: the run; records of other runs in this process are left out, those of no run are not.
        level: records below it are left out.
        clock: seconds; replaced by tests.
    """

    def __init__(
        self,
        target: logging.Logger | logging.LoggerAdapter[Any],
        run_id: str,
        level: int = logging.WARNING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(level)
        self._target = target
        self._run_id = run_id
        self._clock = clock
        self._kinds: dict[str, _KindCount] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on, or count it."""
        fields = read_fields(record)
        if fields.get("run_id", self._run_id) != self._run_id:
            return
        words = (fields.get("event"), fields.get("kind") or fields.get("limit"))
        kind = ", ".join(str(word).replace("_", " ") for word in words if word) or record.name
        if kind not in self._kinds and len(self._kinds) >= _MAX_KINDS:
            kind = "other"
        count = self._kinds.setdefault(kind, _KindCount(since=self._clock()))
        count.level = record.levelno
        if count.passed < _MAX_RECORDS_OF_A_KIND:
            count.passed += 1
            count.since = self._clock()
            self._target.log(record.levelno, "%s", escape_controls(record.getMessage()))
            return
        count.held += 1
        self._write_summary(kind, count)

    def write_due_summaries(self, *, all_kinds: bool = False) -> None:
        """Write the summaries whose minute is over; with ``all_kinds`` what is left of every kind."""
        self.acquire()
        try:
            for kind, count in self._kinds.items():
                self._write_summary(kind, count, now=all_kinds)
        finally:
            self.release()

    def _write_summary(self, kind: str, count: _KindCount, *, now: bool = False) -> None:
        seconds = self._clock() - count.since
        if count.held and (now or seconds >= _SUMMARY_SECONDS):
            self._target.log(count.level, "%d more in the last %d s: %s", count.held, max(1, round(seconds)), kind)
            count.held, count.since = 0, self._clock()


class _Propagation:
    """Keeps records from the root logger while any run is forwarded: Prefect's handler there would print each again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs = 0
        self._before = True

    def __enter__(self) -> None:
        with self._lock:
            if self._runs == 0:
                self._before, PACKAGE_LOGGER.propagate = PACKAGE_LOGGER.propagate, False
            self._runs += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._runs -= 1
            if self._runs == 0:
                PACKAGE_LOGGER.propagate = self._before


_no_propagation = _Propagation()


@contextlib.contextmanager
def forward_log(target: logging.Logger | logging.LoggerAdapter[Any], run_id: str) -> Iterator[CollapsingHandler]:
    """Send the log of a run to ``target``, and not to the root logger, while the block runs."""
    handler = CollapsingHandler(target, run_id)
    with _no_propagation:
        PACKAGE_LOGGER.addHandler(handler)
        try:
            yield handler
        finally:
            PACKAGE_LOGGER.removeHandler(handler)
            handler.write_due_summaries(all_kinds=True)
