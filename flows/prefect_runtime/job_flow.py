"""Flows whose caller gets the result even when Prefect goes away, and what the flow of a job does."""

from __future__ import annotations

import contextlib
import copy
import functools
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import Flow, get_run_logger
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import CancelledRun, FailedRun
from prefect.utilities.urls import url_for

from mediamill.flows.cli.output import format_opening_line
from mediamill.flows.cli.signals import drain_on_signal
from mediamill.flows.prefect_runtime import artifacts, offline_exit
from mediamill.flows.prefect_runtime.call_settings import use_call_settings
from mediamill.flows.prefect_runtime.flow_run_ends import EndRecords
from mediamill.flows.prefect_runtime.log_forwarding import CollapsingHandler, forward_log
from mediamill.flows.prefect_runtime.monitor import Monitor, limit_api_retries, wait_for_api
from mediamill.flows.prefect_runtime.secret_blocks import use_secret_block
from mediamill.flows.prefect_runtime.states import (
    to_caught_up_state,
    to_end_state,
    to_refused_state,
)
from mediamill.flows.prefect_runtime.task_runs import TaskRuns
from mediamill.flows.prefect_runtime.worker_entrypoint import on_worker_exit
from mediamill.tasks.errors import MediamillError, OutputBusy
from mediamill.tasks.job import Job
from mediamill.tasks.resolved_job import ResolvedJob, resolve_job
from mediamill.tasks.run import Run
from mediamill.tasks.untrusted_text import escape_controls

if TYPE_CHECKING:
    from mediamill.tasks.plan import Retry
    from mediamill.tasks.summary import Progress, Summary

MAX_API_WAIT_SECONDS = 6.0
"""Seconds that a Prefect API may be away before a run whose work is done ends without it; exiting adds to them."""
_RUNNING_OR_COMPLETED = (StateType.RUNNING, StateType.COMPLETED)


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What a flow runs: a job, or a retry of it; ``key_block`` names the Secret block with the provider's key."""

    job: Job | ResolvedJob
    retry: Retry | None = None
    key_block: str | None = None


@dataclass(frozen=True, slots=True)
class FlowOutcome:
    """The outcome of a job that ran as a flow run.

    Args:
        summary: the run's summary.
        url: the flow run in Prefect's UI.
        signals: the signals received while it ran.
        reported: whether Prefect knows how it ended.
    """

    summary: Summary
    url: str | None
    signals: tuple[int, ...]
    reported: bool


@dataclass
class FlowCall:
    """One call of a flow in this process. It holds the outcome even when Prefect goes away.

    ``result`` is the outcome as plain values, ``outcome`` that of a job, ``error`` the reason of a refusal, and
    ``recorded`` where its end is on record until Prefect has it.

    Args:
        request: what to run; None for what the flow's parameters describe.
        on_progress: called about four times a second.
        name: first name of the flow run; None for the flow's own naming.
    """

    request: JobRequest | None = None
    on_progress: Callable[[Progress], None] | None = None
    name: str | None = None
    started: bool = False
    outcome: FlowOutcome | None = None
    result: dict[str, Any] | None = None
    error: MediamillError | None = None
    state: State[Any] | None = None
    recorded: tuple[EndRecords, UUID] | None = None
    cleanup: ExitStack = field(default_factory=ExitStack)


