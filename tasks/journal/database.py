"""The journal's database: opened, read, and written by one thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from mediamill.tasks.errors import UsageError
from mediamill.tasks.journal.blobs import BlobStore
from mediamill.tasks.journal.claim_owners import LEASE_SECONDS
from mediamill.tasks.journal.claims import renew
from mediamill.tasks.journal.db_errors import to_storage_error
from mediamill.tasks.journal.migrations import LATEST_VERSION, check_version, create_or_migrate, read_version
from mediamill.tasks.journal.read_only import create_read_only_engine, is_read_only
from mediamill.tasks.journal.turn import WritingTurn
from mediamill.tasks.journal.writer import Handler, JournalWriter
from mediamill.tasks.system.os_errors import build_storage_error
from mediamill.tasks.system.private_files import check_is_no_link, make_private_file, make_private_folder

T = TypeVar("T")

_BUSY_TIMEOUT_MS = 30_000
DATABASE_FILE = "journal.sqlite"
"""The name of the database in a journal's folder."""


class NoJournal(UsageError):
    """There is no journal, or only the file of one: the run that began it could not make its tables."""


def name_lock(out_id: str) -> str:
    """The name of the row that has the fencing token of an OUT's lock."""
    return f"out:{out_id}"


class JournalDatabase:
    """One database and its only writer; safe to use from any thread.

    Attributes:
        where: its path or URL, for messages.
        is_shared: whether it is kept elsewhere than in the OUT it was opened for.
        out_id: the OUT it was opened for, once that is known.
        run_id: the run that it writes for.
        worker: the number of this process among the run's workers; None where the run has no others.
        lease_name: the name of OUT's lock, once that is held.
        version: the version of its tables, which may be old in a journal that is only read.
    """

    def __init__(self, location: JournalLocation, version: int = LATEST_VERSION) -> None:
        self.version = version
        self._engine = location.engine
        self._readers = location.readers
        self._folder = location.folder
        self.where = location.where
        self.is_shared = location.is_shared
        self._writer = JournalWriter(location.engine, location.where)
        self._closed = False
        self.out_id = ""
        self.run_id = ""
        self.worker: int | None = None
        self.lease_name = ""

    @classmethod
    def open(cls, out: Path, url: str | None = None) -> Self:
        """Open the journal of OUT, or create it; an older one is migrated.

        Args:
            out: the folder of results; its ``.journal`` holds the database and the blobs.
            url: another folder, or ``postgresql://...``, to share the journal between OUTs.

        Raises:
            StorageError: when it cannot be opened or written, or was written by a newer program.
            UsageError: when ``url`` is neither, or PostgreSQL is named and its extra is not installed.
        """
        location = JournalLocation.from_url(out, url)
        with location.report_open_errors():
            location.make_folders(out)
            create_or_migrate(location.engine, location.where)
        return cls(location)

    @classmethod
    def open_existing(cls, out: Path, url: str | None = None) -> Self:
        """Open the journal of OUT as it is, to read it: it is neither created nor migrated.

        Raises:
            StorageError, UsageError: as :meth:`open` does; a UsageError also when there is none.
        """
        location = JournalLocation.from_url(out, url).to_readable()
        with location.report_open_errors():
            version = None
            if location.folder is not None:
                check_is_no_link(location.folder / DATABASE_FILE)
            if location.folder is None or (location.folder / DATABASE_FILE).exists():
                with location.readers.connect() as connection:
                    version = read_version(connection)
            if version is None:
                raise NoJournal(f"{location.where}: there is no journal", hint="was it moved or restored?")
            check_version(version, location.where)
        return cls(location, version)

    def keep_leases(self, run_id: str) -> None:
        """Write for ``run_id`` from now on, and keep the leases of its Asks from expiring."""
        self.run_id = run_id
        self._writer.repeat_every(LEASE_SECONDS / 4, renew, (self.out_id, run_id))

    def join_run(self, run_id: str, worker: int) -> None:
        """Write as a worker of a run that has begun in another process."""
        self.worker, self.lease_name = worker, name_lock(self.out_id)
        self.take_turns()
        self.keep_leases(run_id)

    def take_turns(self) -> None:
        """Take turns at writing from now on, because other processes of the run write all the time; a server does so.

        Raises:
            StorageError: when the file for it cannot be written.
        """
        if self._folder is not None:
            try:
                self._writer.turn = WritingTurn(self._folder)
            except OSError as error:
                raise build_storage_error(error, self._folder) from None

    async def write_batched(self, handler: Handler, parameter: Any) -> Any:
        """Do one operation, together with all that wait for the same handler; its result, once it is durable."""
        return await self._writer.submit(handler, parameter)

    async def write(self, operation: Callable[[Connection], T]) -> T:
        """Run an operation in the next transaction; its result, once that is durable."""
        result: T = await self._writer.submit(_SingleOperation(operation), None)
        return result

    def write_blocking(self, operation: Callable[[Connection], T]) -> T:
        """The same as :meth:`write`, blocking."""
        result: T = self._writer.submit_blocking(_SingleOperation(operation), None)
        return result

    async def read(self, operation: Callable[[Connection], T]) -> T:
        """Run an operation on a reader's connection, in a thread."""
        return await asyncio.to_thread(self.read_blocking, operation)

    def read_blocking(self, operation: Callable[[Connection], T]) -> T:
        """The same as :meth:`read`, blocking."""
        try:
            with self._readers.connect() as connection:
                return operation(connection)
        except Exception as error:  # noqa: BLE001 - raised again
            raise (to_storage_error(error, self.where) or error) from None

    def stream(self, statement: Any) -> Iterator[Any]:
        """The rows of a select, a few hundred at a time, so that memory stays flat."""
        try:
            with self._readers.connect() as connection:
                yield from connection.execution_options(stream_results=True, yield_per=200).execute(statement)
        except DBAPIError as error:
            raise (to_storage_error(error, self.where) or error) from None

    def close(self) -> None:
        """Write what waits and close the database. Closing twice is harmless."""
        if self._closed:
            return
        self._closed = True
        self._writer.close()
        if self._writer.turn is not None:
            self._writer.turn.close()
        self._readers.dispose()
        self._engine.dispose()


