"""A run from the command line: said, asked for, shown while it goes, and told at its end."""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from mediamill.flows.signals import draining
from mediamill.flows.stderr import note, silence
from mediamill.flows.telling import opening_line, quote_line, tell_quote, tell_summary
from mediamill.flows.watching import Show, watch
from mediamill.flows.which import Prefect, choose, version_note
from mediamill.flows.words import many
from mediamill.tasks.errors import UsageError
from mediamill.tasks.job import Job

if TYPE_CHECKING:
    from mediamill.tasks.run import Retry
    from mediamill.tasks.summary import Summary
    from mediamill.tasks.wire import Provider


def run_job(job: Job, options: Mapping[str, Any], retry: Retry | None = None, *, again: int | None = None) -> int:
    """Run a job and tell what came of it; the exit code.

    Args:
        job: what to do.
        options: how to talk, as :func:`mediamill.flows.options.run_options` declares it.
        retry: do failed items again instead of reading the source.
        again: how many items a retry does; None when this is none.
    """
    from mediamill.tasks.open_run import choose_provider

    as_json = bool(options.get("as_json"))
    log_for(debug=bool(options.get("debug")))
    if options.get("quote_only"):
        from mediamill.tasks.quote import quote

        tell_quote(quote(job), as_json=as_json)
        return 0
    quiet = bool(options.get("quiet")) or as_json
    provider = choose_provider(job)
    prefect, how = choose(wanted=options.get("prefect"))
    if not quiet:
        note(opening_line(job, provider, how))
        if prefect and (about := version_note(prefect)):
            note(f"  {about}")
    if not options.get("yes"):
        _agree(job, provider, again)
    summary, caught, told = do_job(job, prefect, options, retry)
    try:
        tell_summary(summary, as_json=as_json)
    except BrokenPipeError:
        silence(sys.stdout)
    code = 128 + caught[0] if caught and summary.state == "cancelled" else summary.exit_code
    if not told:
        from mediamill.flows.asflow import end_untold

        end_untold(code)
    return code


def do_job(
    job: Job, prefect: Prefect | None, options: Mapping[str, Any], retry: Retry | None = None
) -> tuple[Summary, Sequence[int], bool]:
    """A job, shown while it goes; what came of it, the signals that came, and whether Prefect knows of its end."""
    with watch(quiet=bool(options.get("quiet")) or bool(options.get("as_json"))) as show:
        return _go(job, retry, prefect, show, debug=bool(options.get("debug")))


def _go(
    job: Job, retry: Retry | None, prefect: Prefect | None, show: Show | None, *, debug: bool
) -> tuple[Summary, Sequence[int], bool]:
    """The run itself, as a flow run or inline; the signals that came; False when Prefect does not know of its end."""
    if prefect is not None:
        from mediamill.flows.asflow import run_as_flow

        ended = run_as_flow(prefect, job, retry, show, debug=debug)
        if ended is not None and ended.summary is not None:
            note(f"prefect: {ended.url}" if ended.told else f"Prefect was not told how this run ended: {ended.url}")
            return ended.summary, ended.signals, ended.told
        note("Prefect went away before the run began; inline run")
    from mediamill.tasks.run import Run

    _settle_memory()
    run = Run(job, on_progress=show, retry=retry)
    with draining(run) as caught:
        return run.execute(), caught, True


def log_for(*, debug: bool) -> None:
    """Libraries' logs, asyncio's tracebacks of abandoned tasks among them, are for ``--debug`` alone."""
    import logging

    if debug:
        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
        logging.getLogger("asyncio").setLevel(logging.INFO)
    else:
        logging.getLogger().addHandler(logging.NullHandler())


def _settle_memory() -> None:
    """Let the collector pass over what was imported; with thousands of calls in flight it stops the loop otherwise."""
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def _agree(job: Job, provider: Provider, again: int | None) -> None:
    """A paid run on a terminal shows its quote, or what it does again, and asks; a budget answers."""
    if job.budget is not None or provider.name == "local" or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    if again is not None:
        told, todo = f"retry: {many(again, 'item')} at {provider.name}, paid for like new ones", again
    else:
        from mediamill.tasks.quote import quote

        quoted = quote(job)
        told, todo = quote_line(quoted), quoted.items - quoted.finished
    note(told)
    if todo and not click.confirm("Go on?", err=True):
        raise UsageError("not started", hint="--yes starts without asking, --budget USD bounds what it may cost")
