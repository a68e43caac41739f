"""A flow whose caller gets its result, Prefect or no Prefect; and a job as such a flow: what its body does."""

from __future__ import annotations

import contextlib
import copy
import functools
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from prefect import Flow, get_run_logger
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import CancelledRun, FailedRun
from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, temporary_settings
from prefect.utilities.urls import url_for

from mediamill.flows.cli.output import format_opening_line
from mediamill.flows.cli.signals import drain_on_signal
from mediamill.flows.prefect_runtime import artifacts, leaving
from mediamill.flows.prefect_runtime.monitor import REQUEST_TIMEOUT_SECONDS, Monitor, limit_api_retries, wait_for_api
from mediamill.flows.prefect_runtime.secret_blocks import use_secret_block
from mediamill.flows.prefect_runtime.states import caught_up_state, end_state, refused_state, save_unreported_state
from mediamill.flows.prefect_runtime.task_runs import TaskRuns
from mediamill.flows.prefect_runtime.worker_entrypoint import on_worker_exit
from mediamill.tasks.errors import MediamillError, OutputBusy
from mediamill.tasks.job import Job
from mediamill.tasks.resolved_job import ResolvedJob, resolve_job
from mediamill.tasks.run import Run

if TYPE_CHECKING:
    from mediamill.tasks.plan import Retry
    from mediamill.tasks.summary import Progress, Summary

MAX_API_WAIT_SECONDS = 6.0
"""Seconds after its work that a run waits for a Prefect server that is away; to leave takes some more."""
_RUNNING_OR_COMPLETED = (StateType.RUNNING, StateType.COMPLETED)


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What a flow is to do: a job, or a retry of it; ``key_block`` names the Secret block with the provider's key."""

    job: Job | ResolvedJob
    retry: Retry | None = None
    key_block: str | None = None


@dataclass(frozen=True, slots=True)
class FlowOutcome:
    """What came of a run that was a flow run.

    Args:
        summary: the run in numbers.
        url: the flow run in Prefect's UI.
        signals: the signals that came while it ran.
        told: whether Prefect knows how it ended.
    """

    summary: Summary
    url: str | None
    signals: tuple[int, ...]
    told: bool


@dataclass
class FlowCall:
    """One call of a flow in this process. What comes of the run stands here even when Prefect went away.

    ``result`` is what came of it as plain values, ``outcome`` that of a job, ``error`` why it was refused.

    Args:
        request: what to do; None for what the flow's parameters say.
        on_progress: called about four times a second.
        name: what the flow run is called at first; None for the flow's own way to call it.
    """

    request: JobRequest | None = None
    on_progress: Callable[[Progress], None] | None = None
    name: str | None = None
    started: bool = False
    outcome: FlowOutcome | None = None
    result: dict[str, Any] | None = None
    error: MediamillError | None = None
    state: State[Any] | None = None
    cleanup: ExitStack = field(default_factory=ExitStack)


