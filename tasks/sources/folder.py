"""A folder or a glob as a source: the files in it that have the right kind of media."""

from __future__ import annotations

import logging
import os
import stat
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from mediamill.tasks.domain import Item
from mediamill.tasks.errors import EmptySource, UsageError
from mediamill.tasks.job import AllowedPaths
from mediamill.tasks.not_taken import NotTaken
from mediamill.tasks.run_log import RUN_LOGGER, write_record
from mediamill.tasks.sources.extensions import (
    HEAD_BYTES,
    SHARED_EXTENSIONS,
    collect_extensions,
    describe_extensions,
    get_extension,
    looks_like_media,
)
from mediamill.tasks.sources.locate import find_id_problem, fingerprint_file, to_printable
from mediamill.tasks.sources.row_paths import RowPaths
from mediamill.tasks.sources.settling import UnsettledSource
from mediamill.tasks.sources.sidecars import leave_out_sidecars
from mediamill.tasks.sources.walk import FoundFile, Skipped, walk
from mediamill.tasks.system.os_errors import describe_os_error

if TYPE_CHECKING:
    import pyarrow as pa

_WILDCARDS = frozenset("*?[")
_MAX_COUNTED_EXTENSIONS = 1000


class FolderSource:
    """Every file of the right kind below a folder, except hidden ones; ids are relative paths.

    Args:
        given: the folder as the user wrote it.
        kinds: kinds of media, which are recognised by the files' extensions.
        out: absolute path of OUT, which is skipped when it is inside.
        allow_paths: the job's option; without it links that lead out of the folder are not followed.
        settle: a file changed more recently than so many seconds ago is not taken: it may still be written.
    """

    def __init__(
        self,
        given: str,
        kinds: frozenset[str],
        out: str | None = None,
        *,
        allow_paths: AllowedPaths = False,
        settle: float = 0.0,
    ) -> None:
        self._given = given
        self._folder = os.path.realpath(os.path.expanduser(given))  # noqa: PTH111
        self.root = self._folder
        self.name = os.path.basename(self._folder) or "root"  # noqa: PTH119
        self._kinds, self._out, self._settle = kinds, out, settle
        self._row_paths = RowPaths(self._folder, allow_paths)
        self._extensions = collect_extensions(kinds)
        self._other_extensions: Counter[str] = Counter()
        self._spellings: dict[str, str] = {}  # of those extensions, as a file has it: patterns match by case
        self._skipped: Counter[Skipped] = Counter()
        self._n_unsettled, self._settled_at = 0, 0.0

    def items(self) -> Iterator[Item]:
        """Sorted by relative path."""
        self._other_extensions.clear()
        self._skipped.clear()
        self._n_unsettled, self._settled_at, index = 0, 0.0, 0
        try:
            for file in walk(self._folder, self, excluded=self._out):
                if self._is_settled(file):
                    yield self._to_item(index, file)
                    index += 1
                else:
                    self._n_unsettled += 1
        except OSError as error:
            cause = describe_os_error(error)
            raise UsageError(f"{self._given}: {cause.what}", hint=cause.hint) from None
        self._log_not_taken()

    def row_schema(self) -> pa.Schema | None:
        """None: files have no rows."""
        return None

    def size_hint(self) -> int | None:
        """None: not known without walking the whole folder."""
        return None

    def not_taken(self) -> NotTaken:
        """What was read in the folder so far and not taken."""
        return NotTaken(
            dict(self._other_extensions),
            outside_links=self._skipped[Skipped.OUTSIDE_LINK],
            linked_folders=self._skipped[Skipped.LINKED_FOLDER],
            broken_links=self._skipped[Skipped.BROKEN_LINK],
            unsettled=self._n_unsettled,
            settle_seconds=self._settle,
            pattern=self._make_example_pattern(),
        )

    def to_empty_error(self) -> UsageError:
        """The error for a folder without items, to be called after :meth:`items` was read to its end."""
        kinds = " or ".join(sorted(self._kinds))
        not_taken = self.not_taken()
        if not_taken.unsettled:
            return UnsettledSource(
                f"{self._given}: every {kinds} file, {not_taken.unsettled:,} in all, was changed less than "
                f"{self._settle:g} s ago and may still be written",
                f"run it again in {self._settle:g} s, or add --settle 0 to take them now",
                min(self._settled_at - time.time(), self._settle),
            )
        n_others = sum(not_taken.extensions.values())
        details = ""
        if n_others:
            suffixes = ", ".join(suffix or "no extension" for suffix, _ in self._other_extensions.most_common(5))
            details = f" (found {n_others} other file{'s' if n_others > 1 else ''}: {suffixes})"
        links = [reason for reason in not_taken.describe() if reason.startswith("links")]
        details += "".join(f" ({reason})" for reason in links)
        hint = (
            f"{kinds} files end in {describe_extensions(self._extensions)}; a pattern such as '*.xyz' takes any "
            "extension, and a single file may be named directly"
        )
        return EmptySource(f"no {kinds} files in {self._given}{details}", hint=hint)

    def is_wanted(self, relative: str, location: str) -> bool:
        """Every file of the right kind that is not hidden."""
        name = relative.rpartition("/")[2]
        return not name.startswith(".") and self._has_right_kind(name, location)

    def select_names(self, names: Sequence[str]) -> Sequence[str]:
        """The names without those of sidecars: what stands beside a file of the right kind is no file left out."""
        return leave_out_sidecars(names, self._extensions)

    def should_enter(self, relative: str) -> bool:
        """Every folder that is not hidden."""
        return not relative.rpartition("/")[2].startswith(".")

    def is_allowed(self, location: str) -> bool:
        """Links that stay in the folder, or lead to where the job allows."""
        return self._row_paths.allows(location)

    def on_skipped(self, location: str, reason: Skipped) -> None:
        """Count it; the files behind a link that stays in the folder are found under their own path."""
        if reason is not Skipped.LINKED_FOLDER or not self._is_inside(os.path.realpath(location)):
            self._skipped[reason] += 1

    def _to_item(self, index: int, file: FoundFile) -> Item:
        item_id = to_printable(file.relative)
        source = f"{to_printable(self._source_prefix())}{item_id}"
        problem = file.problem
        if item_id != file.relative:
            problem = "the file's name is not valid UTF-8; rename it"
        problem = problem or find_id_problem(item_id)
        if problem or file.file_stat is None:
            return Item(item_id[:1000], index, source, problem=problem)
        return Item(item_id, index, source, file.location, fingerprint=fingerprint_file(file.location, file.file_stat))

    def _source_prefix(self) -> str:
        return self._given.rstrip("/") + "/"

    def _make_example_pattern(self) -> str | None:
        extension = next((suffix for suffix, _ in self._other_extensions.most_common() if suffix), None)
        if not extension:
            return None
        return to_printable(f"{self._source_prefix()}**/*{self._spellings.get(extension, extension)}")

    def _has_right_kind(self, name: str, location: str) -> bool:
        extension = get_extension(name)
        if extension in self._extensions and (extension not in SHARED_EXTENSIONS or _holds_media(extension, location)):
            return True
        self._count_extension(to_printable(extension), name[len(name) - len(extension) :])
        return False

    def _count_extension(self, extension: str, spelling: str) -> None:
        if extension not in self._other_extensions and len(self._other_extensions) >= _MAX_COUNTED_EXTENSIONS:
            extension = "others"
        self._spellings.setdefault(extension, spelling)
        self._other_extensions[extension] += 1

    def _is_settled(self, file: FoundFile) -> bool:
        """False for a file that changed just now. One from the future is of another clock, which tells nothing."""
        if file.file_stat is None or abs(time.time() - file.file_stat.st_mtime) >= self._settle:
            return True
        self._settled_at = max(self._settled_at, file.file_stat.st_mtime + self._settle)
        return False

    def _is_inside(self, path: str) -> bool:
        return f"{path}/".startswith(f"{self._folder.rstrip('/')}/")

    def _log_not_taken(self) -> None:
        not_taken = self.not_taken()
        if not_taken:
            message = f"not taken from {self._given}: {'; '.join(not_taken.describe())}"
            n_files = sum(not_taken.extensions.values())
            links = not_taken.outside_links + not_taken.linked_folders + not_taken.broken_links
            fields = {"files": n_files, "links": links, "unsettled": not_taken.unsettled}
            write_record(RUN_LOGGER, logging.WARNING, "not_taken", message, **fields)


