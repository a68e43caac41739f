"""Packing: Asks that may share a request wait a moment for each other."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from mediamill.tasks.domain import Answer, Ask
from mediamill.tasks.errors import CallFailed
from mediamill.tasks.wire import Pack, Wire

_LONGEST = 1.0
"""Seconds after which a box no longer waits for what is coming."""


@dataclass(slots=True)
class Pending:
    """An Ask this process has claimed and is about to send."""

    ask: Ask
    wire: Wire
    key: str


@dataclass(slots=True)
class _Box:
    """What has gathered for one pack group."""

    asks: list[tuple[Pending, asyncio.Future[Answer]]] = field(default_factory=list)
    weight: float = 0.0
    timer: asyncio.TimerHandle | None = None


class Packer:
    """Gathers Asks by pack group and hands each full or lingering box to ``send`` as one request.

    A box lingers on while Asks of its group are known to be coming, so that a slow journal or a busy machine makes
    no more requests than a quick one.

    Args:
        send: buys a batch; one Answer per Ask, in order.
        linger: seconds the first Ask of a box waits for company.
    """

    def __init__(self, send: Callable[[Sequence[Pending]], Awaitable[Sequence[Answer]]], linger: float = 0.02) -> None:
        self._send = send
        self._linger = linger
        self._boxes: dict[str, _Box] = {}
        self._coming: Counter[str] = Counter()
        self._sending: set[asyncio.Task[None]] = set()

    @contextmanager
    def coming(self, wire: Wire) -> Iterator[None]:
        """In this block an Ask is on its way that may :meth:`join` right after it, without a wait between."""
        group = wire.pack.group if wire.pack else None
        if group is None:
            yield
            return
        self._coming[group] += 1
        try:
            yield
        finally:
            self._coming[group] -= 1
            if not self._coming[group]:
                del self._coming[group]

    async def join(self, pending: Pending) -> Answer:
        """Share a request with others of the same group; the Ask's own Answer."""
        pack = pending.wire.pack
        if pack is None:
            return (await self._send([pending]))[0]
        box = self._boxes.get(pack.group)
        if box is not None and box.weight + pack.weight > pack.max_weight:
            self._close(pack.group)
            box = None
        if box is None:
            box = self._boxes[pack.group] = _Box()
            self._let_linger(pack.group, box)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        box.asks.append((pending, future))
        box.weight += pack.weight
        if self._full(box, pack):
            self._close(pack.group)
        return await future

    @staticmethod
    def _full(box: _Box, pack: Pack) -> bool:
        return len(box.asks) >= pack.max_asks or box.weight >= pack.max_weight

    def _let_linger(self, group: str, box: _Box) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + _LONGEST

        def look() -> None:
            if self._coming[group] and loop.time() < until:
                box.timer = loop.call_later(self._linger, look)
            else:
                self._close(group)

        box.timer = loop.call_later(self._linger, look)

    def _close(self, group: str) -> None:
        box = self._boxes.pop(group, None)
        if box is None:
            return
        if box.timer is not None:
            box.timer.cancel()
        task = asyncio.get_running_loop().create_task(self._deliver(box.asks))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _halves(self, asks: list[tuple[Pending, asyncio.Future[Answer]]]) -> None:
        """A request that is refused for one Ask's sake is sent again in halves, until that one stands alone."""
        middle = len(asks) // 2
        await asyncio.gather(self._deliver(asks[:middle]), self._deliver(asks[middle:]))

    async def _deliver(self, asks: list[tuple[Pending, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._send([pending for pending, _ in asks])
        except BaseException as error:
            if isinstance(error, CallFailed) and not error.transient and len(asks) > 1:
                await self._halves(asks)
                return
            for _, future in asks:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for (_, future), answer in zip(asks, answers, strict=True):
            if not future.done():
                future.set_result(answer)
