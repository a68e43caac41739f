"""Stems of file names: each item gets one when it is planned, which no other item of its OUT has."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from mediamill.tasks.domain import Item
from mediamill.tasks.file_names import add_hash, choose_stem, to_stem_key
from mediamill.tasks.journal.sql_dialect import split_values
from mediamill.tasks.journal.tables import items

_LONG_HASH = 64
"""Characters of a hash that nobody can find a second id for; the usual one is shorter."""


def assign_stems(connection: Connection, out_id: str, new: Sequence[Item]) -> list[dict[str, str]]:
    """The columns ``file_stem`` and ``file_key`` of new items, in their order.

    The first item with a name gets it, in the plan's order and for ever; later ones get a hash beside it.
    """
    plain = [choose_stem(item) for item in new]
    hashed = [add_hash(stem, item.item_id) for stem, item in zip(plain, new, strict=True)]
    taken = _select_taken(connection, out_id, {to_stem_key(stem) for stem in (*plain, *hashed) if stem})
    columns = []
    for item, *stems in zip(new, plain, hashed, strict=True):
        stem = next(
            (each for each in stems if each and to_stem_key(each) not in taken),
            add_hash(stems[0], item.item_id, _LONG_HASH),
        )
        taken.add(to_stem_key(stem))
        columns.append({"file_stem": stem, "file_key": to_stem_key(stem)})
    return columns


def _select_taken(connection: Connection, out_id: str, keys: set[str]) -> set[str]:
    taken: set[str] = set()
    for chunk in split_values(sorted(keys)):
        statement = select(items.c.file_key).where(items.c.out_id == out_id, items.c.file_key.in_(chunk))
        taken.update(connection.execute(statement).scalars())
    return taken
