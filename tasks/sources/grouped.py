"""Groups neighbouring items of a source: several images for one prompt."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import groupby, islice
from typing import TYPE_CHECKING

from mediamill.tasks.domain import Item, join_locations
from mediamill.tasks.not_taken import NotTaken
from mediamill.tasks.sources.base import Source
from mediamill.tasks.sources.locate import find_id_problem

if TYPE_CHECKING:
    import pyarrow as pa


class GroupedSource:
    """A source whose items are groups of another source's items.

    A group has the row and the parameters of its first member. A member that cannot be used makes its group fail.

    Args:
        source: the source whose neighbouring items form groups.
        size: the number of items in a group; its id is ``FIRST..LAST``.
        column: items with the same value in this column form a group, with the value as its id. They must be
            neighbours.
    """

    def __init__(self, source: Source, size: int | None, column: str | None) -> None:
        self._source = source
        self._size = size
        self._column = column
        self.root = source.root
        self.name = source.name

    def items(self) -> Iterator[Item]:
        """Every group, streamed."""
        for index, (item_id, members) in enumerate(self._stream_groups()):
            yield _to_group_item(index, item_id, members)

    def row_schema(self) -> pa.Schema | None:
        """The columns of a group's first member."""
        return self._source.row_schema()

    def size_hint(self) -> int | None:
        """Known where groups have a size and the source's own number of items is known."""
        n_items = self._source.size_hint()
        return -(-n_items // self._size) if n_items is not None and self._size else None

    def not_taken(self) -> NotTaken:
        """What the grouped source has not taken."""
        return self._source.not_taken()

    def _stream_groups(self) -> Iterator[tuple[str, list[Item]]]:
        items = self._source.items()
        if self._size:
            while members := list(islice(items, self._size)):
                yield (
                    f"{members[0].item_id}..{members[-1].item_id}" if len(members) > 1 else members[0].item_id,
                    members,
                )
            return
        column = self._column or ""
        for value, group in groupby(items, key=lambda item: item.row.get(column)):
            members = list(group)
            yield str(value) if value not in (None, "") else members[0].item_id, members


def _to_group_item(index: int, item_id: str, members: list[Item]) -> Item:
    first = members[0]
    source = first.source if len(members) == 1 else f"{first.source} and {len(members) - 1} more"
    problem = next((member.problem for member in members if member.problem), None) or find_id_problem(item_id)
    if problem or any(member.location is None for member in members):
        return Item(item_id[:1000], index, source, row=first.row, params=first.params, problem=problem or "has no path")
    fingerprints = "\n".join(member.fingerprint for member in members)
    return Item(
        item_id,
        index,
        source,
        join_locations([str(member.location) for member in members]),
        first.row,
        first.params,
        first.fingerprint if len(members) == 1 else hashlib.blake2b(fingerprints.encode(), digest_size=16).hexdigest(),
    )
