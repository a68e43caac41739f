"""Opens the Source that a job names."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from mediamill.tasks.errors import EmptySource, NoSuchOption, UsageError
from mediamill.tasks.job import Columns, Job
from mediamill.tasks.sources.base import Source
from mediamill.tasks.sources.columns import is_text_only, match_name
from mediamill.tasks.sources.extensions import collect_extensions
from mediamill.tasks.sources.folder import FolderSource, GlobSource
from mediamill.tasks.sources.grouped import GroupedSource
from mediamill.tasks.sources.locate import is_url
from mediamill.tasks.sources.manifest import MANIFEST_EXTENSIONS, ManifestSource
from mediamill.tasks.sources.settling import UnsettledSource
from mediamill.tasks.sources.single_file import SingleFileSource
from mediamill.tasks.sources.stdin import StdinSource


def open_source(job: Job, kinds: frozenset[str], param_names: frozenset[str]) -> Source:
    """The Source of ``job.source``: a folder, glob, file, URL, manifest, or ``-`` for stdin.

    ``job.limit`` is not applied here.

    Args:
        job: its source, columns and groups are used, and its OUT, which is skipped inside a folder.
        kinds: kinds of media that the capability takes: ``audio``, ``video``, ``image``, ``text``.
        param_names: the capability's parameters; manifest columns of these names are per-row parameters.

    Raises:
        UsageError: when the source is missing, empty, unreadable or not supported.
        NoSuchOption: when ``job.columns`` names a column that does not exist.
    """
    source = _open_ungrouped(job, kinds, param_names)
    if job.group or job.columns.group:
        return GroupedSource(source, job.group, _find_group_column(job, kinds, source))
    return source


def find_unsettled(job: Job, kinds: frozenset[str], param_names: frozenset[str]) -> UnsettledSource | None:
    """The error of a folder or pattern of which every file changed just now; None for any other source."""
    if not job.settle or job.source == "-" or "://" in job.source:
        return None
    try:
        open_source(job, kinds, param_names)
    except UnsettledSource as unsettled:
        return unsettled
    except UsageError:
        return None  # the run says it
    return None


def _open_ungrouped(job: Job, kinds: frozenset[str], param_names: frozenset[str]) -> Source:
    given = job.source
    if not given.strip():
        raise UsageError("the source is empty", hint="name a folder, file, manifest or URL")
    if given == "-":
        _reject_columns(job)
        return StdinSource(texts=is_text_only(kinds), allow_paths=job.allow_paths)
    if is_url(given):
        _reject_columns(job)
        return SingleFileSource(given)
    if "://" in given:
        scheme = given.partition("://")[0]
        raise UsageError(f"{scheme}:// sources cannot be read", hint="give a local path or an http(s) URL")
    return _open_local(given, job, kinds, param_names)


def _open_local(given: str, job: Job, kinds: frozenset[str], param_names: frozenset[str]) -> Source:
    path = Path(given).expanduser()
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError) as error:
        raise UsageError(f"{given}: {getattr(error, 'strerror', None) or error}") from None
    if exists and not is_folder:
        _check_file(given, path)
    if exists and not is_folder and path.suffix.lower() in MANIFEST_EXTENSIONS:
        requires_text = not (job.params.get("prompt") or job.params.get("query"))  # the job's own serves every row
        manifest = ManifestSource(
            given, job.columns, kinds, param_names, requires_text=requires_text, allow_paths=job.allow_paths
        )
        if next(manifest.items(), None) is None:
            raise manifest.to_empty_error()
        return manifest
    _reject_columns(job)
    if exists and not is_folder:
        return SingleFileSource(given)
    if not exists and not any(c in given for c in "*?["):
        raise _missing_file_error(given, path)
    if not collect_extensions(kinds):
        raise UsageError(
            f"{job.capability} works on the rows of a manifest, not on files", hint="give a .csv or .jsonl"
        )
    out = None if "://" in job.out_path else os.path.realpath(os.path.expanduser(job.out_path))  # noqa: PTH111
    source_type = FolderSource if is_folder else GlobSource
    folder = source_type(given, kinds, out, allow_paths=job.allow_paths, settle=job.settle)
    if next(folder.items(), None) is None:
        raise folder.to_empty_error()
    return folder


def _find_group_column(job: Job, kinds: frozenset[str], source: Source) -> str | None:
    """The column that makes groups, as the manifest writes it; None where they are made by number."""
    if kinds != frozenset({"image"}):
        raise UsageError(f"{job.capability} takes its items one by one", hint="leave the groups out")
    if job.group and job.columns.group:
        raise UsageError("groups are made by number or by column, not both", hint="leave one of them out")
    if not job.columns.group:
        return None
    schema = source.row_schema()
    known = schema.names if schema is not None else ()
    column = match_name(job.columns.group, known)
    if column not in known:
        raise NoSuchOption("column", column, known, where=f"{job.source}: --group-by")
    return column


def _check_file(given: str, path: Path) -> None:
    if not path.is_file():
        raise UsageError(f"{given} is neither a file nor a folder")
    if not os.access(path, os.R_OK):
        raise UsageError(f"{given} cannot be read: permission denied", hint="check its permissions")


def _reject_columns(job: Job) -> None:
    if job.columns != Columns():
        raise UsageError(
            f"{job.source} is not a manifest, so it has no columns",
            hint="leave out --path-column and its like (columns in a job file)",
        )


def _missing_file_error(given: str, path: Path) -> UsageError:
    try:
        siblings = sorted(os.listdir(path.parent))  # noqa: PTH208
    except OSError:
        return EmptySource(f"{given}: no such file or folder (nor the folder it would be in)", is_missing=True)
    similar = difflib.get_close_matches(path.name, siblings, n=1)
    hint = f"did you mean {os.path.join(os.path.dirname(given), similar[0])}?" if similar else None  # noqa: PTH118, PTH120
    return EmptySource(f"{given}: no such file or folder", hint=hint, is_missing=True)
