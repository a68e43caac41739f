"""What a run from Python does: one job, or a chain of them. It can be stopped from any thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from mediamill.tasks.job import Job
from mediamill.tasks.pipeline.chain_out import check_steps, choose_chain_out
from mediamill.tasks.pipeline.result import ChainResult
from mediamill.tasks.pipeline.run import ChainRun, describe_chain
from mediamill.tasks.pipeline.spec import Chain
from mediamill.tasks.run.notify import RunEnd, describe_job, notifying
from mediamill.tasks.run.plan import Retry
from mediamill.tasks.run.quote import log_quote
from mediamill.tasks.run.resolved_job import ResolvedJob, resolve_job
from mediamill.tasks.run.run import Run
from mediamill.tasks.run.run_context import RunListener
from mediamill.tasks.summary import Progress, Summary

EndT_co = TypeVar("EndT_co", bound=Summary | ChainResult, covariant=True)
ShowProgress = Callable[[Progress], None]


class Work(Protocol[EndT_co]):
    """What a run does. It was checked: what it names is there, and its OUT may be used."""

    @property
    def out(self) -> Path:
        """OUT as an absolute path."""
        ...

    def execute(self, listener: RunListener | None = None) -> EndT_co:
        """Do it, in this thread; how it ended."""
        ...

    def stop(self, reason: str) -> None:
        """Send nothing new, and let requests in flight end. Safe in any thread and at any time."""
        ...


class JobWork:
    """One job.

    Raises:
        UsageError: when the job, the key or OUT cannot be used.
    """

    def __init__(
        self, job: Job, *, retry: Sequence[str] | None = None, on_progress: ShowProgress | None = None
    ) -> None:
        self._resolved: ResolvedJob = resolve_job(job)
        self._retry = Retry.from_kinds(retry)
        if self._retry is None:
            self._resolved.refuse_another_out()
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._run: Run | None = None
        self._stop_reason: str | None = None

    @property
    def out(self) -> Path:
        """OUT as an absolute path."""
        return self._resolved.out

    def execute(self, listener: RunListener | None = None) -> Summary:
        """Run the job; the log has the quote of a paid one."""
        job = self._resolved.job
        with notifying(job.notify, describe_job(job)) as tell:
            log_quote(self._resolved, self._retry)
            run = Run(self._resolved, on_progress=self._on_progress, retry=self._retry, listener=listener)
            with self._lock:
                self._run = run
                if self._stop_reason is not None:
                    run.stop(self._stop_reason)
            summary = run.execute()
            tell(RunEnd.of_summary(summary))
        return summary

    def stop(self, reason: str) -> None:
        """Stop the run, or have it stop as soon as it begins."""
        with self._lock:
            self._stop_reason = reason
            if self._run is not None:
                self._run.stop(reason)


class ChainWork:
    """A chain, one step after the other.

    Raises:
        UsageError: naming the step that cannot start.
    """

    def __init__(self, chain: Chain, *, on_progress: ShowProgress | None = None) -> None:
        self._chain = choose_chain_out(chain).chain
        check_steps(self._chain)
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._step: JobWork | None = None
        self._stop_reason: str | None = None

    @property
    def out(self) -> Path:
        """OUT as an absolute path."""
        return self._chain.out_path

    def execute(self, _: RunListener | None = None) -> ChainResult:
        """Run the steps; the log has the quote of each paid one."""
        with notifying(self._chain.notify, describe_chain(self._chain)) as tell:
            result = ChainRun(self._chain, self._run_step).execute()
            tell(result.to_run_end())
        return result

    def stop(self, reason: str) -> None:
        """Stop the step that runs; no other begins."""
        with self._lock:
            self._stop_reason = reason
            if self._step is not None:
                self._step.stop(reason)

    def _run_step(self, _: str, job: Job) -> Summary:
        step = JobWork(job, on_progress=self._on_progress)
        with self._lock:
            self._step = step
            if self._stop_reason is not None:
                step.stop(self._stop_reason)
        return step.execute()


def run_job(job: Job, *, retry: Sequence[str] | None = None, on_progress: ShowProgress | None = None) -> Summary:
    """Run a job in this process, and wait for its end.

    Args:
        job: what to do; :func:`~mediamill.tasks.job_loading.load_job` reads one from a file.
        retry: do failed items again instead of reading the source: kinds of failure, or ``all``.
        on_progress: called about four times a second, in this thread.

    Returns:
        The run's summary.

    Raises:
        UsageError: when the job, the key or the source is wrong.
        OutputBusy: when another run holds OUT.
        StorageError: when OUT or the journal cannot be written.
    """
    return JobWork(job, retry=retry, on_progress=on_progress).execute()
