"""OUT's folder: created, and refused where something else stands in the place of what a run writes."""

from __future__ import annotations

from pathlib import Path

from mediamill.tasks.errors import UsageError
from mediamill.tasks.system.os_errors import build_storage_error
from mediamill.tasks.system.private_files import check_is_no_link, make_private_folder

PRIVATE_FOLDERS = (".journal", ".tmp")
OUTPUT_FOLDERS = ("results", "failures", "calls", "media", "runs", "report_files")
"""Folders of OUT that others may read, as the umask says."""

OUTPUT_FILES = ("report.html", "costs.csv")


def create_out_folder(out: Path) -> None:
    """Create OUT where it does not exist yet.

    Raises:
        UsageError: when the path is not a folder.
        StorageError: when it cannot be created or written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in PRIVATE_FOLDERS:
            make_private_folder(out / name)
        for name in OUTPUT_FOLDERS:
            check_is_no_link(out / name)
            _check_place(out / name, is_folder=True)
        for name in OUTPUT_FILES:
            _check_place(out / name, is_folder=False)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(
            f"{_find_file_on_path(Path(error.filename or out))}: is not a folder", hint="choose another --out"
        ) from None
    except OSError as error:
        raise build_storage_error(error, error.filename or out) from None


def _check_place(path: Path, *, is_folder: bool) -> None:
    """Refuse a file where a run writes a folder, and a folder where it writes a file, before anything is paid.

    Raises:
        UsageError: when something of the other kind is in its place.
    """
    if path.exists() and path.is_dir() != is_folder:
        here, needed = ("a file", "a folder") if is_folder else ("a folder", "a file")
        hint = "move it away, or choose another --out"
        raise UsageError(f"{path}: is {here}, and the run writes {needed} of that name", hint=hint)


def _find_file_on_path(path: Path) -> Path:
    """The part of a path that is in the way: the first that exists and is no folder."""
    return next((part for part in (*reversed(path.parents), path) if part.exists() and not part.is_dir()), path)
