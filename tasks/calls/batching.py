"""Packing: Asks that may share a request wait a moment for each other."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from mediamill.tasks.domain import Answer, Ask
from mediamill.tasks.errors import CallFailed
from mediamill.tasks.wire import Batching, Wire

_MAX_LINGER_SECONDS = 1.0
"""Seconds after which a box no longer waits for what is coming."""


@dataclass(slots=True)
class PendingAsk:
    """An Ask this process has claimed and is about to send."""

    ask: Ask
    wire: Wire
    key: str


@dataclass(slots=True)
class _Batch:
    """What has gathered for one pack group."""

    entries: list[tuple[PendingAsk, asyncio.Future[Answer]]] = field(default_factory=list)
    weight: float = 0.0
    timer: asyncio.TimerHandle | None = None


class RequestBatcher:
    """Gathers Asks by pack group and hands each full or lingering box to ``send`` as one request.

    A box lingers on while Asks of its group are known to be coming, so that a slow journal or a busy machine makes
    no more requests than a quick one.

    Args:
        send: buys a batch; one Answer per Ask, in order.
        linger: seconds the first Ask of a box waits for company.
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
        """In this block an Ask is on its way that may :meth:`join` right after it, without a wait between."""
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
        """Share a request with others of the same group; the Ask's own Answer."""
        pack = pending.wire.batching
        if pack is None:
            return (await self._send([pending]))[0]
        batch = self._batches.get(pack.group)
        if batch is not None and batch.weight + pack.weight > pack.max_weight:
            self._close_batch(pack.group)
            batch = None
        if batch is None:
            batch = self._batches[pack.group] = _Batch()
            self._start_timer(pack.group, batch)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        batch.entries.append((pending, future))
        batch.weight += pack.weight
        if self._is_full(batch, pack):
            self._close_batch(pack.group)
        return await future

    @staticmethod
    def _is_full(batch: _Batch, pack: Batching) -> bool:
        return len(batch.entries) >= pack.max_asks or batch.weight >= pack.max_weight

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
        """A request that is refused for one Ask's sake is sent again in halves, until that one stands alone."""
        middle = len(entries) // 2
        await asyncio.gather(self._send_batch(entries[:middle]), self._send_batch(entries[middle:]))

    async def _send_batch(self, entries: list[tuple[PendingAsk, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._send([pending for pending, _ in entries])
        except BaseException as error:
            if isinstance(error, CallFailed) and not error.transient and len(entries) > 1:
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
