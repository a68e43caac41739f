"""Make a copy of an OUT an OUT of its own: it keeps the results, and the original keeps the bill."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Table, bindparam, insert, literal, select, update

from mediamill.tasks.journal.json_codec import dumps
from mediamill.tasks.journal.out_place import Place
from mediamill.tasks.journal.planning import BOUND_ITEM
from mediamill.tasks.journal.tables import items, outs, parts, shards

_BATCH_ROWS = 500


def make_own_identity(connection: Connection, out_id: str, original: Path, place: Place) -> str:
    """Give what the journal holds of ``out_id`` to a new OUT as well, in one transaction; the new OUT's id.

    The new OUT has the items with their results, which cost it nothing, and no attempts: those stay the original's. A
    source that lies in the original, as the manifest of a chain's step does, is now the one in the copy.
    """
    new_id = uuid.uuid4().hex
    root = str(connection.execute(select(outs.c.root).where(outs.c.out_id == out_id)).scalar_one())
    if Path(root).is_relative_to(original):
        root = str(Path(place.path) / Path(root).relative_to(original))
    _copy_rows(connection, outs, out_id, new_id, place=place.to_json(), root=root)
    _copy_rows(connection, items, out_id, new_id)
    _copy_rows(connection, shards, out_id, new_id, dirty=1)
    _copy_rows(connection, parts, out_id, new_id, kinds=("results", "failures"))
    for column in (items.c.result, items.c.failure):
        _make_free(connection, new_id, column)
    return new_id


def _copy_rows(
    connection: Connection, table: Table, out_id: str, new_id: str, *, kinds: Sequence[str] = (), **changed: Any
) -> None:
    values = {"out_id": new_id, **changed}
    columns = [literal(values[column.name]) if column.name in values else column for column in table.c]
    rows = select(*columns).where(table.c.out_id == out_id)
    if kinds:
        rows = rows.where(table.c.kind.in_(kinds))
    connection.execute(insert(table).from_select([column.name for column in table.c], rows))


def _make_free(connection: Connection, out_id: str, column: Any) -> None:
    """Set the cost of an OUT's rows to zero: another OUT has paid for them."""
    last = ""
    statement = update(items).where(*BOUND_ITEM).values({column.name: bindparam("b_payload")})
    while True:
        page = select(items.c.item_id, column).where(
            items.c.out_id == out_id, items.c.item_id > last, column.is_not(None)
        )
        rows = connection.execute(page.order_by(items.c.item_id).limit(_BATCH_ROWS)).all()
        if not rows:
            return
        last = rows[-1][0]
        changed = [{"b_out": out_id, "b_item": i, "b_payload": dumps(_to_free(orjson.loads(p)))} for i, p in rows]
        connection.execute(statement, changed)


def _to_free(row: dict[str, Any]) -> dict[str, Any]:
    free = {"cost_usd": "0", "cached": True, "cost_basis": "free"}
    return row | {name: value for name, value in free.items() if name in row}
