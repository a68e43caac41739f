"""What the death of the built-in server's process means for the requests that it had: they are sent again, for free.

A request whose item ends the process each time must not do so for ever. So a request that two processes died with is
sent while no other one is; when the process dies again, it is that request's doing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext

from mediamill.tasks.calls.server_watch import ServerWatch
from mediamill.tasks.calls.transport_errors import NotSent, TransportError
from mediamill.tasks.errors import BadReply
from mediamill.tasks.wire import Problem

SERVER_DIED = "server_died"
"""Kind of problem of a request whose server ended."""

OUTPUT_LOST = "output_lost"
"""Kind of error of a file that was lost with the server that had made it."""

_SUSPECT_DEATHS, _MAX_DEATHS = 2, 3
_MAX_DEATHS_IN_A_ROW = 10
"""Processes that die one after another, with no answer from any of them, before the run is stopped."""
_DEATH_KINDS = frozenset({"reset", "short_body", "protocol", "refused", "handshake"})


def build_output_lost_error() -> BadReply:
    """The error for a file that a built-in server made and took with it when it ended: only a new reply has one."""
    return BadReply(
        "the built-in server ended before its file was fetched, and the file with it",
        kind=OUTPUT_LOST,
        transient=True,
        hint="run again: it is made again, for free",
    )


class ServerDeaths:
    """Counts, for each request, the processes that died while they worked on it.

    Args:
        find_exit: how the process at an origin ended, in words; None while it runs.
        watch: ends processes that stand still; None where nobody does.
    """

    def __init__(self, find_exit: Callable[[str], Awaitable[str | None]], watch: ServerWatch | None = None) -> None:
        self._find_exit = find_exit
        self._watch = watch
        self._deaths: Counter[str] = Counter()
        self._dead_origins: list[str] = []
        self._changed = asyncio.Event()
        self._in_flight = 0
        self._suspects = 0  # that wait for their turn or have it

    @asynccontextmanager
    async def admit(self, key: str) -> AsyncIterator[None]:
        """Wait until the request may be sent: one that several processes died with goes alone."""
        is_suspect = self._deaths[key] >= _SUSPECT_DEATHS
        self._suspects += is_suspect
        try:
            while self._in_flight if is_suspect else self._suspects:
                self._changed.clear()
                await self._changed.wait()
            self._in_flight += 1
            try:
                yield
            finally:
                self._in_flight -= 1
        finally:
            self._suspects -= is_suspect
            self._changed.set()

    def wait_for(self, origin: str) -> AbstractContextManager[None]:
        """Have the server at ``origin`` watched while a request waits for it."""
        return nullcontext() if self._watch is None else self._watch.wait_for(origin)

    def record_answer(self, key: str) -> None:
        """A process lives and has answered this request."""
        self._deaths.pop(key, None)
        self._dead_origins.clear()

    async def explain_loss(self, origin: str, key: str, error: TransportError) -> Problem | None:
        """What it means that a request to ``origin`` was lost; None where its process still runs.

        Args:
            origin: where the request was sent.
            key: of the request, the same for each attempt.
            error: how it was lost.

        Returns:
            The problem: ``retry``, ``fail`` where this request ends each process, or ``stop`` where they all end.
        """
        if error.kind not in _DEATH_KINDS or (how := await self._find_exit(origin)) is None:
            return None
        if origin not in self._dead_origins:
            self._dead_origins.append(origin)
        if len(self._dead_origins) >= _MAX_DEATHS_IN_A_ROW:
            message = f"the built-in server ended {_MAX_DEATHS_IN_A_ROW} times without an answer, last: {how}"
            return Problem("stop", SERVER_DIED, message, hint="free some memory, then run again to go on")
        self._deaths[key] += not isinstance(error, NotSent)  # a process that had not received it died of others
        if self._deaths[key] < _MAX_DEATHS:
            return Problem("retry", SERVER_DIED, f"the built-in server ended: {how}", wait=0.0)
        del self._deaths[key]
        return Problem(
            "fail",
            SERVER_DIED,
            f"the built-in server ended {_MAX_DEATHS} times while it worked on this, last: {how}",
            hint="the item may need more memory than there is; another run tries it again",
        )
