"""Runs a job from the command line: opening line, confirmation, progress, summary."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mediamill.flows.cli.confirm import confirm_run
from mediamill.flows.cli.console import print_note, report_unprintable_end
from mediamill.flows.cli.log_output import configure_logging
from mediamill.flows.cli.output import describe_model_end, format_opening_line, print_quote, print_summary
from mediamill.flows.cli.progress import ShowProgress, show_progress
from mediamill.flows.cli.signals import drain_on_signal
from mediamill.flows.prefect_runtime.api_endpoint import PrefectApi, choose_prefect, describe_version_mismatch
from mediamill.tasks.job import Job

if TYPE_CHECKING:
    from mediamill.tasks.plan import Retry
    from mediamill.tasks.resolved_job import ResolvedJob
    from mediamill.tasks.summary import Summary


class CommandOutcome(NamedTuple):
    """The outcome of a run, the signals received, and whether its end was reported to Prefect, if it was to be."""

    summary: Summary
    signals: Sequence[int]
    reported: bool


def run_job_command(
    job: Job, options: Mapping[str, Any], retry: Retry | None = None, *, n_items: int | None = None
) -> int:
    """Run a job and print its outcome; return the exit code.

    Args:
        job: the job to run.
        options: what to print, as :func:`mediamill.flows.cli.options.make_run_options` declares it.
        retry: do failed items again instead of reading the source.
        n_items: number of items that a retry does; None for a run that is not a retry.
    """
    from mediamill.tasks.resolved_job import resolve_job

    as_json = bool(options.get("as_json"))
    configure_logging(options)
    resolved = resolve_job(job)
    if not options.get("quiet") and (end_note := describe_model_end(resolved)):
        print_note(f"mediamill: {end_note}")
    if options.get("quote_only"):
        from mediamill.tasks.quote import quote

        print_quote(quote(resolved), as_json=as_json)
        return 0
    quiet = bool(options.get("quiet")) or as_json
    prefect, how = choose_prefect(requested=options.get("prefect"))
    if not quiet:
        print_note(format_opening_line(resolved, how))
        if files_note := _describe_open_file_limit(resolved):
            print_note(f"  {files_note}")
        if prefect and (mismatch := describe_version_mismatch(prefect)):
            print_note(f"  {mismatch}")
    if not options.get("yes"):
        confirm_run(resolved, n_items)
    outcome = execute_job(resolved, prefect, options, retry)
    with report_unprintable_end():
        print_summary(outcome.summary, as_json=as_json)
    code = (
        128 + outcome.signals[0]
        if outcome.signals and outcome.summary.state == "cancelled"
        else outcome.summary.exit_code
    )
    if not outcome.reported:
        from mediamill.flows.prefect_runtime.runner import exit_unreported

        exit_unreported(code)
    return code


def _describe_open_file_limit(resolved: ResolvedJob) -> str | None:
    """What the limit on open files costs this run; None when it costs nothing."""
    from mediamill.tasks.open_files import get_open_file_limit, raise_open_file_limit
    from mediamill.tasks.open_run import choose_concurrency, get_wanted_concurrency

    raise_open_file_limit()
    wanted, allowed = get_wanted_concurrency(resolved), choose_concurrency(resolved)
    if allowed == wanted:
        return None
    return (
        f"{allowed} requests in flight instead of {wanted}: this process may have {get_open_file_limit()} files open; "
        "raise ulimit -n for more"
    )


def execute_job(
    resolved: ResolvedJob, prefect: PrefectApi | None, options: Mapping[str, Any], retry: Retry | None = None
) -> CommandOutcome:
    """Run a job as a flow run or inline, and show its progress unless the options say not to."""
    with show_progress(quiet=bool(options.get("quiet")) or bool(options.get("as_json"))) as show:
        if prefect is not None:
            from mediamill.flows.prefect_runtime.runner import run_as_flow

            flow_outcome = run_as_flow(prefect, resolved, retry, show, debug=bool(options.get("debug")))
            if flow_outcome is not None:
                url = flow_outcome.url
                print_note(
                    f"prefect: {url}"
                    if flow_outcome.reported
                    else f"the end of this run could not be reported to Prefect: {url}"
                )
                return CommandOutcome(flow_outcome.summary, flow_outcome.signals, flow_outcome.reported)
            print_note("Prefect went away before the run began; inline run")
        return _run_inline(resolved, retry, show)


def _run_inline(resolved: ResolvedJob, retry: Retry | None, show: ShowProgress | None) -> CommandOutcome:
    from mediamill.tasks.run import Run

    _tune_garbage_collector()
    run = Run(resolved, on_progress=show, retry=retry)
    with drain_on_signal(run) as signals:
        return CommandOutcome(run.execute(), signals, reported=True)


def _tune_garbage_collector() -> None:
    """Keep the garbage collector off what was imported; with thousands of calls in flight it stalls the event loop."""
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
