"""What the readers of manifests have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a manifest.

    Attributes:
        number: from 1, headers not counted.
        where: how a person finds it, e.g. ``row 7 (line 8)``.
        values: by column name.
        problem: why it cannot be used.
    """

    number: int
    where: str
    values: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None


class Reader(Protocol):
    """A manifest format. Opening it reads no more than it must to know its columns."""

    names: list[str]

    def rows(self) -> Iterator[Row]:
        """Every row, streamed."""
        ...

    def types(self) -> Mapping[str, pa.DataType]:
        """The columns' own Arrow types; empty when values are text."""
        ...

    def count(self) -> int | None:
        """How many rows, where that is known."""
        ...
