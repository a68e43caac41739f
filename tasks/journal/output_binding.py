"""OUT's binding: the source root, capability, provider, model and parameters it was made with."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, RowMapping, Update, and_, insert, select, update

from mediamill.tasks.errors import UsageError
from mediamill.tasks.journal.database import JournalDatabase
from mediamill.tasks.journal.out_copy import make_own_identity
from mediamill.tasks.journal.out_place import Place, PlaceChange, ensure_out_id, read_out_id, write_out_id
from mediamill.tasks.journal.planning import OUTDATED
from mediamill.tasks.journal.tables import items, outs, shards
from mediamill.tasks.renamed_options import get_renamed_params, to_new_names

_COLUMNS_SINCE = {"place": 4, "formats": 5}
"""The journal's version that first has a column."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What OUT is bound to. ``replace`` may change all but the source's root and the capability."""

    root: str
    capability: str
    provider: str
    model: str
    params: str

    @classmethod
    def from_values(cls, root: str, capability: str, provider: str, model: str, params: Mapping[str, Any]) -> Binding:
        """A binding whose parameters are JSON with sorted keys."""
        return cls(root, capability, provider, model, orjson.dumps(params, option=orjson.OPT_SORT_KEYS).decode())


class Output:
    """The OUT for which the journal was opened: its id, binding, last job and schemas."""

    def __init__(self, journal: JournalDatabase) -> None:
        self._journal = journal

    def load_id(self, out: Path) -> bool:
        """Find the OUT's id; False when it was never bound.

        It is stored in its folder. Where that file is lost, it is that of the OUT which the journal has at this place,
        or of the only one in OUT's own journal; the next run stores it again.
        """
        out_id = read_out_id(out) or self._journal.read_blocking(lambda connection: self._find_lost_id(connection, out))
        self._journal.out_id = out_id or self._journal.out_id
        return out_id is not None

    def _find_lost_id(self, connection: Connection, out: Path) -> str | None:
        rows = connection.execute(select(*self._list_columns())).mappings().all()
        places = {str(row["out_id"]): _load_place(row, out) for row in rows}
        here = [out_id for out_id, place in places.items() if place.is_at(out)]
        if len(here) != 1 and len(places) == 1 and not self._journal.is_shared:
            here = list(places)
        return here[0] if len(here) == 1 else None

    def find_place_change(self, out: Path) -> PlaceChange:
        """Whether OUT is where it last was, was moved, is a copy of another OUT, or whether that is unclear."""
        row = self._load_row()
        if row is None:
            return "same"
        return _load_place(row, out).find_change(out, self._journal.out_id, is_shared=self._journal.is_shared)

    def load_place(self) -> str | None:
        """The path at which OUT last worked; None when it was never bound."""
        row = self._load_row()
        return None if row is None else _load_place(row, Path()).path

    async def become_own(self, out: Path) -> None:
        """Make a copy of another OUT an OUT of its own: its results stay and cost nothing, its attempts are none.

        Raises:
            StorageError: when OUT or the journal cannot be written; it is then still a copy.
        """
        place, old_id, original = Place.of_folder(out), self._journal.out_id, Path(self.load_place() or out)
        new_id = await self._journal.write(lambda connection: make_own_identity(connection, old_id, original, place))
        write_out_id(out, new_id)
        self._journal.out_id = new_id

    async def bind(
        self,
        out: Path,
        binding: Binding,
        job: Mapping[str, Any],
        *,
        select_sent: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
        replace: bool = False,
        this_run_only: bool = False,
        moved: bool = False,
    ) -> None:
        """Bind OUT, or check that it is bound to the same; where it is now is recorded.

        Args:
            out: the folder of results.
            binding: what the run uses.
            job: the job as JSON, for ``retry``.
            select_sent: what decides requests of parameters as they are stored. Where that is the same, others bind
                OUT anew, and its rows are made again with the replies that the journal has.
            replace: allow another provider, model and parameters; every item is then done again.
            this_run_only: allow them for this run alone; OUT's binding stays as it is.
            moved: the source is the same, at another place.

        Raises:
            UsageError: naming what differs; also when OUT's results belong to another journal.
            StorageError: when OUT cannot be written.
        """
        self._journal.out_id = ensure_out_id(out, self._journal.out_id)
        place = Place.of_folder(out)

        def bind_out(connection: Connection) -> None:
            condition = outs.c.out_id == self._journal.out_id
            row = connection.execute(select(outs).where(condition)).mappings().first()
            values = {name: getattr(binding, name) for name in Binding.__slots__}
            values |= {"job": orjson.dumps(job).decode(), "place": place.to_json()}
            if row is None:
                if any(out.glob("results/part-*.parquet")):  # a run would remove them as left by a crashed run
                    raise UsageError(f"{out} was made with another journal", hint="name it with --journal")
                connection.execute(insert(outs).values(out_id=self._journal.out_id, **values))
                return
            is_moved = moved or _is_below_moved_out(row, binding.root, out)
            _check_source(row, binding, out, job, is_moved=is_moved)
            different = [name for name in ("provider", "model", "params") if row[name] != values[name]]
            if different and this_run_only and not replace:
                connection.execute(update(outs).where(condition).values(place=values["place"]))
                return
            has_same_requests = different == ["params"] and (
                select_sent(orjson.loads(row["params"])) == select_sent(orjson.loads(binding.params))
            )
            if different and not replace and not has_same_requests:
                was = {**row, "params": _to_shown_params(row["capability"], row["params"])}
                names = ", ".join(f"{name} was {was[name]}" for name in different)
                raise UsageError(f"{out}: {names}", hint="--replace does everything again, another --out keeps both")
            connection.execute(update(outs).where(condition).values(**values))
            if different:
                make_pending = _make_rows_again if has_same_requests else _make_all_pending
                connection.execute(make_pending(self._journal.out_id))

        await self._journal.write(bind_out)

    def load_job(self) -> dict[str, Any] | None:
        """The job of OUT's last run; None when OUT was never bound."""
        row = self._load_row()
        return None if row is None else dict(orjson.loads(row["job"]))

    def load_binding(self) -> Binding | None:
        """What OUT is bound to; None when it was never bound."""
        row = self._load_row()
        return None if row is None else Binding(**{name: row[name] for name in Binding.__slots__})

    def load_schemas(self) -> tuple[bytes, bytes] | None:
        """The frozen Arrow schemas (IPC) of results and of the manifest's rows; None before the first part."""
        row = self._load_row()
        return None if row is None or row["schema"] is None else (row["schema"], row["row_schema"])

    async def freeze_schemas(self, schema: bytes, row_schema: bytes, *, rewrite_parts: bool = True) -> None:
        """Store the schemas for all later parts. Every shard becomes dirty, so that its parts are written with them.

        Args:
            schema: of results.
            row_schema: of the manifest's rows.
            rewrite_parts: False where the columns are those that the parts have.
        """

        def store_schemas(connection: Connection) -> None:
            out_id = self._journal.out_id
            connection.execute(update(outs).where(outs.c.out_id == out_id).values(schema=schema, row_schema=row_schema))
            if rewrite_parts:
                connection.execute(update(shards).where(shards.c.out_id == out_id).values(dirty=1))

        await self._journal.write(store_schemas)

    def load_formats(self) -> list[str]:
        """The formats of OUT's subtitles: those that any of its runs named."""
        row = self._load_row()
        return [] if row is None else _load_formats(row)

    async def store_formats(self, formats: Sequence[str]) -> None:
        """Store the formats of OUT's subtitles. Every shard becomes dirty where they change: rows name their files."""
        stored = orjson.dumps(list(formats)).decode()

        def store(connection: Connection) -> None:
            condition = outs.c.out_id == self._journal.out_id
            if connection.execute(select(outs.c.formats).where(condition)).scalar() != stored:
                connection.execute(update(outs).where(condition).values(formats=stored))
                connection.execute(update(shards).where(shards.c.out_id == self._journal.out_id).values(dirty=1))

        await self._journal.write(store)

    def _load_row(self) -> RowMapping | None:
        statement = select(*self._list_columns()).where(outs.c.out_id == self._journal.out_id)
        return self._journal.read_blocking(lambda connection: connection.execute(statement).mappings().first())

    def _list_columns(self) -> list[ColumnElement[Any]]:
        return [column for column in outs.c if _COLUMNS_SINCE.get(column.name, 0) <= self._journal.version]


