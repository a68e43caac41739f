"""Sidecars, the text files beside sources: what they are called, which names of a folder are some, and who has one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mediamill.tasks.domain import Item
from mediamill.tasks.not_taken import NotTaken
from mediamill.tasks.sources.base import Source
from mediamill.tasks.sources.extensions import EXTENSIONS

if TYPE_CHECKING:
    import pyarrow as pa

EXTENSIONS_OF_SIDECARS = frozenset({".srt", ".vtt", ".txt", ".json"})


@dataclass(frozen=True, slots=True)
class SidecarNames:
    """What a job's sidecars are called: as the source, with another extension, which is what other programs look for.

    Args:
        formats: those that the job or OUT's earlier runs named; else srt beside a video that is transcribed, and txt
            beside all others.
        has_times: whether results have segments with times, from which subtitles are made.
        keeps_lines: whether the lines of a text stay lines in its file.
    """

    formats: Sequence[str]
    has_times: bool
    keeps_lines: bool = False

    def list_paths(self, location: str) -> dict[str, str]:
        """The path of each sidecar of a file, by format."""
        stem, extension = os.path.splitext(location)  # noqa: PTH122 (a million times)
        is_video = self.has_times and extension.lower() in EXTENSIONS["video"]
        formats = self.formats or (("srt",) if is_video else ("txt",))
        return {name: f"{stem}.{name}" for name in formats}

    def has_all(self, item: Item) -> bool:
        """Whether an item's file has every sidecar that the job would write; never true of a URL."""
        if item.location is None or item.is_url:
            return False
        return all(os.path.lexists(path) for path in self.list_paths(item.location).values())


class WithoutSidecar:
    """The items of a source that have no sidecar yet; those that have one are counted.

    Args:
        source: the source.
        names: what the sidecars are called.
    """

    def __init__(self, source: Source, names: SidecarNames) -> None:
        self._source, self._names = source, names
        self._n_passed = 0
        self.root, self.name = source.root, source.name

    def items(self) -> Iterator[Item]:
        """Every item without a sidecar, streamed; a row that cannot be used is among them."""
        self._n_passed = 0
        for item in self._source.items():
            if item.problem is None and self._names.has_all(item):
                self._n_passed += 1
            else:
                yield item

    def row_schema(self) -> pa.Schema | None:
        """The source's columns."""
        return self._source.row_schema()

    def size_hint(self) -> int | None:
        """None: not known without a look at every file."""
        return None

    def not_taken(self) -> NotTaken:
        """What the source has not taken, and the items that have a sidecar."""
        return replace(self._source.not_taken(), with_sidecar=self._n_passed)


def leave_out_sidecars(names: Sequence[str], wanted: frozenset[str]) -> list[str]:
    """The names in a folder without those of sidecars of wanted files beside them.

    Args:
        names: of files and folders.
        wanted: the extensions of wanted files.
    """
    pairs = [(name, *_split_name(name)) for name in names]
    if not any(extension in EXTENSIONS_OF_SIDECARS for _, _, extension in pairs):
        return list(names)
    stems = {stem for _, stem, extension in pairs if extension in wanted}
    return [
        name
        for name, stem, extension in pairs
        if extension in wanted or extension not in EXTENSIONS_OF_SIDECARS or stem not in stems
    ]


def _split_name(name: str) -> tuple[str, str]:
    stem, extension = os.path.splitext(name)  # noqa: PTH122 (a million times)
    return stem, extension.lower()
