"""Reads a job file with every check, the same wherever one may be named."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mediamill.tasks.errors import UsageError
from mediamill.tasks.job import Job
from mediamill.tasks.job_loading import load_job
from mediamill.tasks.pipeline.job_file import check_job_fields
from mediamill.tasks.pipeline.mistakes import JobFile
from mediamill.tasks.pipeline.spec import is_chain, load_yaml_or_none


def load_config_file(path: Path, capability: str, source: str | None, fields: dict[str, Any]) -> Job:
    """Load the job of a ``--config`` file for a capability's own command.

    Args:
        path: the file.
        capability: the command's.
        source: the one that was given.
        fields: what was given as options.

    Raises:
        UsageError: with the line of a mistake, or as the file is a chain.
        JobFileError: with the lines of several.
    """
    contents, name = load_yaml_or_none(path), str(path)
    if is_chain(contents):
        raise UsageError(f"{name} is a chain, not a job", hint=f"mediamill run {shlex.quote(name)} runs it")
    check_contents(JobFile(path, name), contents, {**fields, "capability": capability}, source)
    return load_job(path, capability=capability, source=source, **fields)


def check_contents(file: JobFile, contents: Any, fields: Mapping[str, Any], source: str | None) -> None:
    """Refuse a file's contents with all their mistakes, and a source that is beside the file instead of here.

    Args:
        file: the file.
        contents: what it holds; what is no mapping is refused where the job is made.
        fields: what was given as options.
        source: the one that was given.

    Raises:
        UsageError: with the line of a mistake.
        JobFileError: with those of several.
    """
    if not isinstance(contents, dict):
        return
    check_job_fields(contents, {**fields, **({"source": source} if source is not None else {})}, file)
    if source is None:
        _refuse_source_beside_job(file.path, contents.get("source"))


def _refuse_source_beside_job(path: Path, source: object) -> None:
    """Refuse a job whose source is not where it runs but beside its file: cron starts in another folder.

    Raises:
        UsageError: naming both folders.
    """
    if not isinstance(source, str) or source == "-" or "://" in source or Path(source).expanduser().is_absolute():
        return
    beside = path.absolute().parent / source
    if not Path(source).exists() and beside.exists():
        raise UsageError(
            f"{source}: not in {Path.cwd()}, where this runs, but beside {path.name}",
            hint=f"paths of a job begin where it runs: cd {shlex.quote(str(beside.parent))} first, or write {beside}",
        )
