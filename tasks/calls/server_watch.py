"""Finds a built-in server that stands still, because it was stopped or waits for itself, and ends it.

Its connections break then, and all goes on as when it had died: another is started, and its requests are done again.
A server on a busy machine is slow, not still: its process gets on, however little.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

LOOK_SECONDS = 5.0
"""How often a server is looked at while requests wait for it, and how long a look waits for its answer."""
_MAX_UNANSWERED = 3
"""Looks in a row that stay without an answer, while the process does not get on, before it is ended."""


class WatchedServer(Protocol):
    """What is known of a server's process."""

    def read_processor_time(self) -> str | None:
        """How much of the processor it has had, as text that changes with it; None where nobody can tell."""

    def end_still(self) -> None:
        """End it, because it stands still."""


@dataclass(slots=True)
class _Origin:
    waiting: int = 0
    unanswered: int = 0
    processor_time: str | None = None
    task: asyncio.Task[None] | None = None


class ServerWatch:
    """Looks at the built-in servers for which requests wait. Used on one event loop.

    Args:
        look: asks the server at an origin how it is, for up to :data:`LOOK_SECONDS`; whether anything came back.
        find_server: its process; None where it has ended.
    """

    def __init__(
        self, look: Callable[[str], Awaitable[bool]], find_server: Callable[[str], WatchedServer | None]
    ) -> None:
        self._look = look
        self._find_server = find_server
        self._origins: dict[str, _Origin] = {}

    @contextmanager
    def wait_for(self, origin: str) -> Iterator[None]:
        """A request to the server at ``origin`` waits for its answer as long as the block lasts."""
        state = self._origins.setdefault(origin, _Origin())
        state.waiting += 1
        if state.task is None or state.task.done() or state.task.cancelling():
            state.task = asyncio.get_running_loop().create_task(self._watch(origin, state))
        try:
            yield
        finally:
            state.waiting -= 1
            if not state.waiting and not state.unanswered:
                state.task.cancel()

    async def _watch(self, origin: str, state: _Origin) -> None:
        while state.waiting:
            await asyncio.sleep(LOOK_SECONDS)
            if await self._look(origin):
                state.unanswered = 0
                continue
            server = self._find_server(origin)
            if server is None:
                break
            processor_time = server.read_processor_time()
            if processor_time is None or processor_time != state.processor_time:
                state.processor_time, state.unanswered = processor_time, 1
                continue
            state.unanswered += 1
            if state.unanswered >= _MAX_UNANSWERED:
                server.end_still()
                break
        self._origins.pop(origin, None)
