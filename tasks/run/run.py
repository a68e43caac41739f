"""A run of a job: open, plan, do the shards, publish, close. The tasks of a flow run call the same steps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from mediamill.tasks.engine import Engine
from mediamill.tasks.errors import MediamillError
from mediamill.tasks.formatting import pluralize
from mediamill.tasks.job import Job
from mediamill.tasks.journal.items import ShardWork
from mediamill.tasks.run.open_run import open_run
from mediamill.tasks.run.plan import Retry
from mediamill.tasks.run.resolved_job import ResolvedJob, resolve_job
from mediamill.tasks.run.run_context import RunContext, RunListener
from mediamill.tasks.run.run_steps import RunCancelled, RunSteps
from mediamill.tasks.run.shard import ShardResult
from mediamill.tasks.sources.settling import UnsettledSource, wait_until_settled
from mediamill.tasks.summary import Progress, Summary
from mediamill.tasks.untrusted_text import escape_controls

T = TypeVar("T")

_PROGRESS_INTERVAL_SECONDS = 0.25


class RunEnded(MediamillError):
    """The run that a ticket belongs to is not open in this process."""


@dataclass(frozen=True, slots=True)
class RunTicket:
    """What a Prefect task needs to take part in a run. It holds no secret and can be pickled.

    Args:
        out: OUT as an absolute path.
        journal: the shared journal's name; None for the one in OUT.
        run_id: the run's id.
        token: the fencing token of OUT's lock, under which parts are committed.
        job: what the run does.
    """

    out: str
    journal: str | None
    run_id: str
    token: int
    job: Job


@dataclass(frozen=True, slots=True)
class ShardBatch:
    """Shards of a run that one task does, in their order; ``items`` is the number of their pending items."""

    shards: tuple[int, ...]
    items: int

    @classmethod
    def from_work(cls, shards: Sequence[ShardWork]) -> ShardBatch:
        """The batch of these shards."""
        return cls(tuple(shard.shard for shard in shards), sum(shard.pending for shard in shards))


RunStep = Literal["plan", "publish"] | ShardBatch


class Run:
    """One run of a job on this process's engine, open for as long as its ``with`` block runs.

    A step is started at most once: starting it again returns the same future, so a task and the flow that monitors
    the run can both start it, from any thread.

    Args:
        job: what to do.
        on_progress: called about four times a second, in the thread that waits for the run's steps.
        retry: do failed items again instead of reading the source.
        listener: is told when the run is planned and of each result.
    """

    def __init__(
        self,
        job: Job | ResolvedJob,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        retry: Retry | None = None,
        listener: RunListener | None = None,
    ) -> None:
        self._job = job
        self._on_progress = on_progress
        self._retry = retry
        self._listener = listener
        self._lock = threading.Lock()
        self._started: dict[RunStep, Future[Any]] = {}
        self._stop_reason: str | None = None
        self._drain_seconds: float | None = None
        self._steps_if_open: RunSteps | None = None

    def execute(self) -> Summary:
        """Do the job and return its summary.

        Raises:
            MediamillError: when the run could not start, or the disk or the journal failed.
        """
        with self:
            shards = self.wait(self.start_plan())
            self.wait(self.start_shards(ShardBatch.from_work(shards)))
            return self.wait(self.start_publish())

    def __enter__(self) -> Self:
        """Take OUT's lock and open all that the run needs.

        Raises:
            UsageError: when the job, the key or the source is wrong.
            OutputBusy: when another run holds OUT.
            StorageError: when OUT or the journal cannot be written.
        """
        engine = Engine.shared()
        try:
            self.wait(engine.submit(self._open(engine)))
        except UnsettledSource as unsettled:  # nothing was opened yet
            wait_until_settled(unsettled, check_stop=self._raise_if_stopped)
            self.wait(engine.submit(self._open(engine)))
        _OPEN_RUNS[self._context.run_id] = self
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        """Release OUT. A run that broke first stores the replies of its requests in flight: they are paid for."""
        steps = self._steps
        _OPEN_RUNS.pop(steps.context.run_id, None)
        steps.context.engine.submit(steps.close()).result()

    @property
    def ticket(self) -> RunTicket:
        """What a Prefect task needs to take part in the run."""
        context = self._context
        return RunTicket(str(context.out), context.job.journal, context.run_id, context.lock.token, context.job)

    @property
    def max_open_shards(self) -> int:
        """How many shards are open at once, enough to fill the pipeline."""
        return self._steps.shards.max_open

    @property
    def is_stopping(self) -> bool:
        """Whether the run is ending, so that no further shard begins."""
        return self._context.stop_switch.reason is not None

    def start_plan(self) -> Future[list[ShardWork]]:
        """Plan the run; the future gives the shards with pending items.

        Raises:
            UsageError: through the future, when the source is empty or names the same item twice.
        """
        return self._start_once("plan", self._steps.plan)

    def start_shards(self, batch: ShardBatch) -> Future[ShardResult]:
        """Do a batch of shards, in their order and beside other batches; the future gives what their items came to.

        Raises:
            StorageError: through the future, when the disk or the journal fails.
        """
        return self._start_once(batch, lambda: self._steps.do_shards(batch.shards))

    def start_unfinished(self) -> Future[ShardResult]:
        """Do what is still pending by the journal, whatever became of the tasks that were to do it."""
        return self._context.engine.submit(self._steps.do_unfinished())

    def start_publish(self) -> Future[Summary]:
        """Write the bill, the report page and the run record; the future gives the summary."""
        return self._start_once("publish", self._steps.publish)

    def has_begun(self, step: RunStep) -> bool:
        """Whether this step has been started."""
        with self._lock:
            return step in self._started

    def wait(self, future: Future[T]) -> T:
        """Wait for a step's result and report progress meanwhile."""
        while True:
            try:
                return future.result(timeout=_PROGRESS_INTERVAL_SECONDS)
            except FutureTimeout:
                if future.done():
                    raise
                self.report_progress()

    def report_progress(self) -> None:
        """Report the progress of the run so far."""
        if self._steps_if_open is not None and self._on_progress is not None:
            self._on_progress(self._context.progress())

    def stop(self, reason: str, *, drain_seconds: float | None = None) -> None:
        """Send nothing new, let requests in flight end, leave OUT resumable. Safe in any thread or signal handler.

        Args:
            reason: in words.
            drain_seconds: time that requests in flight get; None for the usual 25 s.
        """
        self._stop_reason, self._drain_seconds = reason, drain_seconds
        if self._steps_if_open is not None:
            hint = "run the same command again to go on"
            self._context.stop_switch.trigger(RunCancelled(reason, hint=hint, drain_seconds=drain_seconds))

    def describe_cut_off(self) -> str:
        """What is cut off and what is kept when the process ends now, and what to do next. Safe in a signal handler."""
        if self._steps_if_open is None:
            return "nothing was begun"
        in_flight = self._context.call_context.stats.in_flight
        billed = ", which may be billed" if self._context.may_be_billed else ""
        cut_off = f"{pluralize(in_flight, 'request')} in flight cut off{billed}" if in_flight else ""
        kept = f"what is done is kept in {escape_controls(str(self._context.out))}"
        return f"{cut_off or 'no request was in flight'}; {kept}; the same command goes on there"

    def _raise_if_stopped(self) -> None:
        if self._stop_reason:
            raise RunCancelled(self._stop_reason, hint="nothing was begun")

    @property
    def _steps(self) -> RunSteps:
        assert self._steps_if_open is not None, "the run is not open"
        return self._steps_if_open

    @property
    def _context(self) -> RunContext:
        return self._steps.context

    def _start_once(self, step: RunStep, work: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        with self._lock:
            if step not in self._started:
                self._started[step] = self._context.engine.submit(work())
            return self._started[step]

    async def _open(self, engine: Engine) -> None:
        resolved = await engine.run_in_thread(resolve_job, self._job)
        context, source = await open_run(resolved, engine, retry=self._retry is not None)
        context.listener = self._listener
        shards = None
        if context.job.processes > 1:
            from mediamill.tasks.workers.pool import WorkerPool

            shards = WorkerPool(context, resolved)
        self._steps_if_open = RunSteps(context, source, self._retry, shards=shards)
        if self._stop_reason:
            self.stop(self._stop_reason, drain_seconds=self._drain_seconds)


_OPEN_RUNS: dict[str, Run] = {}
"""The runs that are open in this process, by their ids."""


def find_open_run(ticket: RunTicket) -> Run:
    """The open run that a ticket belongs to.

    Raises:
        RunEnded: when it is not open in this process.
    """
    run = _OPEN_RUNS.get(ticket.run_id)
    if run is None or run.ticket.token != ticket.token:
        raise RunEnded(f"run {ticket.run_id} is not open in this process")
    return run


def plan_shards(ticket: RunTicket) -> list[ShardWork]:
    """Plan a run and return its shards with pending items; see :meth:`Run.start_plan`."""
    return find_open_run(ticket).start_plan().result()


def do_shards(ticket: RunTicket, batch: ShardBatch) -> ShardResult:
    """Do a batch of a run's shards and wait until they are done; see :meth:`Run.start_shards`."""
    return find_open_run(ticket).start_shards(batch).result()


def publish_run(ticket: RunTicket) -> Summary:
    """Publish what a run did; see :meth:`Run.start_publish`."""
    return find_open_run(ticket).start_publish().result()
