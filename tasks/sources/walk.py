"""Walks a folder's files in an order that does not depend on the file system."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file below the root, by its relative POSIX path; or a folder that could not be read, and why."""

    relative: str
    location: str
    file_stat: os.stat_result | None = None
    problem: str | None = None


class Skipped(Enum):
    """Why a file that was wanted by its name, or a link to a folder, is not taken."""

    OUTSIDE_LINK = "a link to a file that is not allowed"
    LINKED_FOLDER = "a link to a folder"
    BROKEN_LINK = "a link that leads nowhere, or no regular file"


class WalkRules(Protocol):
    """What a walk takes. Paths are relative to its root unless they are called locations, which are absolute."""

    def is_wanted(self, relative: str, location: str) -> bool:
        """Whether to take this file."""
        ...

    def should_enter(self, relative: str) -> bool:
        """Whether to enter this folder."""
        ...

    def is_allowed(self, location: str) -> bool:
        """Whether a linked file may be taken."""
        ...

    def select_names(self, names: Sequence[str]) -> Sequence[str]:
        """Of the names in a folder, those that concern the walk; no other method hears of the rest."""
        ...

    def on_skipped(self, location: str, reason: Skipped) -> None:
        """Called with each wanted file that is not taken, and each link to a folder that would be entered."""
        ...


def walk(root: str, rules: WalkRules, *, excluded: str | None = None) -> Iterator[FoundFile]:
    """Every wanted regular file below ``root``, sorted by relative path, one folder in memory at a time.

    Linked folders are not entered: if they lead inside the root, their files are found under their own path. A linked
    file is taken when it leads to a file that is allowed.

    Args:
        root: absolute path, links resolved.
        rules: what is taken, and what hears of the rest.
        excluded: absolute path of a folder that is skipped.

    Raises:
        OSError: when the root itself cannot be read.
    """
    stack = [_Listing(root, "", rules)]
    while stack:
        name = stack[-1].next()
        if name is None:
            stack.pop()
            continue
        relative = stack[-1].relative + name
        location = f"{root.rstrip('/')}/{relative}"
        if name.endswith("/"):
            relative, location = relative[:-1], location[:-1]
            if location != excluded and rules.should_enter(relative):
                try:
                    stack.append(_Listing(location, relative + "/", rules))
                except OSError as error:
                    yield _to_unreadable_folder(relative, location, error)
        elif name.endswith(_LINKED_FOLDER):
            if rules.should_enter(relative[:-1]):
                rules.on_skipped(location[:-1], Skipped.LINKED_FOLDER)
        elif rules.is_wanted(relative, location):
            found = _find_file(relative, location, rules)
            if isinstance(found, FoundFile):
                yield found
            else:
                rules.on_skipped(location, found)


def _to_unreadable_folder(relative: str, location: str, error: OSError) -> FoundFile:
    return FoundFile(relative + "/", location, problem=f"the folder cannot be read: {error.strerror or error}")


_LINKED_FOLDER = "\0"


class _Listing:
    """The names in one folder, in the order of full paths. Folders end in a slash, links to folders in a null."""

    def __init__(self, path: str, relative: str, rules: WalkRules) -> None:
        self.relative = relative
        with os.scandir(path) as entries:
            names = [entry.name + _get_suffix(entry) for entry in entries]
        self._names = list(rules.select_names(names))
        self._names.sort(reverse=True)

    def next(self) -> str | None:
        return self._names.pop() if self._names else None


def _get_suffix(entry: os.DirEntry[str]) -> str:
    try:
        if not entry.is_dir():
            return ""
        return _LINKED_FOLDER if entry.is_symlink() else "/"
    except OSError:
        return ""


def _find_file(relative: str, location: str, rules: WalkRules) -> FoundFile | Skipped:
    try:
        file_stat = os.lstat(location)
        if stat.S_ISLNK(file_stat.st_mode):
            target_stat = os.stat(location)  # noqa: PTH116
            if not rules.is_allowed(location):
                return Skipped.OUTSIDE_LINK
            file_stat = target_stat
    except OSError:
        return Skipped.BROKEN_LINK
    return FoundFile(relative, location, file_stat) if stat.S_ISREG(file_stat.st_mode) else Skipped.BROKEN_LINK
