"""Which local files the rows of a source may name. A manifest is data from strangers, so this one place decides it."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mediamill.tasks.job import AllowedPaths

MAX_PATH_LENGTH = 4096
"""Maximum length of a path or URL."""

_MAX_KNOWN_FOLDERS = 10_000


class PathRefused(ValueError):
    """A row names something that is no local file it may name; the message says what to do."""


class RowPaths:
    """Finds the files that rows name: below the folder of the source, and where the job allows it elsewhere.

    Links are followed before a path is judged, so a link that leads out of the folder is outside.

    Args:
        folder: absolute path of the folder that relative paths start from.
        allow_paths: the job's option: True for any file, or further folders.
    """

    def __init__(self, folder: str, allow_paths: AllowedPaths) -> None:
        self.folder = folder
        self._allows_all = allow_paths is True
        self._others = () if isinstance(allow_paths, bool) else tuple(allow_paths)
        self._roots = tuple(_with_slash(os.path.realpath(root)) for root in (folder, *self._others))
        self._real_folders: dict[str, str] = {}

    @classmethod
    def of_source(cls, root: str, allow_paths: AllowedPaths) -> RowPaths:
        """The paths for the rows of a source, by its ``root``: a manifest's path, or ``-`` for the working folder."""
        return cls(str(Path.cwd()) if root == "-" else str(Path(root).parent), allow_paths)

    def find(self, value: str) -> str:
        """The absolute path of the file that a row's value names; the file need not exist.

        Args:
            value: a path or a file URL. A relative path starts from the source's folder; where nothing is there, from
                the folders that the job allows, which include the working folder when it allows any file.

        Raises:
            PathRefused: when it leads out of the folders, or names no local file.
        """
        path = self._locate(_to_path(value))
        if not self.allows(path):
            raise PathRefused(
                f"{value} leads out of {self.folder}, and rows name files below it; "
                "add --allow-paths if they may name any file of this machine"
            )
        return path

    def allows(self, path: str) -> bool:
        """True for an absolute path that is below the source's folder or an allowed one once its links are followed."""
        if self._allows_all:
            return True
        folder, _, name = path.rpartition("/")
        real_folder = self._real_folders.get(folder)
        if real_folder is None:
            if len(self._real_folders) >= _MAX_KNOWN_FOLDERS:
                self._real_folders.clear()
            real_folder = self._real_folders[folder] = os.path.realpath(folder or "/")
        real_path = _with_slash(real_folder) + name
        if os.path.islink(real_path):  # noqa: PTH114 (a million times)
            real_path = os.path.realpath(real_path)
        return _with_slash(real_path).startswith(self._roots)

    def _locate(self, name: str) -> str:
        first = _join(self.folder, name)
        if os.path.isabs(name) or not (self._allows_all or self._others) or os.path.lexists(first):  # noqa: PTH117
            return first
        others = (str(Path.cwd()),) if self._allows_all else self._others
        return next((path for other in others if os.path.lexists(path := _join(other, name))), first)


def _to_path(value: str) -> str:
    """A path, or that of a file URL, with the home folder written out.

    Raises:
        PathRefused: when it is too long, or another kind of URL.
    """
    if len(value) > MAX_PATH_LENGTH:
        raise PathRefused(f"the path is longer than {MAX_PATH_LENGTH} characters")
    if "\0" in value:
        raise PathRefused("the path holds a null character")
    if "://" not in value[:16]:
        return os.path.expanduser(value)  # noqa: PTH111
    scheme = value.partition("://")[0].lower()
    if scheme != "file":
        raise PathRefused(f"{scheme}:// cannot be read: give a path or an http(s) URL")
    try:
        parts = urlsplit(value)
    except ValueError as error:
        raise PathRefused(f"not a URL: {error}") from None
    if parts.netloc not in ("", "localhost"):
        raise PathRefused(f"{value} names a file of another machine: give a path or an http(s) URL")
    path = unquote(parts.path)
    if "\0" in path:
        raise PathRefused("the path holds a null character")
    return path


def _join(folder: str, name: str) -> str:
    path = os.path.normpath(os.path.join(folder, name))  # noqa: PTH118 (a million times)
    return path[1:] if path.startswith("//") else path


def _with_slash(folder: str) -> str:
    return folder if folder.endswith("/") else folder + "/"
