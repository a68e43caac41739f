"""The tasks of a run, in which its work is done, and how their flow runs them.

A task's state is never asked for whether its work was done: the run itself knows, and what no task has done is done by
the flow. So a task that Prefect loses, or cannot start, costs the UI a line and the run nothing.
"""

from __future__ import annotations

import logging
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

from mediamill.flows.cli.formatting import pluralize
from mediamill.tasks import run as steps
from mediamill.tasks.run import RunTicket, ShardBatch, Step
from mediamill.tasks.shard import ShardEnd

if TYPE_CHECKING:
    from mediamill.tasks.journal.items import ShardWork
    from mediamill.tasks.run import Run
    from mediamill.tasks.summary import Summary

T = TypeVar("T")

_log = logging.getLogger("mediamill")
_MAX_SHARD_TASKS = 498
"""With plan and publish 500 task runs a flow run: Prefect's server keeps up with those."""
_TASKS_TO_FILL = 24
"""A task does as many shards as it takes for so many tasks to keep the pipeline full; each one costs a thread."""
_TICK = 0.25
_PATIENCE = 5.0
"""Seconds a task has to begin its step, and to end after it; then the flow goes on without it."""


def _shard_name() -> str:
    batch: ShardBatch = task_run.parameters["batch"]
    first, last = batch.shards[0], batch.shards[-1]
    name = f"shard {first}" if first == last else f"shards {first} to {last}"
    return f"{name}: {batch.items} to do"


@task(name="plan", task_run_name="plan", cache_policy=NO_CACHE, persist_result=False, retries=0)
def plan(ticket: RunTicket) -> State[Any]:
    """Read the source and give every new item its shard."""
    return _ended(lambda: steps.plan_shards(ticket), _about_plan)


@task(name="shard", task_run_name=_shard_name, cache_policy=NO_CACHE, persist_result=False, retries=0)
def shard(ticket: RunTicket, batch: ShardBatch) -> State[Any]:
    """Do the pending items of some shards, side by side, and write the shards' parts."""
    return _ended(lambda: steps.do_shards(ticket, batch), lambda end: _about(batch, end))


@task(name="publish", task_run_name="publish", cache_policy=NO_CACHE, persist_result=False, retries=0)
def publish(ticket: RunTicket) -> State[Any]:
    """Write the bill, the page and the run record."""
    return _ended(lambda: steps.publish_run(ticket), lambda _: "")


def _ended(work: Callable[[], T], about: Callable[[T], str]) -> State[Any]:
    """Do a step's work; the state its task ends in. An error is told in one line: the flow raises it itself."""
    try:
        result = work()
    except CancelledError:
        return Cancelled(message="stopped")
    except Exception as error:  # noqa: BLE001 (told as a state)
        return Failed(message=f"{type(error).__name__}: {error}")
    return Completed(message=about(result))


def _about_plan(work: Sequence[ShardWork]) -> str:
    return f"{pluralize(len(work), 'shard')} with something to do"


def _about(batch: ShardBatch, end: ShardEnd) -> str:
    left = batch.items - end.done - end.failed
    return f"{end.done} done, {end.failed} failed" + (f", {left} left" if left else "")


def batches_of(work: Sequence[ShardWork], at_once: int) -> list[ShardBatch]:
    """What each task does: a few shards, so that there are not too many tasks, neither in all nor at once.

    Args:
        work: the shards with something to do.
        at_once: how many of them have to be open for the pipeline to be full.
    """
    size = max(-(-len(work) // _MAX_SHARD_TASKS), -(-min(at_once, len(work)) // _TASKS_TO_FILL), 1)
    return [ShardBatch.of(work[first : first + size]) for first in range(0, len(work), size)]


@dataclass(slots=True, eq=False)
class _Submitted:
    """A step whose task was submitted. ``work`` is the step itself, once it has begun, whoever began it."""

    step: Step
    since: float
    told: bool = False
    work: Future[Any] | None = None
    work_ended: float | None = None


class TaskRuns:
    """Runs the steps of an open run in tasks, from the thread of its flow.

    The work goes on whatever becomes of a task: one that does not begin in time, or comes back with nothing done, is
    stood in for, and what the journal still misses at the end is done then.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._wake = threading.Event()

    def plan(self) -> list[ShardWork]:
        """The shards that have something to do."""
        self._do(["plan"], 1)
        return self._run.wait(self._run.start_plan())

    def do_shards(self, work: Sequence[ShardWork]) -> None:
        """Do the shards, through a window of tasks that is wide enough to keep the pipeline full."""
        batches = batches_of(work, self._run.shards_at_once)
        if not batches:
            return
        open_at_once = 2 * -(-self._run.shards_at_once // len(batches[0].shards)) + 2
        self._do(batches, open_at_once)
        self._run.wait(self._run.start_unfinished())

    def publish(self) -> Summary:
        """What came of the run, once everything is written."""
        self._do(["publish"], 1)
        return self._run.wait(self._run.start_publish())

    def _do(self, steps: Iterable[Step], open_at_once: int) -> None:
        waiting = deque(steps)
        submitted: list[_Submitted] = []
        while waiting or submitted:
            while waiting and len(submitted) < open_at_once:
                if isinstance(waiting[0], ShardBatch) and self._run.stopping:
                    waiting.clear()
                else:
                    submitted.append(self._submit(waiting.popleft()))
            self._wake.wait(_TICK)
            self._wake.clear()
            self._run.report()
            submitted = [one for one in submitted if not self._has_ended(one)]

    def _submit(self, step: Step) -> _Submitted:
        one = _Submitted(step, time.monotonic())
        ticket = self._run.ticket

        def on_end(_: object) -> None:
            one.told = True
            self._wake.set()

        try:
            if isinstance(step, ShardBatch):
                future = shard.submit(ticket, step)
            else:
                future = {"plan": plan, "publish": publish}[step].submit(ticket)
            future.add_done_callback(on_end)
        except Exception:  # noqa: BLE001 (what Prefect does not take is done without it)
            _log.debug("task %s was not taken", step, exc_info=True)
            one.told = True
        return one

    def _has_ended(self, one: _Submitted) -> bool:
        """Whether a step is done and its task has ended, or has had the time to.

        Raises:
            MediamillError: what the step itself raised.
        """
        now = time.monotonic()
        if one.work is None and (one.told or self._run.has_begun(one.step) or now - one.since > _PATIENCE):
            one.work = self._start(one.step)
            one.work.add_done_callback(lambda _: self._wake.set())
        if one.work is None or not one.work.done():
            return False
        one.work.result()
        one.work_ended = one.work_ended or now
        return one.told or now - one.work_ended > _PATIENCE

    def _start(self, step: Step) -> Future[Any]:
        if isinstance(step, ShardBatch):
            return self._run.start_shards(step)
        return self._run.start_plan() if step == "plan" else self._run.start_publish()