class GlobSource(FolderSource):
    """The files that a quoted pattern matches; ``**`` is any number of folders. Ids are relative to its fixed part.

    A pattern with an extension (``*.dat``) takes all files that it matches; any other takes only those of the right
    kind.
    """

    def __init__(
        self,
        given: str,
        kinds: frozenset[str],
        out: str | None = None,
        *,
        allow_paths: AllowedPaths = False,
        settle: float = 0.0,
    ) -> None:
        parts, n_fixed = _split_pattern(given)
        folder = "/".join(parts[:n_fixed]) or ("/" if given.startswith("/") else ".")
        super().__init__(folder, kinds, out, allow_paths=allow_paths, settle=settle)
        self._fixed_prefix = "/".join(parts[:n_fixed])
        self._parts = [
            p for i, p in enumerate(parts[n_fixed:]) if p and not (p == "**" and parts[n_fixed:][i - 1 : i] == [p])
        ]
        self._given = given
        self.root = "/".join([self._folder.rstrip("/"), *self._parts])
        if not os.path.isdir(self._folder):  # noqa: PTH112
            raise EmptySource(f"{given}: there is no folder {self._fixed_prefix or '/'}", is_missing=True)
        if ".." in self._parts:
            raise UsageError(f"{given}: '..' cannot follow a wildcard")

    def to_empty_error(self) -> UsageError:
        """The error when nothing matches."""
        error = super().to_empty_error()
        if isinstance(error, UnsettledSource):
            return error
        return EmptySource(error.message.replace(" files in ", " files match "), hint=error.hint)

    def _has_right_kind(self, name: str, location: str) -> bool:
        last_part = self._parts[-1] if self._parts else ""
        extension = last_part.rpartition(".")[2] if "." in last_part else ""
        return bool(extension and not _WILDCARDS & set(extension)) or super()._has_right_kind(name, location)

    def _source_prefix(self) -> str:
        return self._fixed_prefix + "/" if self._fixed_prefix else "/" if self._given.startswith("/") else ""

    def is_wanted(self, relative: str, location: str) -> bool:
        """The files that match."""
        names = relative.split("/")
        return _matches(self._parts, names) and self._has_right_kind(names[-1], location)

    def should_enter(self, relative: str) -> bool:
        """The folders in which files may match."""
        for at, name in enumerate(relative.split("/")):
            if at >= len(self._parts) - 1 and self._parts[-1] != "**":
                return False
            if self._parts[at] == "**":
                return not any(n.startswith(".") for n in relative.split("/")[at:])
            if not _matches_name(self._parts[at], name):
                return False
        return True


