"""The protocols of sources and of manifest readers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from mediamill.tasks.domain import Item
from mediamill.tasks.not_taken import NotTaken

if TYPE_CHECKING:
    import pyarrow as pa


class Source(Protocol):
    """Where a run's Items come from. Reading it again gives the same Items in the same order, except from stdin.

    Attributes:
        root: what OUT is bound to: an absolute path or pattern, a URL, or ``-``.
        name: short, for people.
    """

    @property
    def root(self) -> str:
        """What OUT is bound to."""
        ...

    @property
    def name(self) -> str:
        """Short, for people."""
        ...

    def items(self) -> Iterator[Item]:
        """Every Item, streamed. A row or file that cannot be used is an Item with a ``problem``."""
        ...

    def row_schema(self) -> pa.Schema | None:
        """The columns of ``Item.row``, without the ``in_`` prefix; None when Items carry no rows."""
        ...

    def size_hint(self) -> int | None:
        """How many Items there are, where that is known without reading everything."""
        ...

    def not_taken(self) -> NotTaken:
        """What :meth:`items` has read so far and not taken; empty where every row or file is an Item."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a manifest.

    Attributes:
        number: from 1, headers not counted.
        where: its place in the file, for messages, e.g. ``row 7 (line 8)``.
        values: by column name.
        problem: why it cannot be used; None when it can.
        after_damage: it follows a quote that was never closed, so it may be part of that cell.
    """

    number: int
    where: str
    values: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None
    after_damage: bool = False


class ManifestReader(Protocol):
    """Reads one format of manifest. Opening reads only as much as is needed to know the columns."""

    column_names: list[str]

    def rows(self) -> Iterator[Row]:
        """Every row, streamed."""
        ...

    def column_types(self) -> Mapping[str, pa.DataType]:
        """The columns' own Arrow types; empty when values are text."""
        ...

    def row_count(self) -> int | None:
        """How many rows, where that is known."""
        ...

    def explain_columns(self) -> tuple[str, str] | None:
        """Why its columns are not those that are needed, and what to do; None where it is not known."""
        ...
