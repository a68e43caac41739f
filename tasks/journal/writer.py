"""The only writer: a thread that runs all waiting operations in one transaction (group commit)."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from typing import Any, TypeAlias

from sqlalchemy import Connection, Engine

from mediamill.tasks import fault_injection, run_log
from mediamill.tasks.errors import StorageError
from mediamill.tasks.journal.db_errors import is_locked, is_retryable, to_storage_error
from mediamill.tasks.journal.turn import WritingTurn
from mediamill.tasks.run_log import RUN_LOGGER

Handler: TypeAlias = Callable[[Connection, Sequence[Any]], Sequence[Any]]
"""Does all waiting operations of its kind at once: takes their parameters, returns one result each, in order."""

_MAX_TRIES = 5
"""Also for SQLite's write lock, which a process holds that is stopped within a transaction; each try waits 30 s."""
_LOCKED_MESSAGE = "another process keeps the journal locked; it is waited for"


class _Operation:
    __slots__ = ("error", "future", "handler", "loop", "parameter", "result")

    def __init__(self, handler: Handler, parameter: Any, loop: asyncio.AbstractEventLoop | None, future: Any) -> None:
        self.handler = handler
        self.parameter = parameter
        self.loop = loop
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None

    def resolve(self) -> None:
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class JournalWriter:
    """Queues operations from any thread or loop; each resolves once its transaction is durable.

    Waiting operations with the same handler are passed to it together, so that a thousand small records cost a few
    statements. Within a batch, handlers may run in any order: an operation that depends on another must await it
    first. ``turn`` is taken for each transaction, where several processes of a run write.
    """

    def __init__(self, engine: Engine, where: str) -> None:
        self._engine = engine
        self._where = where
        self._waiting: list[_Operation] = []
        self._changed = threading.Condition()
        self._closing = False
        self._periodic: tuple[float, Handler, Any] | None = None
        self._due = float("inf")
        self.turn: WritingTurn | None = None
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    async def submit(self, handler: Handler, parameter: Any) -> Any:
        """Do one operation by its handler; its result, once it is durable."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._queue_operation(_Operation(handler, parameter, loop, future))
        return await future

    def submit_blocking(self, handler: Handler, parameter: Any) -> Any:
        """The same as :meth:`submit`, blocking, for code without an event loop."""
        future: Future[Any] = Future()
        self._queue_operation(_Operation(handler, parameter, None, future))
        return future.result()

    def repeat_every(self, seconds: float, handler: Handler, parameter: Any) -> None:
        """Repeat an operation, in the transactions of others. Its errors are dropped: other operations show them."""
        with self._changed:
            self._periodic = (seconds, handler, parameter)
            self._due = time.monotonic() + seconds
            self._changed.notify()

    def close(self) -> None:
        """Run all waiting operations, then end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _queue_operation(self, operation: _Operation) -> None:
        with self._changed:
            if self._closing:
                raise StorageError(f"{self._where}: the journal is closed")
            self._waiting.append(operation)
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closing and time.monotonic() < self._due:
                    self._changed.wait(None if self._periodic is None else max(self._due - time.monotonic(), 0))
                batch, self._waiting = self._waiting, []
                if not batch and self._closing:
                    return
                if self._periodic is not None and time.monotonic() >= self._due:
                    seconds, handler, parameter = self._periodic
                    self._due = time.monotonic() + seconds
                    batch.append(_Operation(handler, parameter, None, Future()))
            self._transact(batch)
            _resolve(batch)

    def _transact(self, batch: list[_Operation], tries: int = 1) -> None:
        """Run a batch in one transaction; when that fails, one for each operation, so that a bad one fails alone."""
        try:
            self._commit(batch)
        except Exception as error:  # noqa: BLE001 - the thread must outlive any operation
            storage_failure = to_storage_error(error, self._where)
            if storage_failure is None and len(batch) > 1:
                for operation in batch:
                    self._transact([operation])
                return
            is_waiting = is_locked(error) and not self._closing
            if is_waiting and tries == 1:
                run_log.write_record(RUN_LOGGER, logging.WARNING, "journal_locked", _LOCKED_MESSAGE, path=self._where)
            if (is_waiting or is_retryable(error)) and tries < _MAX_TRIES:
                self._transact(batch, tries + 1)
                return
            _set_error(batch, storage_failure or error)
            return
        try:
            fault_injection.failpoint("journal.commit.after")
        except Exception as error:  # noqa: BLE001 - what is committed is never done again
            _set_error(batch, to_storage_error(error, self._where) or error)

    def _commit(self, batch: list[_Operation]) -> None:
        by_handler: dict[Handler, list[_Operation]] = {}
        for operation in batch:
            by_handler.setdefault(operation.handler, []).append(operation)
        with self.turn.take() if self.turn else nullcontext(), self._engine.connect() as connection:
            for handler, operations in by_handler.items():
                results = handler(connection, [o.parameter for o in operations])
                for operation, result in zip(operations, results, strict=True):
                    operation.result = result
            fault_injection.failpoint("journal.commit.before")
            connection.commit()


def _set_error(batch: list[_Operation], error: BaseException) -> None:
    for operation in batch:
        operation.error = error


def _resolve(batch: list[_Operation]) -> None:
    """Resolve operations; each event loop is woken once, whatever the number of its operations."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Operation]] = {}
    for operation in batch:
        if operation.loop is None:
            operation.resolve()
        else:
            by_loop.setdefault(operation.loop, []).append(operation)
    for loop, operations in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve_all, operations)
        except RuntimeError:
            continue  # the loop ended while its operations were written; nobody waits any more


def _resolve_all(operations: list[_Operation]) -> None:
    for operation in operations:
        operation.resolve()
