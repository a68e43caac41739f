"""A run from the command line: announced, agreed to, shown while it goes, and summed up at its end."""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mediamill.flows.cli.confirm import confirm_run
from mediamill.flows.cli.console import note, silence
from mediamill.flows.cli.output import opening_line, print_quote, print_summary
from mediamill.flows.cli.progress import Show, show_progress
from mediamill.flows.cli.signals import draining
from mediamill.flows.prefect_runtime.api_endpoint import Prefect, choose, version_note
from mediamill.tasks.job import Job

if TYPE_CHECKING:
    from mediamill.tasks.plan import Retry
    from mediamill.tasks.resolved_job import ResolvedJob
    from mediamill.tasks.summary import Summary


class RunEnd(NamedTuple):
    """What came of a run from the command line, which signals came, and whether Prefect, if any, knows of its end."""

    summary: Summary
    signals: Sequence[int]
    prefect_knows: bool


def run_job(job: Job, options: Mapping[str, Any], retry: Retry | None = None, *, again: int | None = None) -> int:
    """Run a job and print what came of it; the exit code.

    Args:
        job: what to do.
        options: how to talk, as :func:`mediamill.flows.cli.options.run_options` declares it.
        retry: do failed items again instead of reading the source.
        again: how many items a retry does; None when this is none.
    """
    from mediamill.tasks.resolved_job import resolve_job

    as_json = bool(options.get("as_json"))
    configure_logging(debug=bool(options.get("debug")))
    resolved = resolve_job(job)
    if options.get("quote_only"):
        from mediamill.tasks.quote import quote

        print_quote(quote(resolved), as_json=as_json)
        return 0
    quiet = bool(options.get("quiet")) or as_json
    prefect, how = choose(wanted=options.get("prefect"))
    if not quiet:
        note(opening_line(resolved, how))
        if prefect and (about := version_note(prefect)):
            note(f"  {about}")
    if not options.get("yes"):
        confirm_run(resolved, again)
    end = execute_job(resolved, prefect, options, retry)
    try:
        print_summary(end.summary, as_json=as_json)
    except BrokenPipeError:
        silence(sys.stdout)
    code = 128 + end.signals[0] if end.signals and end.summary.state == "cancelled" else end.summary.exit_code
    if not end.prefect_knows:
        from mediamill.flows.prefect_runtime.runner import end_untold

        end_untold(code)
    return code


def execute_job(
    resolved: ResolvedJob, prefect: Prefect | None, options: Mapping[str, Any], retry: Retry | None = None
) -> RunEnd:
    """Do a job as a flow run or inline, and show its progress as the options want it."""
    with show_progress(quiet=bool(options.get("quiet")) or bool(options.get("as_json"))) as show:
        if prefect is not None:
            from mediamill.flows.prefect_runtime.runner import run_as_flow

            ended = run_as_flow(prefect, resolved, retry, show, debug=bool(options.get("debug")))
            if ended is not None:
                url = ended.url
                note(f"prefect: {url}" if ended.told else f"Prefect was not told how this run ended: {url}")
                return RunEnd(ended.summary, ended.signals, ended.told)
            note("Prefect went away before the run began; inline run")
        return _run_inline(resolved, retry, show)


def _run_inline(resolved: ResolvedJob, retry: Retry | None, show: Show | None) -> RunEnd:
    from mediamill.tasks.run import Run

    _settle_memory()
    run = Run(resolved, on_progress=show, retry=retry)
    with draining(run) as caught:
        return RunEnd(run.execute(), caught, prefect_knows=True)


def configure_logging(*, debug: bool) -> None:
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
