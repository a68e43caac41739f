"""What an error of the operating system means and what to do about it: each cause in its own words."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from mediamill.tasks.errors import BadInput, ItemError, StorageError

_WAIT_HINT = "free some space, then run again: nothing is lost"
_DISK_HINT = "check the disk, then run again: nothing is lost"
_PERMISSION_HINT = "check the permissions of it and of its folder, and who owns them"
_FILES_HINT = "raise ulimit -n, or lower --concurrency"
_MOUNT_HINT = "mount it again, then run again: nothing is lost"
_FOLDER_HINT = "move what is there away, or choose another folder"

OPEN_FILES_KIND = "too_many_open_files"
_OPEN_FILES_CODES = (errno.EMFILE, errno.ENFILE)
_PASSING_CODES = (*_OPEN_FILES_CODES, errno.EIO, errno.ESTALE, errno.ENOMEM, errno.ETIMEDOUT, errno.EHOSTDOWN)
"""Errors that say nothing against a file: a later run may read it."""

_CAUSES: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", _WAIT_HINT),
    errno.EDQUOT: ("the quota of this user on the disk is used up", _WAIT_HINT),
    errno.EFBIG: ("the file would be larger than the disk or ulimit -f allows", "raise ulimit -f, or use another disk"),
    errno.EROFS: ("the disk is mounted read-only", "mount it for writing, or choose another folder"),
    errno.EACCES: ("permission denied", _PERMISSION_HINT),
    errno.EPERM: ("the operation is not permitted", _PERMISSION_HINT),
    errno.EIO: ("the disk reports an error", _DISK_HINT),
    errno.EMFILE: ("too many open files in this process", _FILES_HINT),
    errno.ENFILE: ("too many open files on this machine", "end other programs, or lower --concurrency"),
    errno.ENOMEM: ("the machine is out of memory", "free some memory or lower --max-memory, then run again"),
    errno.ENOENT: ("does not exist, or no longer", "check its path, or restore it from a copy"),
    errno.ENOTDIR: ("a part of this path is a file, where a folder is needed", _FOLDER_HINT),
    errno.EEXIST: ("a file is in the place of a folder", _FOLDER_HINT),
    errno.EISDIR: ("a folder is in the place of a file", _FOLDER_HINT),
    errno.ENOTEMPTY: ("a folder that is not empty is in its place", _FOLDER_HINT),
    errno.ENAMETOOLONG: ("the name is too long for this disk", "shorten the name, or choose a shorter folder"),
    errno.ELOOP: ("its symbolic links lead in a circle, or one is not followed here", "remove the link"),
    errno.ESTALE: ("the network file system no longer knows it (stale file handle)", _MOUNT_HINT),
    errno.EHOSTDOWN: ("the network file system's server does not answer", _MOUNT_HINT),
    errno.ETIMEDOUT: ("the network file system's server does not answer", _MOUNT_HINT),
    errno.ENODEV: ("its device is gone", _MOUNT_HINT),
    errno.ENXIO: ("its device is gone", _MOUNT_HINT),
    errno.EPIPE: ("what read from it has ended", "run again"),
    errno.EBUSY: ("another program holds it", "end that program, then run again"),
}


@dataclass(frozen=True, slots=True)
class OsCause:
    """The cause of an error in words, and the next step."""

    what: str
    hint: str


def describe_os_error(error: Exception) -> OsCause:
    """What an error of the operating system, or one of FFmpeg with its number, means; and the next step."""
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    what, hint = _CAUSES.get(getattr(error, "errno", None) or 0, (words, _DISK_HINT))
    return OsCause(what, hint)


def build_storage_error(error: Exception, where: object) -> StorageError:
    """The error of a file or folder ``where`` that cannot be written or read, as :func:`describe_os_error` reads it."""
    cause = describe_os_error(error)
    return StorageError(f"{where}: {cause.what}", hint=cause.hint)


def build_unreadable_error(error: OSError, prefix: str) -> BadInput:
    """The error of an item whose file cannot be read. ``prefix`` stands before the cause.

    Where the error says nothing against the file, a later run does the item again.
    """
    cause = describe_os_error(error)
    is_passing = error.errno in _PASSING_CODES
    kind = OPEN_FILES_KIND if error.errno in _OPEN_FILES_CODES else "unreadable"
    return BadInput(f"{prefix}{cause.what}", kind=kind, transient=is_passing, hint=cause.hint)


def build_os_item_error(error: OSError, source: str) -> ItemError:
    """The error of an item in whose work the operating system refused something; a later run does it again."""
    cause = describe_os_error(error)
    kind = OPEN_FILES_KIND if is_out_of_files(error) else "operating_system"
    where = f" ({error.filename})" if error.filename else ""
    return ItemError(f"{source}: {cause.what}{where}", kind=kind, transient=True, hint=cause.hint)


def is_out_of_files(error: BaseException) -> bool:
    """Whether an error says that no file or socket can be opened any more."""
    return isinstance(error, OSError) and error.errno in _OPEN_FILES_CODES


def find_open_files_error() -> OSError | None:
    """The error that opening one more file gives now; for libraries that do not say why they could not open theirs."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error if is_out_of_files(error) else None
    return None
