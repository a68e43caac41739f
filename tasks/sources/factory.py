"""From what the user wrote to the Source it means."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from mediamill.tasks.errors import NoSuchOption, UsageError
from mediamill.tasks.job import Columns, Job
from mediamill.tasks.sources.base import Source
from mediamill.tasks.sources.columns import only_texts
from mediamill.tasks.sources.folder import FolderSource, GlobSource, extensions_of
from mediamill.tasks.sources.grouped import GroupedSource
from mediamill.tasks.sources.manifest import MANIFESTS, ManifestSource
from mediamill.tasks.sources.single_file import SingleFileSource, is_url
from mediamill.tasks.sources.stdin import StdinSource


def open_source(job: Job, kinds: frozenset[str], param_names: frozenset[str]) -> Source:
    """The Source that ``job.source`` means: a folder, glob, file, URL, manifest, or ``-`` for stdin.

    ``job.limit`` is not applied here.

    Args:
        job: its ``source``, ``columns`` and OUT (which is passed over inside a folder) are looked at.
        kinds: kinds of media the capability takes: ``audio``, ``video``, ``image``, ``text``.
        param_names: the capability's parameters; manifest columns of these names are per-row parameters.

    Raises:
        UsageError: when it is missing, empty, unreadable or makes no sense.
        NoSuchOption: when ``job.columns`` names a column that is not there.
    """
    source = _opened(job, kinds, param_names)
    if job.group or job.columns.group:
        _check_groups(job, kinds, source)
        return GroupedSource(source, job.group, job.columns.group)
    return source


def _opened(job: Job, kinds: frozenset[str], param_names: frozenset[str]) -> Source:
    given = job.source
    if not given.strip():
        raise UsageError("the source is empty", hint="name a folder, file, manifest or URL")
    if given == "-":
        _no_columns(job)
        return StdinSource(texts=only_texts(kinds))
    if is_url(given):
        _no_columns(job)
        return SingleFileSource(given)
    if "://" in given:
        scheme = given.partition("://")[0]
        raise UsageError(f"{scheme}:// sources cannot be read", hint="give a local path or an http(s) URL")
    return _local(given, job, kinds, param_names)


def _local(given: str, job: Job, kinds: frozenset[str], param_names: frozenset[str]) -> Source:
    path = Path(given).expanduser()
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError) as error:
        raise UsageError(f"{given}: {getattr(error, 'strerror', None) or error}") from None
    if exists and not is_folder and path.suffix.lower() in MANIFESTS:
        needed = not (job.params.get("prompt") or job.params.get("query"))  # those of the job need no text beside them
        manifest = ManifestSource(given, job.columns, kinds, param_names, texts_needed=needed)
        if next(manifest.items(), None) is None:
            raise manifest.empty()
        return manifest
    _no_columns(job)
    if exists and not is_folder:
        return _single(given, path)
    if not exists and not any(c in given for c in "*?["):
        raise _missing(given, path)
    if not extensions_of(kinds):
        raise UsageError(
            f"{job.capability} works on the rows of a manifest, not on files", hint="give a .csv or .jsonl"
        )
    out = None if "://" in job.out_path else os.path.realpath(os.path.expanduser(job.out_path))  # noqa: PTH111
    folder = FolderSource(given, kinds, out) if is_folder else GlobSource(given, kinds, out)
    if next(folder.items(), None) is None:
        raise folder.empty()
    return folder


def _check_groups(job: Job, kinds: frozenset[str], source: Source) -> None:
    if kinds != frozenset({"image"}):
        raise UsageError(f"{job.capability} takes its items one by one", hint="leave the groups out")
    if job.group and job.columns.group:
        raise UsageError("groups are made by number or by column, not both", hint="leave one of them out")
    schema = source.row_schema()
    if job.columns.group and (schema is None or job.columns.group not in schema.names):
        known = schema.names if schema is not None else ()
        raise NoSuchOption("column", job.columns.group, known, where=f"{job.source}: columns.group")


def _single(given: str, path: Path) -> Source:
    if not path.is_file():
        raise UsageError(f"{given} is neither a file nor a folder")
    if not os.access(path, os.R_OK):
        raise UsageError(f"{given} cannot be read: permission denied", hint="check its permissions")
    return SingleFileSource(given)


def _no_columns(job: Job) -> None:
    if job.columns != Columns():
        raise UsageError(f"columns: {job.source} is not a manifest, so it has no columns")


def _missing(given: str, path: Path) -> UsageError:
    try:
        beside = sorted(os.listdir(path.parent))  # noqa: PTH208
    except OSError:
        return UsageError(f"{given}: no such file or folder (nor the folder it would be in)")
    near = difflib.get_close_matches(path.name, beside, n=1)
    hint = f"did you mean {os.path.join(os.path.dirname(given), near[0])}?" if near else None  # noqa: PTH118, PTH120
    return UsageError(f"{given}: no such file or folder", hint=hint)
