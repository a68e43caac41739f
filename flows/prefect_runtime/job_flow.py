"""The flow of a job: what happens inside its flow run, from the job's check to the artifacts of its end."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prefect import get_run_logger
from prefect.client.schemas.objects import State, StateType
from prefect.utilities.urls import url_for

from mediamill.flows.cli.output import format_opening_line
from mediamill.flows.cli.signals import drain_on_signal
from mediamill.flows.prefect_runtime import artifacts, offline_exit
from mediamill.flows.prefect_runtime.flow_call import FlowCall, FlowOutcome, JobRequest, ResultFlow, is_deployed
from mediamill.flows.prefect_runtime.flow_run_ends import EndRecords
from mediamill.flows.prefect_runtime.log_forwarding import CollapsingHandler, forward_log
from mediamill.flows.prefect_runtime.monitor import Monitor, limit_api_retries, wait_for_api
from mediamill.flows.prefect_runtime.notification_blocks import send_to_block
from mediamill.flows.prefect_runtime.secret_blocks import use_secret_block
from mediamill.flows.prefect_runtime.states import (
    to_caught_up_state,
    to_end_state,
    to_nothing_yet_state,
    to_refused_state,
)
from mediamill.flows.prefect_runtime.task_runs import TaskRuns
from mediamill.flows.prefect_runtime.worker_entrypoint import WORKER_DRAIN_SECONDS, on_worker_exit
from mediamill.tasks.errors import MediamillError, OutputBusy
from mediamill.tasks.job import Job
from mediamill.tasks.run.nothing_yet import describe_nothing_yet
from mediamill.tasks.run.notify import RunEnd, describe_job, notify
from mediamill.tasks.run.quote import quote_when_settled
from mediamill.tasks.run.quote_text import describe_limit, format_quote
from mediamill.tasks.run.resolved_job import ResolvedJob, resolve_job
from mediamill.tasks.run.run import Run
from mediamill.tasks.system.private_files import make_private_folder
from mediamill.tasks.untrusted_text import escape_controls

if TYPE_CHECKING:
    from mediamill.tasks.run.plan import Retry
    from mediamill.tasks.summary import Progress, Summary

MAX_API_WAIT_SECONDS = 6.0
"""Seconds that a Prefect API may be away before a run whose work is done ends without it; exiting adds to them."""
_TOLD_FILE = ".journal/told-of-no-budget"
"""File below OUT that says that its deployment's runs were told how to be deployed anew."""
_NO_CONSENT = (
    "this deployment costs money and has neither a budget nor confirmed: true; it runs on, and deploying it anew will "
    "ask for one of them (told once)"
)
_RUNNING_OR_COMPLETED = (StateType.RUNNING, StateType.COMPLETED)


class JobFlow(ResultFlow):
    """A flow that runs a job; its result is the run's summary.

    Args:
        request: makes the request from the flow's parameters, and has their signature.
        **options: as :class:`prefect.Flow` takes them.
    """

    def __init__(self, request: Callable[..., JobRequest], **options: Any) -> None:
        super().__init__(request, run_in_flow, **options)

    def call(self, parameters: dict[str, Any], call: FlowCall) -> FlowOutcome | None:
        """Run the flow for a caller that has the job already.

        Args:
            parameters: the run's parameters in Prefect.
            call: the job, and the function to call with its progress.

        Returns:
            The outcome; None when Prefect went away before the run started.

        Raises:
            MediamillError: what the run itself raised.
        """
        returned = self._call_flow(call, return_state=True, **parameters)
        if call.error is not None:
            raise call.error
        return replace(call.outcome, reported=False) if call.outcome is not None and returned is None else call.outcome


def run_in_flow(request: Callable[[], JobRequest], call: FlowCall) -> State[Any]:
    """Run a job inside the current flow run; return the state it ends in.

    Args:
        request: makes the request; an error that it raises ends the flow run as Failed.
        call: receives the outcome.
    """
    job: Job | None = None
    resolved: ResolvedJob | None = None
    on_worker_exit(lambda: signal.raise_signal(signal.SIGTERM))  # until the run itself can drain
    try:
        job_request = request()
        if job_request.key_block and isinstance(job_request.job, Job):
            use_secret_block(job_request.job, job_request.key_block)
        job = job_request.job if isinstance(job_request.job, Job) else job_request.job.job
        resolved = resolve_job(job_request.job)
        monitor = Monitor(resolved.job, resolved.provider.name)
        if superseding := monitor.find_superseding_run():
            return to_caught_up_state(superseding)
        monitor.tag_run()
        get_run_logger().info("%s", escape_controls(format_opening_line(resolved, how="flow run")))
        if call.request is None and resolved.is_paid:
            _tell_cost(resolved, job_request.retry, monitor)
        try:
            call.outcome = _execute_run(resolved, job_request.retry, call, monitor)
        except OutputBusy:
            if superseding := monitor.find_superseding_run(by=_RUNNING_OR_COMPLETED):
                return to_caught_up_state(superseding)
            raise
        summary = call.outcome.summary
        _tell_end(call, resolved.job, RunEnd.of_summary(summary))
        call.result = summary.as_dict()
        if summary.state == "nothing" and (
            superseding := monitor.find_superseding_run(by=_RUNNING_OR_COMPLETED, earlier=True)
        ):
            return to_caught_up_state(superseding)
    except MediamillError as error:
        call.error = error
        if resolved is not None and (message := _describe_nothing_yet(error, resolved, call)):
            get_run_logger().info("%s", escape_controls(message))
            return to_nothing_yet_state(message)
        _tell_end(call, resolved.job if resolved is not None else job, RunEnd.of_error(error))
        get_run_logger().error("%s", escape_controls(str(error)))
        return to_refused_state(error)
    if not call.outcome.reported:
        EndRecords.unreported().write(monitor.flow_run.id, summary.run_id, to_end_state(summary))
        offline_exit.finish_unreported(monitor.flow_run, call.cleanup, completed=to_end_state(summary).is_completed())
    return to_end_state(summary)


