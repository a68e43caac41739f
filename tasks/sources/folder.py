"""A folder or a glob as a source: the files in it that have the right kind of media."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from mediamill.tasks.domain import Item
from mediamill.tasks.errors import UsageError
from mediamill.tasks.job import AllowedPaths
from mediamill.tasks.run_log import RUN_LOGGER, write_record
from mediamill.tasks.sources.locate import find_id_problem, fingerprint_file, to_printable
from mediamill.tasks.sources.row_paths import RowPaths
from mediamill.tasks.sources.walk import FoundFile, walk

if TYPE_CHECKING:
    import pyarrow as pa

_WILDCARDS = frozenset("*?[")
_AUDIO_AND_VIDEO = frozenset(
    """
    .webm .mp4 .mp4v .m4v .f4v .mkv .mk3d .mov .qt .avi .divx .mpg .mpeg .mpe .m2p .vob .ts .m2t .mts .m2ts .3gp .3gpp
    .3g2 .flv .ogv .ogx .asf .wmv .rm .rmvb .dv .mxf .wtv .nut
    """.split()  # noqa: SIM905
)

EXTENSIONS = {
    "audio": _AUDIO_AND_VIDEO
    | frozenset(
        """
        .wav .wave .bwf .rf64 .w64 .mp3 .mpga .mpa .m2a .mp2 .mp1 .m4a .m4b .m4r .f4a .mka .weba .flac .ogg .oga .opus
        .spx .aac .adts .latm .loas .wma .aiff .aif .aifc .amr .awb .caf .au .snd .wv .ac3 .eac3 .ec3 .dts .dtshd
        .ape .tta .tak .mpc .mpp .shn .ra .voc .sph .nist .qcp .dsf
        """.split()  # noqa: SIM905
    ),
    "video": _AUDIO_AND_VIDEO | frozenset(".m1v .m2v .h264 .264 .hevc .h265 .265 .ivf .gif".split()),  # noqa: SIM905
    "image": frozenset(".jpg .jpeg .jpe .jfif .mpo .png .webp .gif .bmp .tif .tiff .heic .heif .avif .jp2".split()),  # noqa: SIM905
    "text": frozenset({".txt", ".md"}),
}
"""File extensions by kind, lower case. Files that may hold both audio and video are of both kinds."""


class FolderSource:
    """Every file of the right kind below a folder, except hidden ones; ids are relative paths.

    Args:
        given: the folder as the user wrote it.
        kinds: kinds of media, which are recognised by the files' extensions.
        out: absolute path of OUT, which is skipped when it is inside.
        allow_paths: the job's option; without it links that lead out of the folder are not followed.
    """

    def __init__(
        self, given: str, kinds: frozenset[str], out: str | None = None, *, allow_paths: AllowedPaths = False
    ) -> None:
        self._given = given
        self._folder = os.path.realpath(os.path.expanduser(given))  # noqa: PTH111
        self.root = self._folder
        self.name = os.path.basename(self._folder) or "root"  # noqa: PTH119
        self._kinds, self._out = kinds, out
        self._row_paths = RowPaths(self._folder, allow_paths)
        self._extensions = collect_extensions(kinds)
        self._other_suffixes: Counter[str] = Counter()
        self._n_outside_links = 0

    def items(self) -> Iterator[Item]:
        """Sorted by relative path."""
        self._other_suffixes.clear()
        self._n_outside_links = 0
        files = walk(
            self._folder,
            is_wanted=self._is_wanted,
            should_enter=self._should_enter,
            excluded=self._out,
            is_allowed=self._row_paths.allows,
            on_outside_link=self._count_outside_link,
        )
        try:
            for index, file in enumerate(files):
                yield self._to_item(index, file)
        except OSError as error:
            raise UsageError(f"{self._given}: {error.strerror or error}") from None
        if self._n_outside_links:
            message = (
                f"links that lead out of the folder: {self._n_outside_links}, not taken; --allow-paths follows them"
            )
            write_record(RUN_LOGGER, logging.WARNING, "links_skipped", message, links=self._n_outside_links)

    def row_schema(self) -> pa.Schema | None:
        """None: files have no rows."""
        return None

    def size_hint(self) -> int | None:
        """None: not known without walking the whole folder."""
        return None

    def to_empty_error(self) -> UsageError:
        """The error for a folder without items, to be called after :meth:`items` was read to its end."""
        kinds = " or ".join(sorted(self._kinds))
        n_others = sum(self._other_suffixes.values())
        details = ""
        if n_others:
            suffixes = ", ".join(suffix or "no extension" for suffix, _ in self._other_suffixes.most_common(5))
            details = f" (found {n_others} other file{'s' if n_others > 1 else ''}: {suffixes})"
        if self._n_outside_links:
            details += f" (links that lead out of the folder: {self._n_outside_links}; --allow-paths follows them)"
        hint = f"{kinds} files end in {' '.join(sorted(self._extensions))}; a single file may be named directly"
        return UsageError(f"no {kinds} files in {self._given}{details}", hint=hint)

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

    def _is_wanted(self, relative: str) -> bool:
        name = relative.rpartition("/")[2]
        return not name.startswith(".") and self._has_right_kind(name)

    def _has_right_kind(self, name: str) -> bool:
        dot = name.rfind(".")
        suffix = name[dot:].lower() if dot > 0 else ""
        if suffix in self._extensions:
            return True
        self._other_suffixes[to_printable(suffix)] += 1
        return False

    def _should_enter(self, relative: str) -> bool:
        return not relative.rpartition("/")[2].startswith(".")

    def _count_outside_link(self, relative: str) -> None:
        del relative
        self._n_outside_links += 1


class GlobSource(FolderSource):
    """The files that a quoted pattern matches; ``**`` is any number of folders. Ids are relative to its fixed part.

    A pattern with an extension (``*.dat``) takes all files that it matches; any other takes only those of the right
    kind.
    """

    def __init__(
        self, given: str, kinds: frozenset[str], out: str | None = None, *, allow_paths: AllowedPaths = False
    ) -> None:
        parts, n_fixed = _split_pattern(given)
        super().__init__(
            "/".join(parts[:n_fixed]) or ("/" if given.startswith("/") else "."), kinds, out, allow_paths=allow_paths
        )
        self._fixed_prefix = "/".join(parts[:n_fixed])
        self._parts = [
            p for i, p in enumerate(parts[n_fixed:]) if p and not (p == "**" and parts[n_fixed:][i - 1 : i] == [p])
        ]
        self._given = given
        self.root = "/".join([self._folder.rstrip("/"), *self._parts])
        if not os.path.isdir(self._folder):  # noqa: PTH112
            raise UsageError(f"{given}: there is no folder {self._fixed_prefix or '/'}")
        if ".." in self._parts:
            raise UsageError(f"{given}: '..' cannot follow a wildcard")

    def to_empty_error(self) -> UsageError:
        """The error when nothing matches."""
        error = super().to_empty_error()
        return UsageError(error.message.replace(" files in ", " files match "), hint=error.hint)

    def _source_prefix(self) -> str:
        return self._fixed_prefix + "/" if self._fixed_prefix else "/" if self._given.startswith("/") else ""

    def _has_right_kind(self, name: str) -> bool:
        last_part = self._parts[-1] if self._parts else ""
        extension = last_part.rpartition(".")[2] if "." in last_part else ""
        return bool(extension and not _WILDCARDS & set(extension)) or super()._has_right_kind(name)

    def _is_wanted(self, relative: str) -> bool:
        names = relative.split("/")
        return _matches(self._parts, names) and self._has_right_kind(names[-1])

    def _should_enter(self, relative: str) -> bool:
        for at, name in enumerate(relative.split("/")):
            if at >= len(self._parts) - 1 and self._parts[-1] != "**":
                return False
            if self._parts[at] == "**":
                return not any(n.startswith(".") for n in relative.split("/")[at:])
            if not _matches_name(self._parts[at], name):
                return False
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


def collect_extensions(kinds: frozenset[str]) -> frozenset[str]:
    """The extensions of all ``kinds`` together."""
    return frozenset[str]().union(*(EXTENSIONS.get(kind, frozenset()) for kind in kinds))
