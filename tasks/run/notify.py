"""Tells people how a run ended: by Apprise's URLs, or by what its caller offers. It never fails a run.

A URL may hold a secret, so neither it nor what a service said about it is shown: only where it comes from.
"""

from __future__ import annotations

import contextvars
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mediamill.tasks.errors import MediamillError, OutputBusy
from mediamill.tasks.formatting import format_dollars, format_unpriced
from mediamill.tasks.job import Job
from mediamill.tasks.notification import Notification, NotificationEvent
from mediamill.tasks.run_log import RUN_LOGGER
from mediamill.tasks.summary import Summary
from mediamill.tasks.untrusted_text import cut_text, to_single_line

SendToBlock = Callable[[str, str, str], None]
"""Sends by the Prefect block of this name a title and a text; raises :class:`NotSent` with the reason."""

_MAX_SECONDS = 30.0
"""Seconds that one notification may take; a service that hangs must not hold up the run's end."""
_MAX_REASON_CHARACTERS = 300
_LIBRARIES = ("apprise", "urllib3", "requests", "requests_oauthlib", "oauthlib", "httpx", "httpcore", "paho", "slixmpp")
"""Names of the loggers of what sends notifications."""


class NotSent(Exception):
    """A notification could not be sent; the message says why, without a URL."""


@dataclass(frozen=True, slots=True)
class RunEnd:
    """What is told of a run's end.

    Attributes:
        events: what happened, by which people choose what they hear of.
        kind: how a service shows it.
        headline: in a few words.
        lines: numbers, costs, where the results are, why it stopped.
    """

    events: frozenset[NotificationEvent]
    kind: Literal["success", "warning", "failure"]
    headline: str
    lines: tuple[str, ...]

    @classmethod
    def of_summary(cls, summary: Summary) -> RunEnd:
        """The end of a job's run."""
        counts = f"{summary.done:,} done, {summary.failed:,} failed"
        counts += f", {summary.left:,} left" if summary.left else ""
        lines = [counts, f"this run {format_dollars(summary.cost_usd)}{format_unpriced(summary.unstated)}"]
        lines[-1] += f", OUT {format_dollars(summary.out_cost_usd)}"
        lines[-1] += f" of {format_dollars(summary.budget)}" if summary.budget is not None else ""
        if summary.failures:
            lines.append(f"failures: {', '.join(f'{group.count:,} {group.kind}' for group in summary.failures)}")
        lines += _describe_stop(summary.message, summary.hint)
        lines.append(f"results: {Path(summary.out).absolute()}")
        events = _find_events(summary.exit_code, summary.stopped_by)
        if summary.state == "nothing":
            events = frozenset()
        elif summary.failed:
            events |= {"failures"}
        return cls(events, *_describe_end(summary.exit_code, summary.stopped_by), tuple(lines))

    @classmethod
    def of_chain(
        cls, exit_code: int, stopped_by: str | None, lines: Sequence[str], message: str | None, *, is_idle: bool
    ) -> RunEnd:
        """The end of a chain's run; ``lines`` are its numbers, ``is_idle`` says that there was nothing to do."""
        events = frozenset[NotificationEvent]() if is_idle else _find_events(exit_code, stopped_by)
        return cls(events, *_describe_end(exit_code, stopped_by), (*lines, *_describe_stop(message, None)))

    @classmethod
    def of_error(cls, error: MediamillError) -> RunEnd:
        """A run that could not start, or broke. One that found its OUT held by another tells nobody: the other will."""
        events = (
            frozenset[NotificationEvent]() if isinstance(error, OutputBusy) else _find_events(error.exit_code, None)
        )
        return cls(events, "failure", "could not run", tuple(_describe_stop(error.message, error.hint)))


def _find_events(exit_code: int, stopped_by: str | None) -> frozenset[NotificationEvent]:
    events: set[NotificationEvent] = {"end"}
    if exit_code == 3:  # noqa: PLR2004 (finished with failures)
        events.add("failures")
    elif exit_code:
        events.add("stopped")
    if stopped_by == "budget":
        events.add("budget")
    return frozenset(events)


def _describe_end(exit_code: int, stopped_by: str | None) -> tuple[Literal["success", "warning", "failure"], str]:
    if exit_code == 0:
        return "success", "done"
    if exit_code == 3:  # noqa: PLR2004 (finished with failures)
        return "warning", "finished with failures"
    words = {"budget": "stopped by its budget", "run_deadline": "stopped by its deadline", "cancelled": "cancelled"}
    return ("warning", words[stopped_by]) if stopped_by in words else ("failure", "stopped")


