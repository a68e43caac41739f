"""A run that Python started: it works in a thread of its own, and can be waited for, iterated and stopped."""

from __future__ import annotations

import asyncio
import atexit
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Future
from html import escape
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from mediamill.tasks.errors import RunFailed, RunWarning
from mediamill.tasks.pipeline.result import ChainResult
from mediamill.tasks.python.html import format_running
from mediamill.tasks.python.out_folder import OutFolder
from mediamill.tasks.python.row_feed import RowFeed
from mediamill.tasks.python.run_end import find_trouble, get_state
from mediamill.tasks.python.work import Work
from mediamill.tasks.summary import Summary

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

EndT = TypeVar("EndT", bound=Summary | ChainResult)
T = TypeVar("T")

_STOPPING = "stopping; requests in flight may end, and what is paid is kept; Ctrl-C again leaves at once"
_OPEN: set[RunHandle[Any]] = set()
"""The runs that have not ended. The program's end waits for them."""


class RunHandle(OutFolder, Generic[EndT]):
    """A run, and the OUT it writes.

    ``summary``, ``results``, ``table``, ``failures`` and ``exit_code`` wait for the run's end. Iterating gives each row
    of the results once: those that OUT had before, then the others as their items end. A chain's rows come at its end.

    Ctrl-C while Python waits for the run lets the requests in flight end, keeps what they cost, and raises
    KeyboardInterrupt; so does cancelling a task that awaits the run. The same call goes on.

    In a ``with`` block the run is waited for at the end, and stopped where the block raises.

    Args:
        work: what it does; it begins at once.
        raise_on_failure: have waiting raise RunFailed where items failed or the run was stopped; else it warns.
        feeds_rows: whether rows are given while it runs.
    """

    def __init__(self, work: Work[EndT], *, raise_on_failure: bool = False, feeds_rows: bool = False) -> None:
        super().__init__(work.out)
        self._work = work
        self._raise_on_failure = raise_on_failure
        self._feed = RowFeed() if feeds_rows else None
        self._end: Future[EndT] = Future()
        self._end.set_running_or_notify_cancel()
        self._has_told = False
        _OPEN.add(self)
        threading.Thread(target=self._execute, name="mediamill-run", daemon=True).start()

    @property
    def summary(self) -> EndT:
        """How the run ended: what was done, failed and spent, and why it stopped.

        Raises:
            MediamillError: when the run could not start, or the disk or the journal failed.
        """
        return self._interruptible(self._end.result)

    @property
    def state(self) -> str:
        """``running``, or how it ended: done, failures, stopped, cancelled, nothing (to do), or error."""
        if not self._end.done():
            return "running"
        return "error" if self._end.exception() is not None else get_state(self._end.result())

    @property
    def exit_code(self) -> int:
        """What the command line would exit with: 0 all done, 3 with failures, 4 stopped."""
        return self.summary.exit_code

    @property
    def table(self) -> pa.Table:
        """The results as a pyarrow table, once the run has ended."""
        self._wait_for_tables()
        return super().table

    @property
    def failures(self) -> pd.DataFrame:
        """A row for each item of OUT that is failed, once the run has ended."""
        self._wait_for_tables()
        return super().failures

    def wait(self) -> Self:
        """Wait until the run has ended; the run itself.

        Raises:
            MediamillError: when the run could not start, or the disk or the journal failed.
            RunFailed: when items failed or it was stopped, and ``raise_on_failure`` asked for it.
        """
        self._report(self.summary)
        return self

    def stop(self) -> None:
        """Send nothing new and let requests in flight end; OUT is left as the same call goes on with it."""
        self._work.stop("stopped by the program")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Each row of the results, once."""
        if self._feed is None or self._end.done():
            self.wait()
            yield from super().__iter__()
            return
        rows = self._feed.iterate(self.out)
        while (row := self._interruptible(lambda: next(rows, None))) is not None:
            yield row
        self.wait()

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        """Each row of the results, once, while other tasks run."""
        if self._feed is None or self._end.done():
            await self
            for row in super().__iter__():
                yield row
            return
        rows = self._feed.iterate(self.out)
        while (row := await self._cancellable(asyncio.to_thread(next, rows, None))) is not None:
            yield row
        await self

    def __await__(self) -> Generator[Any, None, Self]:
        """Wait for the run's end while other tasks run; see :meth:`wait`."""
        return self._wait_async().__await__()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if kind is not None:
            self.stop()
            self._end.exception()
        else:
            self.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if kind is not None:
            self.stop()
            await asyncio.to_thread(self._end.exception)
        else:
            await self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.state}: {self.out}>"

    def _repr_html_(self) -> str:
        state = self.state
        if state == "running":
            return format_running(self.out)
        if state == "error":
            return f"<div><b>error</b>: {escape(str(self._end.exception()))}</div>"
        return self._format_html(state)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """A field of the summary, as ``run.done``: calls returned the summary itself before they returned this."""
            if not name.startswith("_") and name in (*Summary.__dataclass_fields__, *ChainResult.__dataclass_fields__):
                return getattr(self.summary, name)
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def _execute(self) -> None:
        try:
            self._end.set_result(self._work.execute(self._feed))
        except BaseException as error:  # noqa: BLE001 (raised where the run is waited for)
            self._end.set_exception(error)
        finally:
            if self._feed is not None:
                self._feed.end()
            _OPEN.discard(self)

    def _interruptible(self, wait: Callable[[], T]) -> T:
        """Wait for something of the run; at Ctrl-C stop the run and wait for its end first."""
        try:
            return wait()
        except KeyboardInterrupt:
            if not self._end.done():
                self._work.stop("stopped by Ctrl-C")
                warn_at_caller(_STOPPING)
                _OPEN.discard(self)  # at a second Ctrl-C the program ends without it
                self._end.exception()
            raise

    async def _cancellable(self, wait: Any) -> Any:
        """Await something of the run; where that is cancelled, stop the run and wait for its end first."""
        try:
            return await wait
        except asyncio.CancelledError:
            if not self._end.done():
                self._work.stop("stopped: the task that awaited it was cancelled")
                _OPEN.discard(self)
                await asyncio.wait([asyncio.wrap_future(self._end)])
            raise

    async def _wait_async(self) -> Self:
        end: EndT = await self._cancellable(asyncio.shield(asyncio.wrap_future(self._end)))
        self._report(end)
        return self

    def _wait_for_tables(self) -> None:
        """Wait for the run's end; what is amiss is told here where nobody has waited yet."""
        end = self.summary
        if not self._has_told:
            self._report(end)

    def _report(self, end: EndT) -> None:
        """Raise what is amiss, or warn of it once."""
        trouble, told = find_trouble(end), self._has_told
        self._has_told = True
        if trouble is None:
            return
        if self._raise_on_failure:
            raise RunFailed(trouble.message, hint=trouble.hint, run=self, exit_code=end.exit_code)
        if not told:
            warn_at_caller(f"{self.out}: {trouble.message}" + (f" ({trouble.hint})" if trouble.hint else ""))


def warn_at_caller(message: str) -> None:
    """Warn with a RunWarning at the line of the program that called, not at one of ours."""
    frame, level = sys._getframe(), 1  # noqa: SLF001 (as logging does it)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("mediamill."):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, RunWarning, stacklevel=level)


def _wait_at_exit() -> None:
    """Wait for the runs that have not ended; where the program ends by an error, stop them first."""
    for run in list(_OPEN):
        if getattr(sys, "last_value", None) is not None:
            run.stop()
        run._end.exception()  # noqa: SLF001 (of this module)


# Before Python ends its pools of threads, which a run needs; plain atexit comes after that.
getattr(threading, "_register_atexit", atexit.register)(_wait_at_exit)
