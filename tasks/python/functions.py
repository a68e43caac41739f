"""Run, quote and retry from Python, plain and async: a call is the consent to spend."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mediamill.tasks.errors import UsageError
from mediamill.tasks.job import Job
from mediamill.tasks.job_loading import make_job
from mediamill.tasks.journal.renamed_kinds import to_kind_now
from mediamill.tasks.out.nothing_to_retry import describe_nothing_to_retry
from mediamill.tasks.out.status import load_bound_job
from mediamill.tasks.pipeline.chain_out import check_steps, choose_chain_out
from mediamill.tasks.pipeline.mistakes import locating_mistakes
from mediamill.tasks.pipeline.quote import quote_chain
from mediamill.tasks.pipeline.spec import Chain
from mediamill.tasks.python.job_arguments import What, find_file, to_job
from mediamill.tasks.python.run_handle import RunHandle, warn_at_caller
from mediamill.tasks.python.work import ChainWork, JobWork, ShowProgress
from mediamill.tasks.run.quote import quote as quote_job
from mediamill.tasks.run.resolved_job import ResolvedJob
from mediamill.tasks.summary import Summary


def run(
    what: What,
    source: str | Path | None = None,
    *,
    wait: bool = True,
    raise_on_failure: bool = False,
    on_progress: ShowProgress | None = None,
    **options: Any,
) -> RunHandle[Any]:
    """Run a capability, a job file, a recipe or a chain, in this process and without Prefect.

    The call is the consent: a paid provider is used at once. The log ``mediamill.run`` has its quote, at INFO.

    Args:
        what: the name of a capability, the path of a job file (``.yaml``), ``recipe:NAME``, a :class:`Job`, or a job
            or chain as a dictionary.
        source: a folder, a glob, a file, a URL or a manifest (``.csv .tsv .jsonl .parquet``); a job has its own.
        wait: False returns at once, while the run works.
        raise_on_failure: raise RunFailed where items failed or the run was stopped; else a warning says so.
        on_progress: called about four times a second, in the run's own thread.
        options: those of the command line with underscores: a :class:`Job`'s fields, such as ``provider``, ``model``,
            ``out`` and ``budget`` in US dollars, and the capability's own parameters.

    Returns:
        The run: its ``results``, ``failures``, ``cost`` and ``summary``, and the rows as they end.

    Raises:
        UsageError: when an option, the key or the source is wrong.
        OutputBusy: when another run holds OUT.
        StorageError: when OUT or the journal cannot be written.
    """
    job = to_job(what, source, options)
    with locating_mistakes(find_file(what)):
        work = (
            ChainWork(job, on_progress=on_progress) if isinstance(job, Chain) else JobWork(job, on_progress=on_progress)
        )
    feeds_rows = not wait and isinstance(job, Job)
    handle: RunHandle[Any] = RunHandle(work, raise_on_failure=raise_on_failure, feeds_rows=feeds_rows)
    return handle.wait() if wait else handle


def retry(
    out: str | Path,
    only: str | Sequence[str] | None = None,
    *,
    wait: bool = True,
    raise_on_failure: bool = False,
    on_progress: ShowProgress | None = None,
    **options: Any,
) -> RunHandle[Summary]:
    """Do the failed items of an OUT again; everything else stays.

    Args:
        out: the folder.
        only: kinds of failure; default: every kind. That no item is of these is a warning.
        wait: see :func:`run`.
        raise_on_failure: see :func:`run`.
        on_progress: see :func:`run`.
        options: what is other than before for these items, such as ``model`` or ``budget``.

    Raises:
        UsageError: when no run has written there, or an option is wrong.
    """
    stored = load_bound_job(Path(out)).model_dump(exclude_unset=True)
    if options.get("provider", stored.get("provider")) != stored.get("provider"):
        for name in ("model", "base_url", "api_key_env"):
            stored.pop(name, None)
    kinds = [to_kind_now(kind) for kind in ([only] if isinstance(only, str) else only or ["all"])]
    if message := describe_nothing_to_retry(Path(out), [] if "all" in kinds else kinds):
        warn_at_caller(message)
    job = to_job(make_job(**stored), None, options)
    assert isinstance(job, Job)
    work = JobWork(job, retry=kinds, on_progress=on_progress)
    handle = RunHandle(work, raise_on_failure=raise_on_failure, feeds_rows=not wait)
    return handle.wait() if wait else handle


def quote(what: What | ResolvedJob, source: str | Path | None = None, **options: Any) -> Any:
    """What a run would cost, from probing its items; nothing is sent. The arguments are those of :func:`run`.

    It is a :class:`Quote`, and of a chain a :class:`ChainQuote` with one for each step.

    Lengths come from the files' headers, so a file with a wrong length in its header is quoted wrongly. What a run
    pays is metered from the decoded media.

    Raises:
        UsageError: when an option or the source is wrong. A key is not needed.
    """
    if isinstance(what, ResolvedJob):
        if source is not None or options:
            raise UsageError("a resolved job takes no more options", hint="quote the job it was made from")
        return quote_job(what)
    job = to_job(what, source, options)
    if not isinstance(job, Chain):
        return quote_job(job)
    with locating_mistakes(find_file(what)):
        check_steps(choose_chain_out(job).chain, needs_key=False)
    return quote_chain(job)


async def run_async(
    what: What,
    source: str | Path | None = None,
    *,
    wait: bool = True,
    raise_on_failure: bool = False,
    on_progress: ShowProgress | None = None,
    **options: Any,
) -> RunHandle[Any]:
    """The same as :func:`run`, while the other tasks of the event loop run. Cancelling it stops the run."""
    handle: RunHandle[Any] = await asyncio.to_thread(
        run, what, source, wait=False, raise_on_failure=raise_on_failure, on_progress=on_progress, **options
    )
    return await handle if wait else handle


async def quote_async(what: What, source: str | Path | None = None, **options: Any) -> Any:
    """The same as :func:`quote`, while the other tasks of the event loop run."""
    return await asyncio.to_thread(quote, what, source, **options)