def _describe_stop(message: str | None, hint: str | None) -> list[str]:
    texts = [cut_text(to_single_line(text), _MAX_REASON_CHARACTERS) for text in (message, hint) if text]
    return [f"why: {' - '.join(texts)}"] if texts else []


def notify(
    notifications: Sequence[Notification],
    what: str,
    end: RunEnd,
    *,
    send_to_block: SendToBlock | None = None,
    warn: Callable[[str], None] = RUN_LOGGER.warning,
) -> None:
    """Tell those who want to hear of such an end.

    Args:
        notifications: the job's.
        what: what ran, for the title.
        end: how it ended.
        send_to_block: sends by a Prefect block; None where no Prefect is at hand.
        warn: gets a line for each notification that was not sent.
    """
    wanted = [notification for notification in notifications if not end.events.isdisjoint(notification.when)]
    if wanted:
        _leave_lost_folder()
    for notification in wanted:
        title, text = to_single_line(f"mediamill {what}: {end.headline}"), "\n".join(end.lines)
        try:
            if notification.env is not None:
                env = notification.env
                _run_in_time(lambda: _send_by_apprise(env, title, text, end.kind))  # noqa: B023 (it ends before the next)
            elif send_to_block is None:
                raise NotSent("a run from Python knows no Prefect; name an environment variable, or call its flow")
            else:
                block, send = notification.block or "", send_to_block
                _run_in_time(lambda: send(block, title, text))  # noqa: B023 (as above)
        except NotSent as reason:
            warn(f"the notification by {notification.env or notification.block} was not sent: {reason}")


def _leave_lost_folder() -> None:
    """Go to / where the working folder is gone, as a worker that stops removes its runs'; Apprise would not load."""
    try:
        Path.cwd()
    except OSError:
        os.chdir("/")


@contextmanager
def notifying(
    notifications: Sequence[Notification],
    what: str,
    *,
    send_to_block: SendToBlock | None = None,
    warn: Callable[[str], None] = RUN_LOGGER.warning,
) -> Iterator[Callable[[RunEnd], None]]:
    """Tell how the run ended that the block does: it calls what it gets with the end, or raises.

    Args:
        notifications: the job's.
        what: what ran, for the title.
        send_to_block: as for :func:`notify`.
        warn: as for :func:`notify`.
    """

    def tell(end: RunEnd) -> None:
        notify(notifications, what, end, send_to_block=send_to_block, warn=warn)

    try:
        yield tell
    except MediamillError as error:
        tell(RunEnd.of_error(error))
        raise


def describe_job(job: Job) -> str:
    """What ran, for the title: the capability and the source's name."""
    return f"{job.capability} {Path(job.source).name or job.source}"


def _send_by_apprise(env: str, title: str, text: str, kind: str) -> None:
    urls = os.environ.get(env)
    if not urls:
        raise NotSent(f"{env} is not set")
    import apprise

    with silence_libraries():
        services = apprise.Apprise()
        if not services.add(urls):
            raise NotSent(f"{env} is no URL that Apprise knows (https://appriseit.com)")
        types = {"success": apprise.NotifyType.SUCCESS, "warning": apprise.NotifyType.WARNING}
        notify_type = types.get(kind, apprise.NotifyType.FAILURE)
        if not services.notify(text, title=title, notify_type=notify_type, body_format=apprise.NotifyFormat.TEXT):
            raise NotSent("its service could not be reached, or refused it")


@contextmanager
def silence_libraries() -> Iterator[None]:
    """Keep what Apprise and its transports log while the block runs out of every log: it has paths that are secrets."""
    loggers, nowhere = [logging.getLogger(name) for name in _LIBRARIES], logging.NullHandler()
    propagated = [logger.propagate for logger in loggers]
    for logger in loggers:
        logger.propagate = False
        logger.addHandler(nowhere)
    try:
        yield
    finally:
        for logger, propagate in zip(loggers, propagated, strict=True):
            logger.removeHandler(nowhere)
            logger.propagate = propagate


def _run_in_time(work: Callable[[], None]) -> None:
    """Do it in a thread of its own, and go on after 30 s.

    Raises:
        NotSent: when it raised anything, or did not end.
    """
    raised: list[Exception] = []

    def do() -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 (a service's library may raise anything; its words may quote the URL)
            raised.append(error)

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(do,), name="notify", daemon=True)
    thread.start()
    thread.join(_MAX_SECONDS)
    if thread.is_alive():
        raise NotSent(f"it took more than {_MAX_SECONDS:.0f} s")
    if raised:
        raise raised[0] if isinstance(raised[0], NotSent) else NotSent(type(raised[0]).__name__)
