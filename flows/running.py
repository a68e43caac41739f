"""A run from the command line: said, asked for, shown while it goes, and told at its end."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from flows.telling import opening_line, quote_line, tell_quote, tell_summary
from flows.watching import watch
from tasks.errors import UsageError
from tasks.job import Job

if TYPE_CHECKING:
    from tasks.providers.base import Provider
    from tasks.run import Retry, Run

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_job(job: Job, options: Mapping[str, Any], retry: Retry | None = None) -> int:
    """Run a job and tell what came of it; the exit code."""
    from tasks.run import Run
    from tasks.start import choose_provider

    if options.get("debug"):
        import logging

        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
        logging.getLogger("asyncio").setLevel(logging.INFO)
    if options.get("quote_only"):
        from tasks.quote import quote

        tell_quote(quote(job), as_json=bool(options.get("as_json")))
        return 0
    quiet = bool(options.get("quiet") or options.get("as_json"))
    provider = choose_provider(job)
    if not quiet:
        click.echo(opening_line(job, provider), err=True)
    if retry is None:
        _agree(job, provider, yes=bool(options.get("yes")) or quiet)
    _settle_memory()
    with watch(quiet=quiet) as show:
        run = Run(job, on_progress=show, retry=retry)
        with _signals(run) as caught:
            summary = run.execute()
    tell_summary(summary, as_json=bool(options.get("as_json")))
    return 128 + caught[0] if caught and summary.state == "cancelled" else summary.exit_code


def _settle_memory() -> None:
    """Let the collector pass over what was imported; with thousands of calls in flight it stops the loop otherwise."""
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def _agree(job: Job, provider: Provider, *, yes: bool) -> None:
    """A paid run on a terminal shows its quote and asks; ``--yes`` or a budget answers."""
    if yes or job.budget is not None or provider.name == "local" or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    from tasks.quote import quote

    told = quote(job)
    click.echo(quote_line(told), err=True)
    if told.items > told.finished and not click.confirm("Go on?", err=True):
        raise UsageError("not started", hint="--yes starts without asking, --budget USD bounds what it may cost")


@contextmanager
def _signals(run: Run) -> Iterator[list[int]]:
    """The first signal drains the run, the second ends the process at once."""
    caught: list[int] = []
    earlier: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}

    def on_signal(number: int, _: FrameType | None) -> None:
        caught.append(number)
        if len(caught) > 1:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        click.echo("mediamill: stopping; what is in flight may end. Once more ends it now.", err=True)
        run.stop(f"stopped by {signal.Signals(number).name}")

    for number in _SIGNALS:
        earlier[number] = signal.signal(number, on_signal)
    try:
        yield caught
    finally:
        for number in _SIGNALS:
            signal.signal(number, earlier[number])