def _holds_media(extension: str, location: str) -> bool:
    """True where the file's first bytes are MPEG's; what cannot be read is taken, for the reading to say why."""
    try:
        if not stat.S_ISREG(os.stat(location).st_mode):  # noqa: PTH116
            return True
        with open(location, "rb") as file:  # noqa: PTH123
            return looks_like_media(extension, file.read(HEAD_BYTES))
    except OSError:
        return True


def _split_pattern(given: str) -> tuple[list[str], int]:
    """The parts of a pattern, and how many of them before its first wildcard are the names of folders."""
    parts = os.path.expanduser(given).split("/")  # noqa: PTH111
    return parts, next((i for i, part in enumerate(parts) if _WILDCARDS & set(part)), len(parts) - 1)


def find_source_folder(given: str) -> list[str]:
    """The folder that a source's files are in: itself, its own or a pattern's fixed part; none for a URL."""
    if "://" in given:
        return []
    path = os.path.abspath(os.path.expanduser(given))  # noqa: PTH100, PTH111
    if given == "-":
        return [os.path.dirname(path)]  # noqa: PTH120
    if os.path.isdir(path):  # noqa: PTH112
        return [path]
    if os.path.exists(path):  # noqa: PTH110
        return [os.path.dirname(path)]  # noqa: PTH120
    parts, n_fixed = _split_pattern(given)
    return [os.path.abspath("/".join(parts[:n_fixed]) or ("/" if given.startswith("/") else "."))]  # noqa: PTH100


def _matches(parts: list[str], names: list[str]) -> bool:
    if not parts or not names:
        return not parts and not names
    if parts[0] != "**":
        return _matches_name(parts[0], names[0]) and _matches(parts[1:], names[1:])
    if len(parts) == 1:
        return not any(name.startswith(".") for name in names)
    for n_skipped in range(len(names)):
        if _matches(parts[1:], names[n_skipped:]):
            return True
        if names[n_skipped].startswith("."):
            return False
    return False


def _matches_name(part: str, name: str) -> bool:
    return fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))
