"""What every source answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from mediamill.tasks.domain import Item

if TYPE_CHECKING:
    import pyarrow as pa


class Source(Protocol):
    """Where a run's Items come from. Reading it again gives the same Items in the same order (stdin aside).

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