class _SingleOperation:
    """A handler for one operation alone, which shares its transaction with others but not its statements."""

    def __init__(self, operation: Callable[[Connection], Any]) -> None:
        self._operation = operation

    def __call__(self, connection: Connection, _: Sequence[Any]) -> Sequence[Any]:
        return [self._operation(connection)]


@dataclass(frozen=True, slots=True)
class JournalLocation:
    """Where a journal is kept: a folder on this machine, or a server."""

    engine: Engine
    readers: Engine
    where: str
    folder: Path | None = None
    is_shared: bool = True

    @classmethod
    def from_url(cls, out: Path, url: str | None) -> JournalLocation:
        """The journal of OUT, or the one that ``url`` names.

        Raises:
            UsageError: when ``url`` cannot be used.
        """
        if url is not None and "://" in url:
            engine, where = _create_postgresql_engine(url)
            return cls(engine, engine, where)
        folder = Path(url).expanduser().absolute() if url else out / ".journal"
        engine, readers = _create_sqlite_engines(folder / DATABASE_FILE)
        return cls(engine, readers, str(folder / DATABASE_FILE), folder, is_shared=url is not None)

    def to_readable(self) -> JournalLocation:
        """The same journal, to be read; also where nothing can be written beside it."""
        if self.folder is None or not (self.folder / DATABASE_FILE).exists() or not is_read_only(self.folder):
            return self
        with self.report_open_errors():
            readers = create_read_only_engine(self.folder / DATABASE_FILE, lambda path: _create_sqlite_engines(path)[1])
        event.listen(readers, "connect", _add_functions)
        return replace(self, readers=readers)

    def make_folders(self, out: Path) -> None:
        """Create what the journal is kept in, for its owner alone; a folder that exists keeps its permissions.

        The journal of OUT is private always. SQLite gives the files beside the database the permissions it has.
        """
        out.mkdir(parents=True, exist_ok=True)
        make_private_folder(out / ".journal")
        if self.folder is not None:
            if not self.folder.exists():
                self.folder.parent.mkdir(parents=True, exist_ok=True)
                make_private_folder(self.folder)
            for name in (DATABASE_FILE, f"{DATABASE_FILE}-wal", f"{DATABASE_FILE}-shm"):
                if name == DATABASE_FILE or (self.folder / name).exists():
                    make_private_file(self.folder / name)

    @property
    def blobs(self) -> BlobStore | None:
        """Where large replies are stored; None on a server, which stores them in its rows."""
        return None if self.folder is None else BlobStore(self.folder / "blobs")

    @contextmanager
    def report_open_errors(self) -> Iterator[None]:
        """When opening fails, close the database and raise the error as a StorageError that says what is wrong."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised again
            self.engine.dispose()
            self.readers.dispose()
            raise (to_storage_error(error, self.where) or error) from None


def _create_sqlite_engines(path: Path) -> tuple[Engine, Engine]:
    """An engine for the writer, which takes the write lock at once, and one for readers, which never take it."""
    engines = []
    for begin in ("BEGIN IMMEDIATE", "BEGIN"):
        engine = create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False})
        event.listen(engine, "connect", _set_pragmas)
        event.listen(engine, "begin", lambda connection, how=begin: connection.exec_driver_sql(how))
        engines.append(engine)
    return engines[0], engines[1]


def _set_pragmas(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions are begun here, not guessed by the driver
    _add_functions(connection, None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={_BUSY_TIMEOUT_MS}", "foreign_keys=OFF"):
        connection.execute(f"PRAGMA {pragma}")


def _add_functions(connection: Any, _: Any) -> None:
    connection.create_function("lower", 1, _to_lower_case, deterministic=True)  # SQLite's own knows ASCII alone


def _to_lower_case(value: Any) -> str | None:
    return None if value is None else str(value).lower()


def _create_postgresql_engine(url: str) -> tuple[Engine, str]:
    """The engine, and the database's address for messages: without user, password or options.

    Every reply is stored in its row, whatever its size: the machines that share the database share no folder.
    """
    hint = "give a folder or postgresql://user@host/database"
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        raise UsageError("the journal's address cannot be read", hint=hint) from None
    if address.drivername != "postgresql":
        raise UsageError(f"a journal cannot be kept at {address.drivername}://", hint=hint)
    try:
        import psycopg  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
    except ImportError:
        raise UsageError(
            "a journal on PostgreSQL needs the extra 'postgresql'", hint="uv sync --extra postgresql"
        ) from None
    engine = create_engine(address.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    return engine, f"postgresql://{address.host or 'localhost'}/{address.database or ''}"