def _load_formats(row: RowMapping) -> list[str]:
    """The formats of OUT's subtitles; of an OUT from before they were recorded, those that its last job names."""
    stored = row.get("formats")
    return list(orjson.loads(stored) if stored else orjson.loads(row["job"]).get("subtitles") or [])


def _load_place(row: RowMapping, out: Path) -> Place:
    """Where OUT last worked; of an OUT from before that was recorded, what its job names."""
    if row.get("place"):
        return Place.from_json(row["place"])
    return Place(str(orjson.loads(row["job"]).get("out") or out))


def _is_below_moved_out(row: RowMapping, root: str, out: Path) -> bool:
    """Whether the source lies in OUT, as the manifest of a chain's step does, and was moved together with it."""
    before = Path(_load_place(row, out).path)
    was, now = Path(row["root"]), Path(root)
    return was.is_relative_to(before) and now.is_relative_to(out) and was.relative_to(before) == now.relative_to(out)


def _check_source(row: RowMapping, binding: Binding, out: Path, job: Mapping[str, Any], *, is_moved: bool) -> None:
    """Refuse another capability, and another source unless it was moved.

    Raises:
        UsageError: naming what differs, and the command that goes on with a moved source.
    """
    if row["capability"] != binding.capability:
        raise UsageError(
            f"{out} holds the results of another capability ({row['capability']})", hint="choose another --out"
        )
    if row["root"] != binding.root and not is_moved:
        words = ("mediamill", binding.capability, str(job.get("source", binding.root)), "--out", str(out), "--moved")
        raise UsageError(
            f"{out} holds the results of another source ({row['root']})",
            hint=f"choose another --out; where that source was moved, add --moved: {shlex.join(words)}",
        )


def _make_all_pending(out_id: str) -> Update:
    """Have every item of an OUT done again; a failure then replaces its result."""
    new_values = {"state": "pending", "transient": 0, "result_fingerprint": None}
    return update(items).where(items.c.out_id == out_id).values(**new_values)


def _make_rows_again(out_id: str) -> Update:
    """Have every row of an OUT made again with its replies in the journal, or stay."""
    condition = and_(items.c.out_id == out_id, items.c.state == "done")
    return update(items).where(condition).values(state="pending", error_kind=OUTDATED)


def _to_shown_params(capability: str, params: str) -> str:
    """Stored parameters, as JSON, under the names that the options have now."""
    return orjson.dumps(to_new_names(orjson.loads(params), get_renamed_params(capability))).decode()
