"""Wait until the files of a folder have settled, where every one of them changed just now: somebody's first command."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from mediamill.tasks.errors import UsageError
from mediamill.tasks.run_log import RUN_LOGGER, write_record

_LOOK_SECONDS = 0.25
_ROUNDING_SECONDS = 0.1


class UnsettledSource(UsageError):
    """Every file of a folder may still be written.

    Args:
        message: what is so.
        hint: the next step.
        seconds: until the newest one has settled, if nobody changes it.
    """

    def __init__(self, message: str, hint: str, seconds: float) -> None:
        super().__init__(message, hint=hint)
        self.seconds = seconds


def wait_until_settled(
    unsettled: UnsettledSource,
    *,
    tell: Callable[[str], None] = lambda _: None,
    check_stop: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until the newest file has settled, which is told and logged. One that goes on changing is not waited for.

    Args:
        unsettled: of the source.
        tell: gets one line about it.
        check_stop: called several times a second; what it raises ends the waiting.
        sleep: waits for so many seconds.
    """
    seconds = unsettled.seconds + _ROUNDING_SECONDS
    message = f"{unsettled.message}: waiting {max(seconds, 1):.0f} s; --settle 0 takes them at once"
    tell(message)
    write_record(RUN_LOGGER, logging.WARNING, "settling", message, wait_seconds=round(seconds, 1))
    while seconds > 0:
        check_stop()
        sleep(min(seconds, _LOOK_SECONDS))
        seconds -= _LOOK_SECONDS
