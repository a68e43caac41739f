"""Walks a folder's files in an order that does not depend on the file system."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file below the root, by its relative POSIX path; or a folder that could not be read, and why."""

    relative: str
    location: str
    file_stat: os.stat_result | None = None
    problem: str | None = None


def walk(
    root: str,
    *,
    is_wanted: Callable[[str], bool],
    should_enter: Callable[[str], bool],
    excluded: str | None = None,
    is_allowed: Callable[[str], bool],
    on_outside_link: Callable[[str], None],
) -> Iterator[FoundFile]:
    """Every wanted regular file below ``root``, sorted by relative path, one folder in memory at a time.

    Linked folders are not entered: if they lead inside the root, their files are found under their own path. A linked
    file is taken when it leads to a file that is allowed.

    Args:
        root: absolute path, links resolved.
        is_wanted: whether to take the file with this relative path.
        should_enter: whether to enter the folder with this relative path.
        excluded: absolute path of a folder that is skipped.
        is_allowed: whether a linked file may be taken, by its absolute path.
        on_outside_link: called with the relative path of each wanted link that leads to no allowed file.

    Raises:
        OSError: when the root itself cannot be read.
    """
    stack = [_Listing(root, "")]
    while stack:
        name = stack[-1].next()
        if name is None:
            stack.pop()
            continue
        relative = stack[-1].relative + name
        location = f"{root.rstrip('/')}/{relative}"
        if name.endswith("/"):
            relative, location = relative[:-1], location[:-1]
            if location != excluded and should_enter(relative):
                try:
                    stack.append(_Listing(location, relative + "/"))
                except OSError as error:
                    yield _to_unreadable_folder(relative, location, error)
        elif is_wanted(relative):
            file = _find_file(relative, location, is_allowed)
            if file:
                yield file
            else:
                on_outside_link(relative)


def _to_unreadable_folder(relative: str, location: str, error: OSError) -> FoundFile:
    return FoundFile(relative + "/", location, problem=f"the folder cannot be read: {error.strerror or error}")


class _Listing:
    """The names in one folder, folders with a slash, in the order of full paths."""

    def __init__(self, path: str, relative: str) -> None:
        self.relative = relative
        with os.scandir(path) as entries:
            self._names = [e.name + "/" if e.is_dir(follow_symlinks=False) else e.name for e in entries]
        self._names.sort(reverse=True)

    def next(self) -> str | None:
        return self._names.pop() if self._names else None


def _find_file(relative: str, location: str, is_allowed: Callable[[str], bool]) -> FoundFile | None:
    try:
        file_stat = os.lstat(location)
        if stat.S_ISLNK(file_stat.st_mode):
            if not is_allowed(location):
                return None
            file_stat = os.stat(location)  # noqa: PTH116
    except OSError:
        return None
    return FoundFile(relative, location, file_stat) if stat.S_ISREG(file_stat.st_mode) else None