class ResultFlow(Flow[..., Any]):
    """A flow whose call in this process returns its result as plain values and raises the error itself.

    Args:
        request: makes the request from the flow's parameters, and has their signature.
        execute: does the request inside the flow run and returns the state it ends in. It gets a function that makes
            the request, so that a refusal also ends the flow run, and the call, in which it stores the outcome.
        **options: as :class:`prefect.Flow` takes them.
    """

    def __init__(
        self, request: Callable[..., Any], execute: Callable[[Callable[[], Any], FlowCall], State[Any]], **options: Any
    ) -> None:
        super().__init__(_make_flow_function(request, execute, FlowCall), persist_result=False, retries=0, **options)
        self._request = request
        self._execute = execute

    def __call__(self, *args: Any, return_state: bool = False, **kwargs: Any) -> Any:
        """Run the flow.

        Returns:
            The result as plain values; with ``return_state`` the state it ended in.

        Raises:
            MediamillError: when it was refused, or the disk or the journal failed.
            FailedRun: when an account, a budget, a deadline or a provider stopped it.
            CancelledRun: when a person or a signal stopped it.
        """
        call = FlowCall()
        returned = self._call_flow(call, *args, return_state=return_state, **kwargs)
        if call.state is None or returned is not None:
            return returned
        if return_state:
            return call.state
        if call.error is not None:
            raise call.error
        if call.result is None or not call.state.is_completed():
            raise (CancelledRun if call.state.is_cancelled() else FailedRun)(call.state.message or "")
        return call.result

    def _call_flow(self, call: FlowCall, *args: Any, **kwargs: Any) -> Any:
        """Call the flow as Prefect does; None when the run's start or end could not be reported to Prefect."""
        flow = copy.copy(self)
        flow.fn = _make_flow_function(self._request, self._execute, lambda: call)
        flow.flow_run_name = call.name or self.flow_run_name
        try:
            with use_call_settings(), call.cleanup:
                returned = Flow.__call__(flow, *args, **kwargs)
        except Exception:
            if call.recorded is not None and call.state is not None and call.outcome is not None:
                EndRecords.unreported().write(call.recorded[1], call.outcome.summary.run_id, call.state)
            if call.state is not None or (call.request is not None and not call.started):
                return None
            raise
        if call.recorded is not None and (call.outcome is None or call.outcome.reported):
            records, flow_run_id = call.recorded
            records.delete(flow_run_id)
        return returned


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


def _make_flow_function(
    request: Callable[..., Any],
    execute: Callable[[Callable[[], Any], FlowCall], State[Any]],
    make_call: Callable[[], FlowCall],
) -> Callable[..., State[Any]]:
    """The function of a flow: it makes a request from its parameters and executes it."""

    @functools.wraps(request)
    def body(*args: Any, **kwargs: Any) -> State[Any]:
        call = make_call()
        call.started = True
        call.state = execute(lambda: call.request or request(*args, **kwargs), call)
        return call.state

    return body


def run_in_flow(request: Callable[[], JobRequest], call: FlowCall) -> State[Any]:
    """Run a job inside the current flow run; return the state it ends in.

    Args:
        request: makes the request; an error that it raises ends the flow run as Failed.
        call: receives the outcome.
    """
    try:
        job_request = request()
        if job_request.key_block and isinstance(job_request.job, Job):
            use_secret_block(job_request.job, job_request.key_block)
        resolved = resolve_job(job_request.job)
        monitor = Monitor(resolved.job, resolved.provider.name)
        if superseding := monitor.find_superseding_run():
            return to_caught_up_state(superseding)
        monitor.tag_run()
        get_run_logger().info("%s", escape_controls(format_opening_line(resolved, how="flow run")))
        try:
            call.outcome = _execute_run(resolved, job_request.retry, call, monitor)
        except OutputBusy:
            if superseding := monitor.find_superseding_run(by=_RUNNING_OR_COMPLETED):
                return to_caught_up_state(superseding)
            raise
        summary = call.outcome.summary
        call.result = summary.as_dict()
        if summary.state == "nothing" and (
            superseding := monitor.find_superseding_run(by=_RUNNING_OR_COMPLETED, earlier=True)
        ):
            return to_caught_up_state(superseding)
    except MediamillError as error:
        call.error = error
        get_run_logger().error("%s", escape_controls(str(error)))
        return to_refused_state(error)
    if not call.outcome.reported:
        EndRecords.unreported().write(monitor.flow_run.id, summary.run_id, to_end_state(summary))
        offline_exit.finish_unreported(monitor.flow_run, call.cleanup, completed=to_end_state(summary).is_completed())
    return to_end_state(summary)


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
    on_worker_exit(lambda: run.stop("its worker stopped"))
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