class ResultFlow(Flow[..., Any]):
    """A flow whose call in this process gives its result as plain values and raises the error itself.

    Args:
        request: makes what is to be done from the flow's parameters, whose signature it has.
        do: does it inside the flow run and gives the state it ends in. It gets what makes the request, so that a
            refusal ends the flow run like any other, and the call, into which it puts what came of it.
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
            What came of it as plain values; with ``return_state`` the state it ended in.

        Raises:
            MediamillError: when it was refused, or the disk or the journal failed.
            FailedRun: when it was stopped by an account, a budget, a deadline or a provider.
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
        """Prefect's own call; None when Prefect could not be told of the run's begin or end."""
        flow = copy.copy(self)
        flow.fn = _make_flow_function(self._request, self._execute, lambda: call)
        flow.flow_run_name = call.name or self.flow_run_name
        try:
            with temporary_settings({PREFECT_API_REQUEST_TIMEOUT: REQUEST_TIMEOUT_SECONDS}), call.cleanup:
                return Flow.__call__(flow, *args, **kwargs)
        except Exception:
            if call.state is not None or (call.request is not None and not call.started):
                return None
            raise


class JobFlow(ResultFlow):
    """A flow that does a job; its result is the run's summary.

    Args:
        request: makes the request from the flow's parameters, whose signature it has.
        **options: as :class:`prefect.Flow` takes them.
    """

    def __init__(self, request: Callable[..., JobRequest], **options: Any) -> None:
        super().__init__(request, run_in_flow, **options)

    def call(self, parameters: dict[str, Any], call: FlowCall) -> FlowOutcome | None:
        """Run the flow for a caller who knows the job already.

        Args:
            parameters: what Prefect shows as the run's parameters.
            call: the job, and who wants to hear of its progress.

        Returns:
            What came of it; None when Prefect went away before anything was begun.

        Raises:
            MediamillError: what the run itself raised.
        """
        returned = self._call_flow(call, return_state=True, **parameters)
        if call.error is not None:
            raise call.error
        return replace(call.outcome, told=False) if call.outcome is not None and returned is None else call.outcome


def _make_flow_function(
    request: Callable[..., Any],
    execute: Callable[[Callable[[], Any], FlowCall], State[Any]],
    make_call: Callable[[], FlowCall],
) -> Callable[..., State[Any]]:
    """The function of a flow: its parameters made into a request, and that done."""

    @functools.wraps(request)
    def body(*args: Any, **kwargs: Any) -> State[Any]:
        call = make_call()
        call.started = True
        call.state = execute(lambda: call.request or request(*args, **kwargs), call)
        return call.state

    return body


def run_in_flow(request: Callable[[], JobRequest], call: FlowCall) -> State[Any]:
    """Do a job inside the flow run this is called from; the state it ends in.

    Args:
        request: gives what to do; refused here when it cannot be done.
        call: gets what came of it.
    """
    try:
        job_request = request()
        if job_request.key_block and isinstance(job_request.job, Job):
            use_secret_block(job_request.job, job_request.key_block)
        resolved = resolve_job(job_request.job)
        monitor = Monitor(resolved.job, resolved.provider.name)
        if by := monitor.superseding_run():
            return caught_up_state(by)
        monitor.tag_run()
        get_run_logger().info("%s", format_opening_line(resolved, how="flow run"))
        try:
            call.outcome = _execute_run(resolved, job_request.retry, call, monitor)
        except OutputBusy:
            if by := monitor.superseding_run(by=_RUNNING_OR_COMPLETED):
                return caught_up_state(by)
            raise
        summary = call.outcome.summary
        call.result = summary.as_dict()
        if summary.state == "nothing" and (by := monitor.superseding_run(by=_RUNNING_OR_COMPLETED, earlier=True)):
            return caught_up_state(by)
    except MediamillError as error:
        call.error = error
        get_run_logger().error("%s", error)
        return refused_state(error)
    if not call.outcome.told:
        save_unreported_state(resolved.out, monitor.flow_run.id, end_state(summary))
        leaving.finish_unreported(monitor.flow_run, call.cleanup, completed=end_state(summary).is_completed())
    return end_state(summary)


def _execute_run(resolved: ResolvedJob, retry: Retry | None, call: FlowCall, monitor: Monitor) -> FlowOutcome:
    """The run itself: planned, its shards submitted, published."""

    def on_progress(progress: Progress) -> None:
        monitor.record_progress(progress)
        if call.on_progress is not None:
            call.on_progress(progress)

    run = Run(resolved, on_progress=on_progress, retry=retry)
    on_worker_exit(lambda: run.stop("its worker stopped"))
    with drain_on_signal(run) as signals, monitor.follow(run), run:
        task_runs = TaskRuns(run)
        shards = task_runs.plan()
        task_runs.do_shards(shards)
        summary = task_runs.publish()
        work_ended = time.monotonic()
    reported = wait_for_api(work_ended + MAX_API_WAIT_SECONDS) and _create_artifacts(monitor, summary)
    if reported:
        call.cleanup.enter_context(limit_api_retries(2))
    return FlowOutcome(summary, url_for(monitor.flow_run), tuple(signals), reported)


def _create_artifacts(monitor: Monitor, summary: Summary) -> bool:
    """Leave what the UI shows of the run's end; False when Prefect went away meanwhile."""
    log = get_run_logger()
    for group in summary.failures:
        log.warning("%d failed: %s, e.g. %s", group.count, group.kind, group.message)
    try:
        with limit_api_retries(1):
            monitor.show_end(summary)
            artifacts.create_run_artifacts(summary)
    except Exception as error:  # noqa: BLE001 (the results are on disk; only the UI lacks them)
        log.warning("the artifacts of this run could not be left in Prefect: %s", type(error).__name__)
        with contextlib.suppress(Exception):
            return wait_for_api(time.monotonic())
        return False
    return True
