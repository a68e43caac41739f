"""Run a job from Python, without the command line and without Prefect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mediamill.tasks.job import Job, make_job
from mediamill.tasks.plan import Retry
from mediamill.tasks.renamed_options import JOB_OPTIONS
from mediamill.tasks.run import Run
from mediamill.tasks.summary import Progress, Summary


def run(capability: str, source: str | Path, **options: Any) -> Summary:
    """Do one capability to every item of a source, in this process. A paid provider is used without confirmation.

    Args:
        capability: what is done, e.g. ``transcribe``.
        source: a folder, a glob, a file, a URL or a manifest (``.csv .tsv .jsonl .parquet``).
        options: those of the command line with underscores: a :class:`~mediamill.tasks.job.Job`'s fields, such as
            ``provider``, ``model``, ``out`` and ``budget`` in US dollars, and the capability's own parameters.

    Returns:
        The run's summary; ``summary.exit_code`` is the command line's.

    Raises:
        UsageError: when an option, the key or the source is wrong.
        OutputBusy: when another run holds OUT.
        StorageError: when OUT or the journal cannot be written.
    """
    params = dict(options.pop("params", None) or {})
    params |= {name: options.pop(name) for name in list(options) if name not in (*Job.model_fields, *JOB_OPTIONS)}
    return run_job(make_job(capability=capability, source=str(source), params=params, **options))


def run_job(
    job: Job, *, retry: Sequence[str] | None = None, on_progress: Callable[[Progress], None] | None = None
) -> Summary:
    """Run a job in this process.

    Args:
        job: what to do; :func:`~mediamill.tasks.job.load_job` reads one from a file.
        retry: do failed items again instead of reading the source: kinds of failure, or ``all``.
        on_progress: called about four times a second, in this thread.

    Returns:
        The run's summary.

    Raises:
        UsageError: when the job, the key or the source is wrong.
        OutputBusy: when another run holds OUT.
        StorageError: when OUT or the journal cannot be written.
    """
    return Run(job, on_progress=on_progress, retry=Retry.from_kinds(retry)).execute()
