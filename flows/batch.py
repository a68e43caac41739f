"""The flow behind every flow: a job's plan, shards and publish as task runs on this process's engine."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State, StateType
from prefect.runtime import flow_run
from prefect.utilities.urls import url_for

from mediamill.flows.cli.output import opening_line
from mediamill.flows.cli.signals import draining
from mediamill.flows.prefect_runtime import artifacts
from mediamill.flows.prefect_runtime.monitor import Following, no_retries
from mediamill.flows.prefect_runtime.secret_blocks import take_key
from mediamill.flows.prefect_runtime.states import caught_up, end_state, refused_state
from mediamill.flows.prefect_runtime.task_runs import TaskRuns
from mediamill.flows.prefect_runtime.worker_entrypoint import when_left
from mediamill.tasks.errors import MediamillError, OutBusy
from mediamill.tasks.job import Job
from mediamill.tasks.resolved_job import ResolvedJob, resolve_job
from mediamill.tasks.run import Retry, Run

if TYPE_CHECKING:
    from mediamill.tasks.summary import Progress, Summary

_PATIENCE = 600.0
"""Seconds a run that nobody watches waits at its end for a Prefect server that is away."""


_AT_WORK = (StateType.RUNNING, StateType.COMPLETED)


@dataclass
class Listener:
    """Who started a flow in this process and wants to hear of it directly, Prefect or no Prefect."""

    progress: Callable[[Progress], None] | None = None
    patience: float = _PATIENCE
    began: bool = False
    told: bool = False
    url: str | None = None
    summary: Summary | None = None
    error: MediamillError | None = None
    signals: tuple[int, ...] = ()
    after: ExitStack = field(default_factory=ExitStack)


LISTENER: contextvars.ContextVar[Listener | None] = contextvars.ContextVar("listener", default=None)


def conduct(job: Job, retry: Retry | None = None, key_block: str | None = None) -> State[Any]:
    """Do a job inside the flow run this is called from, and give the state it ends in.

    Args:
        job: what to do.
        retry: do failed items again instead of reading the source.
        key_block: the Prefect Secret block that holds the provider's key, where the environment does not.
    """
    listener = LISTENER.get() or Listener()
    listener.began = True
    try:
        if key_block:
            take_key(job, key_block)
        resolved = resolve_job(job)
        following = Following(job, resolved.provider.name)
        if by := following.covered():
            return caught_up(by)
        following.mark()
        get_run_logger().info("%s", opening_line(resolved, how="flow run"))
        try:
            listener.summary = _conduct(resolved, retry, listener, following)
        except OutBusy:
            if by := following.covered(by=_AT_WORK):
                return caught_up(by)
            raise
        if listener.summary.state == "nothing" and (by := following.covered(by=_AT_WORK, earlier=True)):
            return caught_up(by)
    except MediamillError as error:
        listener.error = error
        get_run_logger().error("%s", error)
        return refused_state(error)
    return end_state(listener.summary)


def _conduct(job: ResolvedJob, retry: Retry | None, listener: Listener, following: Following) -> Summary:
    listener.url = url_for(following.flow_run)
    steps = TaskRuns()

    def progress(now: Progress) -> None:
        following.progress(now)
        if listener.progress is not None:
            listener.progress(now)

    run = Run(job, on_progress=progress, retry=retry, around=steps)
    when_left(lambda: run.stop("its worker stopped"))
    try:
        with draining(run) as caught, following.of(run):
            summary = run.execute()
        listener.signals = tuple(caught)
    finally:
        steps.close()
    if following.settle(listener.patience):
        _leave(following, summary)
    else:  # what is left to tell is not worth another wait
        listener.after.enter_context(no_retries())
    return summary


def _leave(following: Following, summary: Summary) -> None:
    log = get_run_logger()
    for group in summary.failures:
        log.warning("%d failed: %s, e.g. %s", group.count, group.kind, group.message)
    try:
        following.end(summary)
        artifacts.leave(summary)
    except Exception as error:  # noqa: BLE001 (the results are on disk; only the UI lacks them)
        log.warning("the artifacts of this run could not be left in Prefect: %s", type(error).__name__)


def _name() -> str:
    job = flow_run.parameters.get("job")
    told = job if isinstance(job, dict) else getattr(job, "__dict__", {})
    return f"{told.get('capability', 'batch')} {told.get('source', '')}".strip()


@flow(name="batch", flow_run_name=_name, persist_result=False, retries=0)
def batch(job: Job, retry: list[str] | None = None) -> State[Any]:
    """Run any job.

    Args:
        job: what to do; the same names as in a job file. A key is the name of an environment variable.
        retry: do failed items again instead of reading the source: kinds of failure, or all.
    """
    return conduct(job, Retry.of(retry))
