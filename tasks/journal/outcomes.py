"""How items end: a result or a failure, written for all that wait at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, null, update

from mediamill.tasks.journal.tables import items, shards


def succeed(connection: Connection, told: Sequence[dict[str, Any]]) -> Sequence[None]:
    """Results; their shards' parts are to be written again."""
    connection.execute(_SUCCEED, told)
    return _dirty(connection, told)


def fail(connection: Connection, told: Sequence[dict[str, Any]]) -> Sequence[None]:
    """Failures; a result for unchanged input stands, and the kind tells how the attempt to replace it ended."""
    connection.execute(_FAIL, told)
    return _dirty(connection, told)


def _dirty(connection: Connection, told: Sequence[dict[str, Any]]) -> Sequence[None]:
    touched = {(t["b_out"], t["b_shard"]) for t in told}
    connection.execute(_DIRTY, [{"b_out": out, "b_shard": shard} for out, shard in touched])
    return [None] * len(told)


_MINE = (items.c.out_id == bindparam("b_out"), items.c.item_id == bindparam("b_item"))
_SUCCEED = (
    update(items)
    .where(*_MINE)
    .values(
        state="done",
        error_kind=null(),
        transient=0,
        result=bindparam("b_payload"),
        result_fingerprint=items.c.fingerprint,
        failure=null(),
    )
)
_STANDS = and_(items.c.result.is_not(None), items.c.result_fingerprint == items.c.fingerprint)
_FAIL = (
    update(items)
    .where(*_MINE)
    .values(
        state=case((_STANDS, "done"), else_="failed"),
        error_kind=bindparam("error_kind"),
        transient=case((_STANDS, 0), else_=bindparam("transient")),
        result=case((_STANDS, items.c.result), else_=null()),
        failure=case((_STANDS, null()), else_=bindparam("b_payload")),
    )
)
_DIRTY = (
    update(shards).where(shards.c.out_id == bindparam("b_out"), shards.c.shard == bindparam("b_shard")).values(dirty=1)
)
