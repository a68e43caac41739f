"""The project's own samples, which a wheel carries: written into a folder, to try every capability with."""

from __future__ import annotations

import filecmp
import shutil
from pathlib import Path

import mediamill
from mediamill.tasks.errors import StorageError, UsageError
from mediamill.tasks.system.os_errors import build_storage_error

_PACKAGE = Path(mediamill.__file__).parent
_FOLDERS = (_PACKAGE / "samples", _PACKAGE.parent / "data" / "samples")
"""Where they are: in a wheel, and in a checkout."""
_LEFT_OUT = ("make_*.py", "broken/*")


def write_samples(folder: Path) -> list[Path]:
    """Write the samples into a folder; files that are there already and are the same stay.

    Returns:
        Their paths below the folder.

    Raises:
        UsageError: when a file of another content has the name of a sample; nothing is written then.
        StorageError: when the disk fails.
    """
    source = next((path for path in _FOLDERS if path.is_dir()), None)
    if source is None:
        raise StorageError(f"{_FOLDERS[0]} is missing", hint="install mediamill again")
    names = sorted(path.relative_to(source) for path in source.rglob("*") if path.is_file() and not _is_left_out(path))
    for name in names:
        target = folder / name
        if target.exists() and not (target.is_file() and filecmp.cmp(source / name, target, shallow=False)):
            raise UsageError(f"{target} is there already, and is no sample", hint="name another folder")
    try:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, folder / name)  # with its time: no run waits for it to be written to its end
    except OSError as error:
        raise build_storage_error(error, folder) from None
    return names


def _is_left_out(path: Path) -> bool:
    return any(path.match(pattern) for pattern in _LEFT_OUT)
