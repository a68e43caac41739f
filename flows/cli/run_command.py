"""Runs a job from the command line: opening line, confirmation, progress, summary."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mediamill.flows.cli.confirm import confirm_run
from mediamill.flows.cli.console import print_json, print_line, print_note, report_unprintable_end
from mediamill.flows.cli.library_noise import catch_library_noise
from mediamill.flows.cli.log_output import configure_logging
from mediamill.flows.cli.output import describe_models, format_opening_line, print_quote, print_summary
from mediamill.flows.cli.progress import ShowProgress, show_progress
from mediamill.flows.cli.signals import drain_on_signal, end_on_signal
from mediamill.flows.prefect_runtime.api_endpoint import PrefectApi, choose_prefect, describe_version_mismatch
from mediamill.tasks.job import Job

if TYPE_CHECKING:
    from mediamill.tasks.errors import EmptySource
    from mediamill.tasks.notification import Notification
    from mediamill.tasks.run.notify import RunEnd
    from mediamill.tasks.run.plan import Retry
    from mediamill.tasks.run.resolved_job import ResolvedJob
    from mediamill.tasks.summary import Summary


class CommandOutcome(NamedTuple):
    """The outcome of a run, the signals received, and whether its end was reported to Prefect, if it was to be."""

    summary: Summary
    signals: Sequence[int]
    reported: bool


def run_job_command(job: Job, options: Mapping[str, Any], retry: Retry | None = None) -> int:
    """Run a job and print its outcome; return the exit code.

    A job with a schedule whose source is empty or not there yet ends with 0, as its deployment does.

    Args:
        job: the job to run.
        options: what to print, as :func:`mediamill.flows.cli.options.make_run_options` declares it.
        retry: do failed items again instead of reading the source.
    """
    from mediamill.tasks.errors import EmptySource
    from mediamill.tasks.run.notify import describe_job

    with notify_command_end(job.notify, describe_job(job)) as tell:
        try:
            return _run(job, options, retry, tell)
        except EmptySource as error:
            out = Path(job.out_path).expanduser().absolute()
            if job.schedule is None or not print_nothing_yet(error, out, as_json=bool(options.get("as_json"))):
                raise
            return 0


def notify_command_end(
    notifications: Sequence[Notification], what: str
) -> AbstractContextManager[Callable[[RunEnd], None]]:
    """Tell how the run ended that the block does, and print what could not be sent; see ``tasks/run/notify.py``."""
    from mediamill.flows.prefect_runtime.notification_blocks import send_to_block
    from mediamill.tasks.run.notify import notifying

    return notifying(
        notifications, what, send_to_block=send_to_block, warn=lambda line: print_note(f"mediamill: {line}")
    )


def print_nothing_yet(error: EmptySource, out: Path, *, as_json: bool) -> bool:
    """Print that a job or chain with a schedule has nothing to do yet; False where its empty source is an error."""
    from mediamill.tasks.run.nothing_yet import describe_nothing_yet

    message = describe_nothing_yet(error, out)
    if message is None:
        return False
    if as_json:
        print_json({"state": "nothing", "exit_code": 0, "out": str(out), "message": message})
    else:
        print_line(message)
    return True


def _run(job: Job, options: Mapping[str, Any], retry: Retry | None, tell: Callable[[RunEnd], None]) -> int:
    from mediamill.tasks.run.notify import RunEnd
    from mediamill.tasks.run.resolved_job import resolve_job

    as_json = bool(options.get("as_json"))
    configure_logging(options)
    resolved = resolve_job(job, needs_key=not options.get("quote_only"))
    if not options.get("quiet"):
        for note in describe_models(resolved):
            print_note(f"mediamill: {note}")
    if retry is None and not options.get("quote_only"):
        resolved.refuse_another_out()
    if options.get("quote_only"):
        from mediamill.tasks.run.quote import quote

        with end_on_signal(), catch_library_noise(enabled=not options.get("debug")):
            quoted = quote(resolved, retry)
        print_quote(quoted, as_json=as_json)
        return 0
    quiet = bool(options.get("quiet")) or as_json
    prefect, how = choose_prefect(requested=options.get("prefect"))
    if not quiet:
        print_note(format_opening_line(resolved, how))
        if files_note := _describe_open_file_limit(resolved):
            print_note(f"  {files_note}")
        if prefect and (mismatch := describe_version_mismatch(prefect)):
            print_note(f"  {mismatch}")
    with end_on_signal():
        if retry is None:
            wait_for_new_files(resolved, quiet=bool(options.get("quiet")))
        confirm_run(resolved, retry, options)
        outcome = execute_job(resolved, prefect, options, retry)
    tell(RunEnd.of_summary(outcome.summary))
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


def wait_for_new_files(resolved: ResolvedJob, *, quiet: bool) -> None:
    """Wait where every file of the folder may still be written: the first command after a copy does its work."""
    from mediamill.tasks.run.params import list_param_names
    from mediamill.tasks.sources.factory import find_unsettled
    from mediamill.tasks.sources.settling import wait_until_settled

    unsettled = find_unsettled(resolved.job, resolved.capability.kinds, list_param_names(resolved.capability))
    if unsettled is not None:
        wait_until_settled(unsettled, tell=(lambda _: None) if quiet else lambda line: print_note(f"mediamill: {line}"))


def _describe_open_file_limit(resolved: ResolvedJob) -> str | None:
    """What the limit on open files costs this run; None when it costs nothing."""
    from mediamill.tasks.run.call_setup import choose_concurrency, get_wanted_concurrency
    from mediamill.tasks.system.open_files import get_open_file_limit, raise_open_file_limit

    raise_open_file_limit()
    wanted, allowed = get_wanted_concurrency(resolved), choose_concurrency(resolved)
    if allowed == wanted:
        return None
    return (
        f"{allowed} requests in flight instead of {wanted}: this process may have {get_open_file_limit()} files open; "
        "raise ulimit -n for more"
    )


def execute_job(
    resolved: ResolvedJob,
    prefect: PrefectApi | None,
    options: Mapping[str, Any],
    retry: Retry | None = None,
    *,
    title: str | None = None,
) -> CommandOutcome:
    """Run a job as a flow run or inline, and show its progress unless the options say not to.

    Args:
        resolved: the job.
        prefect: the API that is to see the run; None for none.
        options: of the command.
        retry: do failed items again instead of reading the source.
        title: what the progress calls it; by default the capability.
    """
    quiet, debug = bool(options.get("quiet") or options.get("as_json")), bool(options.get("debug"))
    with show_progress(quiet=quiet, title=title or resolved.capability.name, debug=debug) as show:
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
    from mediamill.tasks.run.run import Run

    _tune_garbage_collector()
    run = Run(resolved, on_progress=show, retry=retry)
    with drain_on_signal(run) as signals:
        return CommandOutcome(run.execute(), signals, reported=True)


def _tune_garbage_collector() -> None:
    """Keep the garbage collector off what was imported; with thousands of calls in flight it stalls the event loop."""
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
