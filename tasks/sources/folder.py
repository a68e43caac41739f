"""A folder or a glob: the files below it that are of the kind asked for."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from mediamill.tasks.domain import Item
from mediamill.tasks.errors import UsageError
from mediamill.tasks.sources.locate import fingerprint_file, id_problem, printable
from mediamill.tasks.sources.walk import Found, walk

if TYPE_CHECKING:
    import pyarrow as pa

_MAGIC = frozenset("*?[")
_BOTH = frozenset(".webm .mp4 .mkv .mov .avi .mpg .mpeg .3gp .flv".split())  # noqa: SIM905

EXTENSIONS = {
    "audio": _BOTH
    | frozenset(
        ".wav .wave .mp3 .mp2 .m4a .m4b .flac .ogg .oga .opus .spx .aac .wma .aiff .aif .amr .caf .au .w64 .wv".split()  # noqa: SIM905
    ),
    "video": _BOTH | {".m4v", ".wmv", ".gif"},
    "image": frozenset(".jpg .jpeg .jpe .jfif .mpo .png .webp .gif .bmp .tif .tiff .heic .heif .avif .jp2".split()),  # noqa: SIM905
    "text": frozenset({".txt", ".md"}),
}
"""File extensions by kind, lower case. A video's sound is audio too."""


class FolderSource:
    """Every file of the right kind below a folder, hidden ones aside; ids are relative paths.

    Args:
        given: the folder as the user wrote it.
        kinds: kinds of media; files are told by their extension.
        out: absolute path of OUT, which is passed over when it is inside.
    """

    def __init__(self, given: str, kinds: frozenset[str], out: str | None = None) -> None:
        self._given = given
        self._folder = os.path.realpath(os.path.expanduser(given))  # noqa: PTH111
        self.root = self._folder
        self.name = os.path.basename(self._folder) or "root"  # noqa: PTH119
        self._kinds, self._out = kinds, out
        self._extensions = extensions_of(kinds)
        self._others: Counter[str] = Counter()
        self._escaped = 0

    def items(self) -> Iterator[Item]:
        """Sorted by relative path."""
        self._others.clear()
        self._escaped = 0
        files = walk(
            self._folder, wanted=self._wanted, enter=self._enter, left_out=self._out, on_escape=self._on_escape
        )
        try:
            for index, found in enumerate(files):
                yield self._item(index, found)
        except OSError as error:
            raise UsageError(f"{self._given}: {error.strerror or error}") from None

    def row_schema(self) -> pa.Schema | None:
        """Files carry no rows."""
        return None

    def size_hint(self) -> int | None:
        """Not known without looking everywhere."""
        return None

    def empty(self) -> UsageError:
        """The error when :meth:`items` found nothing; only after it was read to its end."""
        what = " or ".join(sorted(self._kinds))
        met = sum(self._others.values())
        told = ""
        if met:
            most = ", ".join(suffix or "no extension" for suffix, _ in self._others.most_common(5))
            told = f" (found {met} other file{'s' if met > 1 else ''}: {most})"
        if self._escaped:
            told += f" ({self._escaped} links lead outside the folder and are not followed)"
        hint = f"{what} files end in {' '.join(sorted(self._extensions))}; a single file may be named directly"
        return UsageError(f"no {what} files in {self._given}{told}", hint=hint)

    def _item(self, index: int, found: Found) -> Item:
        shown = printable(found.relative)
        source = f"{printable(self._prefix())}{shown}"
        problem = found.problem
        if shown != found.relative:
            problem = "the file's name is not valid UTF-8; rename it"
        problem = problem or id_problem(shown)
        if problem or found.about is None:
            return Item(shown[:1000], index, source, problem=problem)
        return Item(shown, index, source, found.location, fingerprint=fingerprint_file(found.location, found.about))

    def _prefix(self) -> str:
        return self._given.rstrip("/") + "/"

    def _wanted(self, relative: str) -> bool:
        name = relative.rpartition("/")[2]
        return not name.startswith(".") and self._right_kind(name)

    def _right_kind(self, name: str) -> bool:
        dot = name.rfind(".")
        suffix = name[dot:].lower() if dot > 0 else ""
        if suffix in self._extensions:
            return True
        self._others[printable(suffix)] += 1
        return False

    def _enter(self, relative: str) -> bool:
        return not relative.rpartition("/")[2].startswith(".")

    def _on_escape(self, relative: str) -> None:
        del relative
        self._escaped += 1


class GlobSource(FolderSource):
    """The files a quoted pattern names; ``**`` is any number of folders. Ids are relative to its fixed part.

    A pattern that spells out an extension (``*.dat``) takes what it matches; any other takes the files
    of the right kind among them.
    """

    def __init__(self, given: str, kinds: frozenset[str], out: str | None = None) -> None:
        parts = os.path.expanduser(given).split("/")  # noqa: PTH111
        fixed = next((i for i, part in enumerate(parts) if _MAGIC & set(part)), len(parts) - 1)
        super().__init__("/".join(parts[:fixed]) or ("/" if given.startswith("/") else "."), kinds, out)
        self._start = "/".join(parts[:fixed])
        self._parts = [
            p for i, p in enumerate(parts[fixed:]) if p and not (p == "**" and parts[fixed:][i - 1 : i] == [p])
        ]
        self._given = given
        self.root = "/".join([self._folder.rstrip("/"), *self._parts])
        if not os.path.isdir(self._folder):  # noqa: PTH112
            raise UsageError(f"{given}: there is no folder {self._start or '/'}")
        if ".." in self._parts:
            raise UsageError(f"{given}: '..' cannot follow a wildcard")

    def empty(self) -> UsageError:
        """The error when nothing matches."""
        error = super().empty()
        return UsageError(error.message.replace(" files in ", " files match "), hint=error.hint)

    def _prefix(self) -> str:
        return self._start + "/" if self._start else "/" if self._given.startswith("/") else ""

    def _right_kind(self, name: str) -> bool:
        last = self._parts[-1] if self._parts else ""
        spelled = last.rpartition(".")[2] if "." in last else ""
        return bool(spelled and not _MAGIC & set(spelled)) or super()._right_kind(name)

    def _wanted(self, relative: str) -> bool:
        names = relative.split("/")
        return _matches(self._parts, names) and self._right_kind(names[-1])

    def _enter(self, relative: str) -> bool:
        for at, name in enumerate(relative.split("/")):
            if at >= len(self._parts) - 1 and self._parts[-1] != "**":
                return False
            if self._parts[at] == "**":
                return not any(n.startswith(".") for n in relative.split("/")[at:])
            if not _one(self._parts[at], name):
                return False
        return True


def _matches(parts: list[str], names: list[str]) -> bool:
    if not parts or not names:
        return not parts and not names
    if parts[0] != "**":
        return _one(parts[0], names[0]) and _matches(parts[1:], names[1:])
    if len(parts) == 1:
        return not any(name.startswith(".") for name in names)
    for skipped in range(len(names)):
        if _matches(parts[1:], names[skipped:]):
            return True
        if names[skipped].startswith("."):
            return False
    return False


def _one(part: str, name: str) -> bool:
    return fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))


def extensions_of(kinds: frozenset[str]) -> frozenset[str]:
    """The extensions of all ``kinds`` together."""
    return frozenset[str]().union(*(EXTENSIONS.get(kind, frozenset()) for kind in kinds))
