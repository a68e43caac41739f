"""A call of a flow in this process: its caller gets the result even when Prefect goes away."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import Flow
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.exceptions import CancelledRun, FailedRun

from mediamill.flows.prefect_runtime.call_settings import use_call_settings
from mediamill.flows.prefect_runtime.flow_run_ends import EndRecords
from mediamill.flows.prefect_runtime.states import (
    LIMIT_NAMES,
)
from mediamill.tasks.errors import MediamillError
from mediamill.tasks.job import Job
from mediamill.tasks.run.resolved_job import ResolvedJob

if TYPE_CHECKING:
    from mediamill.tasks.run.plan import Retry
    from mediamill.tasks.summary import Progress, Summary


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
        is_scheduled: it is part of a deployment's run, so an empty source is no error.
    """

    request: JobRequest | None = None
    on_progress: Callable[[Progress], None] | None = None
    name: str | None = None
    is_scheduled: bool = False
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
            by_hand = call.state.is_cancelled() and call.state.name not in LIMIT_NAMES.values()
            raise (CancelledRun if by_hand else FailedRun)(call.state.message or "")
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


def is_deployed() -> bool:
    """Whether the current flow run is one of a deployment."""
    context = FlowRunContext.get()
    return context is not None and context.flow_run is not None and context.flow_run.deployment_id is not None


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
