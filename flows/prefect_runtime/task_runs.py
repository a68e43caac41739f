"""The Prefect tasks that do a run's work, and how its flow runs them.

Whether work is done is read from the run itself, never from a task's state, and the flow does what no task has done.
So a task that Prefect loses or cannot start costs the UI a line and the run nothing.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import task_run
from prefect.states import Cancelled, Completed, Failed

from mediamill.tasks.formatting import pluralize
from mediamill.tasks.run import run as steps
from mediamill.tasks.run.run import RunStep, RunTicket, ShardBatch
from mediamill.tasks.run.shard import ShardResult
from mediamill.tasks.run_log import RUN_LOGGER
from mediamill.tasks.untrusted_text import escape_controls

if TYPE_CHECKING:
    from mediamill.tasks.journal.items import ShardWork
    from mediamill.tasks.run.run import Run
    from mediamill.tasks.summary import Summary

T = TypeVar("T")

_MAX_SHARD_TASKS = 498
"""With plan and publish 500 task runs per flow run, which Prefect's server keeps up with."""
_PIPELINE_TASKS = 24
"""Tasks that keep the pipeline full; each costs a thread, so each does several shards where need be."""
_POLL_SECONDS = 0.25
_MAX_TASK_WAIT_SECONDS = 5.0
"""Seconds in which a task must begin its step, and end after it; then the flow goes on without the task."""


def _name_shard_task() -> str:
    batch: ShardBatch = task_run.parameters["batch"]
    first, last = batch.shards[0], batch.shards[-1]
    name = f"shard {first}" if first == last else f"shards {first} to {last}"
    return f"{name}: {batch.items} to do"


@task(name="plan", task_run_name="plan", cache_policy=NO_CACHE, persist_result=False, retries=0)
def plan(ticket: RunTicket) -> State[Any]:
    """Read the source and give every new item its shard."""
    return _run_step(lambda: steps.plan_shards(ticket), _describe_plan)


@task(name="shard", task_run_name=_name_shard_task, cache_policy=NO_CACHE, persist_result=False, retries=0)
def shard(ticket: RunTicket, batch: ShardBatch) -> State[Any]:
    """Do the pending items of some shards, side by side, and write the shards' parts."""
    return _run_step(lambda: steps.do_shards(ticket, batch), lambda end: _describe_shards(batch, end))


@task(name="publish", task_run_name="publish", cache_policy=NO_CACHE, persist_result=False, retries=0)
def publish(ticket: RunTicket) -> State[Any]:
    """Write the calls, the report and the run record."""
    return _run_step(lambda: steps.publish_run(ticket), lambda _: "")


def _run_step(work: Callable[[], T], describe: Callable[[T], str]) -> State[Any]:
    """Do a step's work; return its task's end state. An error becomes one line of it: the flow raises it itself."""
    try:
        result = work()
    except CancelledError:
        return Cancelled(message="stopped")
    except Exception as error:  # noqa: BLE001 (becomes the state)
        return Failed(message=escape_controls(f"{type(error).__name__}: {error}"))
    return Completed(message=describe(result))


def _describe_plan(work: Sequence[ShardWork]) -> str:
    return f"{pluralize(len(work), 'shard')} to do"


def _describe_shards(batch: ShardBatch, end: ShardResult) -> str:
    left = batch.items - end.done - end.failed
    return f"{end.done} done, {end.failed} failed" + (f", {left} left" if left else "")


def make_batches(work: Sequence[ShardWork], shards_at_once: int) -> list[ShardBatch]:
    """Group shards into tasks, so that there are not too many tasks, neither in all nor at once.

    Args:
        work: the shards to do.
        shards_at_once: number of open shards that keeps the pipeline full.
    """
    size = max(-(-len(work) // _MAX_SHARD_TASKS), -(-min(shards_at_once, len(work)) // _PIPELINE_TASKS), 1)
    return [ShardBatch.from_work(work[first : first + size]) for first in range(0, len(work), size)]


@dataclass(slots=True, eq=False)
class _SubmittedStep:
    """A step whose task was submitted. ``future`` is the step itself once it has begun, in the task or without it."""

    step: RunStep
    submitted_at: float
    task_ended: bool = False
    step_future: Future[Any] | None = None
    step_ended_at: float | None = None


class TaskRuns:
    """Runs the steps of an open run in tasks, from the thread of its flow.

    The work does not depend on a task: the flow itself does the step of a task that does not begin in time or ends
    with nothing done, and at the end it does what the journal still lacks.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._wake = threading.Event()

    def plan(self) -> list[ShardWork]:
        """Plan the run; return the shards to do."""
        self._run_steps(["plan"], 1)
        return self._run.wait(self._run.start_plan())

    def do_shards(self, work: Sequence[ShardWork]) -> None:
        """Do the shards in a window of tasks that is wide enough to keep the pipeline full."""
        batches = make_batches(work, self._run.max_open_shards)
        if not batches:
            return
        open_at_once = 2 * -(-self._run.max_open_shards // len(batches[0].shards)) + 2
        self._run_steps(batches, open_at_once)
        self._run.wait(self._run.start_unfinished())

    def publish(self) -> Summary:
        """Publish the run; return its summary once everything is written."""
        self._run_steps(["publish"], 1)
        return self._run.wait(self._run.start_publish())

    def _run_steps(self, steps: Iterable[RunStep], open_at_once: int) -> None:
        unsubmitted = deque(steps)
        submitted: list[_SubmittedStep] = []
        while unsubmitted or submitted:
            while unsubmitted and len(submitted) < open_at_once:
                if isinstance(unsubmitted[0], ShardBatch) and self._run.is_stopping:
                    unsubmitted.clear()
                else:
                    submitted.append(self._submit(unsubmitted.popleft()))
            self._wake.wait(_POLL_SECONDS)
            self._wake.clear()
            self._run.report_progress()
            submitted = [each for each in submitted if not self._has_ended(each)]

    def _submit(self, step: RunStep) -> _SubmittedStep:
        submitted = _SubmittedStep(step, time.monotonic())
        ticket = self._run.ticket

        def on_end(_: object) -> None:
            submitted.task_ended = True
            self._wake.set()

        try:
            if isinstance(step, ShardBatch):
                task_future = shard.submit(ticket, step)
            else:
                task_future = {"plan": plan, "publish": publish}[step].submit(ticket)
            task_future.add_done_callback(on_end)
        except Exception:  # noqa: BLE001 (the flow does the step itself)
            RUN_LOGGER.debug("Prefect did not take the task %s", step, exc_info=True)
            submitted.task_ended = True
        return submitted

    def _has_ended(self, submitted: _SubmittedStep) -> bool:
        """Whether a step is done and its task has ended or has had the time to end.

        Raises:
            MediamillError: the error that the step raised.
        """
        now = time.monotonic()
        if submitted.step_future is None and (
            submitted.task_ended
            or self._run.has_begun(submitted.step)
            or now - submitted.submitted_at > _MAX_TASK_WAIT_SECONDS
        ):
            submitted.step_future = self._start(submitted.step)
            submitted.step_future.add_done_callback(lambda _: self._wake.set())
        if submitted.step_future is None or not submitted.step_future.done():
            return False
        submitted.step_future.result()
        submitted.step_ended_at = submitted.step_ended_at or now
        return submitted.task_ended or now - submitted.step_ended_at > _MAX_TASK_WAIT_SECONDS

    def _start(self, step: RunStep) -> Future[Any]:
        if isinstance(step, ShardBatch):
            return self._run.start_shards(step)
        return self._run.start_plan() if step == "plan" else self._run.start_publish()