def _tell_end(call: FlowCall, job: Job | None, end: RunEnd) -> None:
    """Tell people how the run ended; a command that has the job already does so itself."""
    if call.request is None and job is not None:
        notify(job.notify, describe_job(job), end, send_to_block=send_to_block, warn=get_run_logger().warning)


def _describe_nothing_yet(error: MediamillError, resolved: ResolvedJob, call: FlowCall) -> str | None:
    """What a scheduled run says that found nothing to do; None for other runs, and where the error is one for it."""
    is_scheduled = call.is_scheduled or is_deployed() or resolved.job.schedule is not None
    return describe_nothing_yet(error, resolved.out) if is_scheduled else None


def _tell_cost(resolved: ResolvedJob, retry: Retry | None, monitor: Monitor) -> None:
    """Log the quote of a run that nobody saw one for; of a deployment without consent also how to give it, once."""
    log, job = get_run_logger(), resolved.job
    if retry is None:
        resolved.refuse_another_out()
        log.info("%s; %s", escape_controls(format_quote(quote_when_settled(resolved))), describe_limit(job.budget))
    if monitor.flow_run.deployment_id is not None and job.budget is None and not job.confirmed:
        told = resolved.out / _TOLD_FILE
        if not told.exists():
            resolved.out.mkdir(parents=True, exist_ok=True)
            make_private_folder(told.parent)
            told.touch(mode=0o600)
            log.warning("%s", _NO_CONSENT)


def _execute_run(resolved: ResolvedJob, retry: Retry | None, call: FlowCall, monitor: Monitor) -> FlowOutcome:
    """Plan the run, submit its shards and publish it."""
    forwarding: CollapsingHandler | None = None

    def on_progress(progress: Progress) -> None:
        monitor.record_progress(progress)
        if forwarding is not None:
            forwarding.write_due_summaries()
        if call.on_progress is not None:
            call.on_progress(progress)

    run = Run(resolved, on_progress=on_progress, retry=retry)
    on_worker_exit(lambda: run.stop("its worker stopped", drain_seconds=WORKER_DRAIN_SECONDS))
    with (
        drain_on_signal(run) as signals,
        monitor.follow(run),
        run,
        forward_log(get_run_logger(), run.ticket.run_id) as handler,
    ):
        forwarding = handler
        records, flow_run_id = EndRecords.of_out(resolved.out), monitor.flow_run.id
        records.write(flow_run_id, run.ticket.run_id)
        call.recorded = (records, flow_run_id)
        task_runs = TaskRuns(run)
        shards = task_runs.plan()
        task_runs.do_shards(shards)
        summary = task_runs.publish()
        records.write(flow_run_id, summary.run_id, to_end_state(summary))
        work_ended = time.monotonic()
    reported = wait_for_api(monitor.choose_wait_end(work_ended, MAX_API_WAIT_SECONDS)) and _create_artifacts(
        monitor, summary
    )
    if reported:
        call.cleanup.enter_context(limit_api_retries(2))
    return FlowOutcome(summary, url_for(monitor.flow_run), tuple(signals), reported)


def _create_artifacts(monitor: Monitor, summary: Summary) -> bool:
    """Create the artifacts of the run's end; False when Prefect went away meanwhile."""
    log = get_run_logger()
    for group in summary.failures:
        log.warning("%d failed: %s, e.g. %s", group.count, group.kind, escape_controls(group.message))
    try:
        with limit_api_retries(1):
            monitor.show_end(summary)
            artifacts.create_run_artifacts(summary)
    except Exception as error:  # noqa: BLE001 (the results are on disk; only the UI lacks them)
        log.warning("the artifacts of this run could not be created in Prefect: %s", type(error).__name__)
        with contextlib.suppress(Exception):
            return wait_for_api(time.monotonic())
        return False
    return True
