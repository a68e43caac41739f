"""One item's whole record, read from a journal of any version without changing it; for ``mediamill explain``."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Select, String, and_, cast, func, inspect, literal, or_, select

from mediamill.tasks.journal.blobs import BlobStore
from mediamill.tasks.journal.database import JournalDatabase
from mediamill.tasks.journal.json_codec import dumps, path_to_text, text_to_path
from mediamill.tasks.journal.sql_dialect import split_values
from mediamill.tasks.journal.tables import asks, attempts, items, migrations, outs, runs, shards

_MAX_MATCHES = 20
_MAX_COMPARED = 20_000
"""Items whose names are compared with a name that matches none."""
_MIN_SIMILARITY = 0.4
_LATER_COLUMNS = ("first_run", "preparation")
_MAX_INDEX = 2**62
_MAX_HEAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class ItemMatch:
    """An item that a name may mean."""

    item_id: str
    index: int
    source: str


@dataclass(frozen=True, slots=True)
class UnreadReply:
    """A reply that gave no answer: the beginning of its body, its size in bytes, and the file of a large one."""

    head: bytes
    size: int
    path: Path | None = None


class ItemHistory:
    """Reads what the journal has about single items of one OUT; ``blobs`` has large replies."""

    def __init__(self, journal: JournalDatabase, blobs: BlobStore | None) -> None:
        self._journal = journal
        self._blobs = blobs

    def find(self, name: str, path: str) -> list[ItemMatch]:
        """The items that a name means; the first way of reading it that finds any counts.

        Args:
            name: an id, a source, an index, the beginning of an id, a file's name, or a part of any of these or of
                the item's row.
            path: the name as an absolute path.
        """
        for condition in self._to_conditions(name, path):
            if matches := self._select_matches(condition, _MAX_MATCHES + 1):
                return matches
        return []

    def find_nearest(self, name: str, count: int) -> list[str]:
        """The ids that are most like a name."""
        candidates = self._select_matches(literal(value=True), _MAX_COMPARED)
        by_name = {m.item_id: m.item_id for m in candidates}
        by_name |= {m.source.rpartition("/")[2]: m.item_id for m in candidates}
        nearest = difflib.get_close_matches(name, by_name, n=count, cutoff=_MIN_SIMILARITY)
        return list(dict.fromkeys(by_name[each] for each in nearest)) or [m.item_id for m in candidates[:count]]

    def load_item(self, item_id: str) -> dict[str, Any]:
        """The item's row; columns that an older journal does not have are None."""
        condition = (items.c.out_id == self._journal.out_id, items.c.item_id == item_id)

        def load(connection: Connection) -> dict[str, Any]:
            known = {column["name"] for column in inspect(connection).get_columns(items.name)}
            columns = [column for column in items.c if column.name in known]
            return dict(connection.execute(select(*columns).where(*condition)).mappings().one())

        row = {**dict.fromkeys(_LATER_COLUMNS), **self._journal.read_blocking(load)}
        row["location"] = None if row["location"] is None else text_to_path(row["location"])
        for name in ("row", "params", "result", "failure", "preparation"):
            row[name] = None if row[name] is None else orjson.loads(row[name])
        return row

    def load_attempts(self, item_id: str) -> list[dict[str, Any]]:
        """Every attempt of the item in this OUT, in the order in which they were sent."""
        named = attempts.c.item_ids.contains(orjson.dumps(item_id).decode(), autoescape=True)
        found = self._select_attempts(attempts.c.out_id == self._journal.out_id, named)
        return [attempt for attempt in found if item_id in attempt["item_ids"]]

    def load_unread_replies(self, call_ids: Sequence[str]) -> dict[str, UnreadReply]:
        """The replies that were paid for, or may have been, and gave no answer; by the ids of attempts."""
        is_unread = or_(
            attempts.c.outcome == "unknown", and_(attempts.c.outcome == "replied", attempts.c.cost_basis.is_(None))
        )
        columns = (attempts.c.call_id, attempts.c.reply_body, attempts.c.reply_blob)
        found: dict[str, UnreadReply] = {}
        for chunk in split_values(call_ids):
            for row in self._read(select(*columns).where(attempts.c.call_id.in_(chunk), is_unread)):
                if (reply := self._to_unread_reply(row["reply_body"], row["reply_blob"])) is not None:
                    found[row["call_id"]] = reply
        return found

    def _to_unread_reply(self, body: bytes | None, blob: str | None) -> UnreadReply | None:
        if body is not None:
            return UnreadReply(bytes(body[:_MAX_HEAD_BYTES]), len(body))
        if blob is None or self._blobs is None:
            return None
        head = self._blobs.read_head(blob, _MAX_HEAD_BYTES)
        return None if head is None else UnreadReply(*head, self._blobs.path(blob))

    def load_asks(self, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The states of Asks by their keys, of whichever OUT they are."""
        columns = [column for column in asks.c if column is not asks.c.worker]  # which an older journal does not have
        found: dict[str, dict[str, Any]] = {}
        for chunk in split_values(keys):
            found.update({row["key"]: row for row in self._read(select(*columns).where(asks.c.key.in_(chunk)))})
        return found

    def load_calls(self, call_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Attempts by their call ids, of whichever OUT they are."""
        found: dict[str, dict[str, Any]] = {}
        for chunk in split_values(call_ids):
            found.update({row["call_id"]: row for row in self._select_attempts(attempts.c.call_id.in_(chunk))})
        return found

    def load_runs(self) -> list[dict[str, Any]]:
        """This OUT's runs, the newest last; ``summary`` is what each run printed."""
        statement = select(runs).where(runs.c.out_id == self._journal.out_id).order_by(runs.c.started_at)
        found = self._read(statement)
        return [{**row, "summary": orjson.loads(row["summary"]) if row["summary"] else {}} for row in found]

    def load_out_paths(self, out_ids: Sequence[str]) -> dict[str, str]:
        """Where other OUTs of the journal were when their last run began, by their ids."""
        found: dict[str, str] = {}
        for chunk in split_values(out_ids):
            statement = select(outs.c.out_id, outs.c.job).where(outs.c.out_id.in_(chunk))
            rows = self._read(statement)
            found.update({row["out_id"]: str(orjson.loads(row["job"]).get("out") or "") for row in rows})
        return found

    def is_dirty(self, shard: int) -> bool:
        """True while the shard's parts are not what the journal holds."""
        condition = (shards.c.out_id == self._journal.out_id, shards.c.shard == shard)
        return any(row["dirty"] for row in self._read(select(shards).where(*condition)))

    def find_row_position(self, item: Mapping[str, Any], kind: str) -> int:
        """The position from 0 of the item's row in its shard's part of this kind, results or failures."""
        has_row = items.c.state == "failed" if kind == "failures" else items.c.result.is_not(None)
        is_before = items.c.item_index < item["item_index"]
        condition = (items.c.out_id == self._journal.out_id, items.c.shard == item["shard"], has_row, is_before)
        rows = self._read(select(func.count().label("count")).where(*condition))
        return int(rows[0]["count"])

    def load_program(self) -> str:
        """Which programs wrote the journal before it kept what is prepared."""

        def load(connection: Connection) -> list[Any]:
            if migrations.name not in inspect(connection).get_table_names():
                return []
            return list(connection.execute(select(migrations.c.program).order_by(migrations.c.version)).scalars())

        programs = self._journal.read_blocking(load)
        return f"mediamill {programs[0]}" if programs else "a mediamill with journal version 1"

    def _to_conditions(self, name: str, path: str) -> list[ColumnElement[bool]]:
        stored_path, tail = path_to_text(path), name.rpartition("/")[2] or name
        conditions = [items.c.item_id == name, or_(items.c.source == name, items.c.location == stored_path)]
        starts_with = func.substr(items.c.item_id, 1, len(name)) == name
        digits = name.removeprefix("#")
        if digits.isascii() and digits.isdecimal() and str(int(digits)) == digits and int(digits) < _MAX_INDEX:
            has_index = items.c.item_index == int(digits)
            conditions.append(has_index if name.startswith("#") else or_(has_index, starts_with))
        text = name.lower()
        text_in_json = dumps(text).decode()[1:-1]
        parts = [(items.c.item_id, text), (items.c.source, text)]
        parts += [(items.c.row, text_in_json), (items.c.params, text_in_json)]
        return [
            *conditions,
            starts_with,
            or_(*(column.endswith(f"/{tail}", autoescape=True) for column in (items.c.source, items.c.location))),
            or_(*(func.lower(cast(column, String)).contains(part, autoescape=True) for column, part in parts)),
        ]

    def _select_matches(self, condition: ColumnElement[bool], limit: int) -> list[ItemMatch]:
        columns = (items.c.item_id, items.c.item_index, items.c.source)
        statement = select(*columns).where(items.c.out_id == self._journal.out_id, condition)
        statement = statement.order_by(items.c.item_index).limit(limit)
        rows = self._read(statement)
        return [ItemMatch(row["item_id"], row["item_index"], row["source"]) for row in rows]

    def _select_attempts(self, *conditions: ColumnElement[bool]) -> list[dict[str, Any]]:
        excluded = {"reply_body", "reply_blob", "reply_headers"}
        columns = [column for column in attempts.c if column.name not in excluded]
        statement = select(*columns).where(*conditions).order_by(attempts.c.started_at, attempts.c.call_id)
        found = self._read(statement)
        for row in found:
            row["item_ids"], row["request_keys"] = orjson.loads(row["item_ids"]), orjson.loads(row["request_keys"])
            row["usage"] = orjson.loads(row["usage"]) if row["usage"] else {}
        return found

    def _read(self, statement: Select[Any]) -> list[dict[str, Any]]:
        return self._journal.read_blocking(
            lambda connection: [dict(row) for row in connection.execute(statement).mappings()]
        )
