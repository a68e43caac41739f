"""Batching: Asks that may share a request wait a moment for each other."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from mediamill.tasks.calls.failure_streak import PROVIDER_KINDS
from mediamill.tasks.domain import Answer, Ask
from mediamill.tasks.errors import CallFailed
from mediamill.tasks.system.os_errors import OPEN_FILES_KIND
from mediamill.tasks.wire import Batching, Wire

_MAX_LINGER_SECONDS = 1.0
"""Seconds after which a batch no longer waits for announced Asks."""
_NOT_BY_AN_ASK = PROVIDER_KINDS | {"rate_limit", OPEN_FILES_KIND}


@dataclass(slots=True)
class PendingAsk:
    """An Ask that this process has claimed and is about to send."""

    ask: Ask
    wire: Wire
    key: str


@dataclass(slots=True)
class _Batch:
    """The Asks of one group that have come so far."""

    entries: list[tuple[PendingAsk, asyncio.Future[Answer]]] = field(default_factory=list)
    weight: float = 0.0
    timer: asyncio.TimerHandle | None = None


class RequestBatcher:
    """Gathers Asks by group and sends each batch as one request, once it is full or has lingered long enough.

    A batch lingers on while Asks of its group are announced, so that a slow journal or a busy machine makes no more
    requests than a quick one.

    Args:
        send: sends a batch as one paid request; one Answer per Ask, in order.
        linger: seconds for which the first Ask of a batch waits for others.
    """

    def __init__(
        self, send: Callable[[Sequence[PendingAsk]], Awaitable[Sequence[Answer]]], linger: float = 0.02
    ) -> None:
        self._send = send
        self._linger = linger
        self._batches: dict[str, _Batch] = {}
        self._announced: Counter[str] = Counter()
        self._sending: set[asyncio.Task[None]] = set()

    @contextmanager
    def announce(self, wire: Wire) -> Iterator[None]:
        """Announce an Ask: it is on its way in this block, and may :meth:`submit` right after it without a wait."""
        group = wire.batching.group if wire.batching else None
        if group is None:
            yield
            return
        self._announced[group] += 1
        try:
            yield
        finally:
            self._announced[group] -= 1
            if not self._announced[group]:
                del self._announced[group]

    async def submit(self, pending: PendingAsk) -> Answer:
        """Send the Ask in one request with others of its group; returns the Ask's own Answer."""
        batching = pending.wire.batching
        if batching is None:
            return (await self._send([pending]))[0]
        batch = self._batches.get(batching.group)
        if batch is not None and batch.weight + batching.weight > batching.max_weight:
            self._close_batch(batching.group)
            batch = None
        if batch is None:
            batch = self._batches[batching.group] = _Batch()
            self._start_timer(batching.group, batch)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        batch.entries.append((pending, future))
        batch.weight += batching.weight
        if self._is_full(batch, batching):
            self._close_batch(batching.group)
        return await future

    @staticmethod
    def _is_full(batch: _Batch, batching: Batching) -> bool:
        return len(batch.entries) >= batching.max_asks or batch.weight >= batching.max_weight

    def _start_timer(self, group: str, batch: _Batch) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + _MAX_LINGER_SECONDS

        def send_or_wait() -> None:
            if self._announced[group] and loop.time() < until:
                batch.timer = loop.call_later(self._linger, send_or_wait)
            else:
                self._close_batch(group)

        batch.timer = loop.call_later(self._linger, send_or_wait)

    def _close_batch(self, group: str) -> None:
        batch = self._batches.pop(group, None)
        if batch is None:
            return
        if batch.timer is not None:
            batch.timer.cancel()
        task = asyncio.get_running_loop().create_task(self._send_batch(batch.entries))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send_halves(self, entries: list[tuple[PendingAsk, asyncio.Future[Answer]]]) -> None:
        """Send a request that may have failed because of one Ask again in halves, until that Ask is alone."""
        middle = len(entries) // 2
        await asyncio.gather(self._send_batch(entries[:middle]), self._send_batch(entries[middle:]))

    async def _send_batch(self, entries: list[tuple[PendingAsk, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._send([pending for pending, _ in entries])
        except BaseException as error:
            if isinstance(error, CallFailed) and error.kind not in _NOT_BY_AN_ASK and len(entries) > 1:
                await self._send_halves(entries)
                return
            for _, future in entries:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for (_, future), answer in zip(entries, answers, strict=True):
            if not future.done():
                future.set_result(answer)
