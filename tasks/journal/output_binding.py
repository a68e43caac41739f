"""OUT's binding: the source root, capability, provider, model and parameters it was made with."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, RowMapping, insert, select, update

from mediamill.tasks.errors import StorageError, UsageError
from mediamill.tasks.journal.blobs import sync_path
from mediamill.tasks.journal.database import JournalDatabase
from mediamill.tasks.journal.tables import items, outs, shards
from mediamill.tasks.private_files import open_private
from mediamill.tasks.renamed_options import get_renamed_params, to_new_names

_ID_FILE = "out_id"


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
        """Read the OUT's id, which is stored in its folder; False when it was never bound."""
        out_id = _read_out_id(out)
        self._journal.out_id = out_id or self._journal.out_id
        return out_id is not None

    async def bind(
        self, out: Path, binding: Binding, job: Mapping[str, Any], *, replace: bool, this_run_only: bool = False
    ) -> None:
        """Bind OUT, or check that it is bound to the same.

        Args:
            out: the folder of results.
            binding: what the run uses.
            job: the job as JSON, for ``retry``.
            replace: allow another provider, model and parameters; every item is then done again.
            this_run_only: allow them for this run alone; OUT's binding stays as it is.

        Raises:
            UsageError: naming what differs; also when OUT's results belong to another journal.
            StorageError: when OUT cannot be written.
        """
        self._journal.out_id = ensure_out_id(out)
        await self._journal.write(
            lambda connection: self._bind(connection, out, binding, job, replace=replace, this_run_only=this_run_only)
        )

    def _bind(
        self,
        connection: Connection,
        out: Path,
        binding: Binding,
        job: Mapping[str, Any],
        *,
        replace: bool,
        this_run_only: bool,
    ) -> None:
        values = {name: getattr(binding, name) for name in Binding.__slots__}
        values["job"] = orjson.dumps(job).decode()
        condition = outs.c.out_id == self._journal.out_id
        row = connection.execute(select(outs).where(condition)).mappings().first()
        if row is None:
            if any(out.glob("results/part-*.parquet")):  # a run would remove them as left by a crashed run
                raise UsageError(f"{out} was made with another journal", hint="name it with --journal")
            connection.execute(insert(outs).values(out_id=self._journal.out_id, **values))
            return
        different = [name for name in Binding.__slots__ if row[name] != values[name]]
        for name in ("root", "capability"):
            if name in different:
                what = "source" if name == "root" else name
                raise UsageError(
                    f"{out} holds the results of another {what} ({row[name]})", hint="choose another --out"
                )
        if different and this_run_only and not replace:
            return
        if different and not replace:
            was = {**row, "params": _to_shown_params(row["capability"], row["params"])}
            names = ", ".join(f"{name} was {was[name]}" for name in different)
            raise UsageError(f"{out}: {names}", hint="--replace does everything again, another --out keeps both")
        connection.execute(update(outs).where(condition).values(**values))
        if different:
            connection.execute(
                update(items)
                .where(items.c.out_id == self._journal.out_id)
                .values(state="pending", transient=0, result_fingerprint=None)  # a failure now replaces the result
            )

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

    async def freeze_schemas(self, schema: bytes, row_schema: bytes) -> None:
        """Store the schemas for all later parts. Every shard becomes dirty, so that its parts are written with them."""

        def store_schemas(connection: Connection) -> None:
            out_id = self._journal.out_id
            connection.execute(update(outs).where(outs.c.out_id == out_id).values(schema=schema, row_schema=row_schema))
            connection.execute(update(shards).where(shards.c.out_id == out_id).values(dirty=1))

        await self._journal.write(store_schemas)

    def _load_row(self) -> RowMapping | None:
        statement = select(outs).where(outs.c.out_id == self._journal.out_id)
        return self._journal.read_blocking(lambda connection: connection.execute(statement).mappings().first())


def ensure_out_id(out: Path) -> str:
    """The OUT's id, stored in its folder for good; a new one where there is none.

    Raises:
        StorageError: when it cannot be written.
    """
    id_path, out_id = out / ".journal" / _ID_FILE, _read_out_id(out)
    if out_id is not None:
        return out_id
    out_id, temporary = uuid.uuid4().hex, id_path.with_name(f".{_ID_FILE}.new")
    try:
        with open(temporary, "w", encoding="ascii", opener=open_private) as file:
            file.write(out_id)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(id_path)
        sync_path(id_path.parent)
    except OSError as error:
        raise StorageError(f"{id_path}: {error.strerror or error}", hint="choose another --out") from None
    return out_id


def _read_out_id(out: Path) -> str | None:
    try:
        return (out / ".journal" / _ID_FILE).read_text(encoding="ascii").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StorageError(f"{out / '.journal' / _ID_FILE}: {error}", hint="restore it from a copy") from None


def _to_shown_params(capability: str, params: str) -> str:
    """Stored parameters, as JSON, under the names that the options have now."""
    return orjson.dumps(to_new_names(orjson.loads(params), get_renamed_params(capability))).decode()
