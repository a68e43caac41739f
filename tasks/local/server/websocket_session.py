"""Sockets: the handshake, the bill and the faults that every conversation shares."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import WSCloseCode, WSMsgType, web

from mediamill.tasks.local.faults.fault_replies import cut_off
from mediamill.tasks.local.faults.fault_rules import UNCOMPUTED, Facts, Fault, pick
from mediamill.tasks.local.server.api_error import Refusal
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.server_state import (
    Desk,
    Exchange,
    bearer,
    check_key,
    fail_at_random,
    faulted,
    refused,
    reply_headers,
)

SWITCHED = 101
MOST_MESSAGE = 4 * 2**20
_LOOK = 0.2


class HungUp(Exception):
    """The conversation is over, from whichever side."""


@dataclass(slots=True)
class Session:
    """A conversation. Each commit is a call of its own on the bill, the first one begun with the handshake."""

    desk: Desk
    exchange: Exchange
    socket: web.WebSocketResponse
    fault: Fault | None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    settled: bool = False
    mute: bool = False
    _items: int = 0

    @property
    def query(self) -> Any:
        """The settings in the URL."""
        return self.exchange.request.query

    def item(self) -> str:
        """A name for the next item."""
        self._items += 1
        return f"item_{self._items}"

    async def say(self, kind: str, **more: Any) -> None:
        """Send a message."""
        if not self.mute:
            await self.socket.send_str(orjson.dumps({"type": kind, **more}).decode())

    async def messages(self) -> Any:
        """What the client says: JSON objects and, where the wire has them, bytes.

        Yields:
            A decoded message, or bytes.
        """
        async for message in self.socket:
            if message.type is WSMsgType.BINARY:
                yield message.data
            elif message.type is WSMsgType.TEXT:
                try:
                    told = orjson.loads(message.data)
                except ValueError:
                    told = None
                if not isinstance(told, dict):
                    await self.socket.close(code=WSCloseCode.INVALID_TEXT, message=b"not JSON")
                    return
                yield told

    def enter(self, content: bytes, *said: Any) -> None:
        """A commit: its content's hash and that of everything else that was asked for, on the call's line."""
        call = self.exchange.call
        if self.settled:
            call = self.exchange.call = self.desk.bill.begin(self.exchange.request.path)
            self.settled = False
        call.model, call.key_seen = self.query.get("model"), bool(bearer(self.exchange.request))
        call.file_sha256 = hashlib.sha256(content).hexdigest()
        rest = [sorted(self.query.items()), *said]
        call.params_sha256 = hashlib.sha256(orjson.dumps(rest)).hexdigest()

    def settle(self, status: int = SWITCHED) -> None:
        """Enter the call, just before its answer goes out."""
        if not self.settled:
            self.settled = True
            self.desk.bill.settle(self.exchange.call, status)
            self.desk.bill.end()

    def strike(self) -> Fault | None:
        """The fault for this commit; it strikes once."""
        fault, self.fault = self.fault, None
        if fault is not None:
            self.exchange.call.fault = fault.kind
        return fault

    async def broken(self, fault: Fault, failed: str) -> None:
        """Break the conversation in the fault's way; what was worked out is already charged.

        Args:
            fault: a kind that shows on a socket.
            failed: the name of the wire's own failure message.

        Raises:
            HungUp: for all kinds that end it.
        """
        self.settle(0 if fault.kind in ("close", "reset_mid_body", "short_body", "socket_silence") else SWITCHED)
        if fault.kind == "socket_silence":
            self.mute = True
            return
        if fault.kind == "drip":
            await self._drip(fault.interval)
        elif fault.kind == "socket_failed":
            body = fault.body or {"error": {"message": "fault on demand", "type": "server_error", "code": None}}
            await self.say(failed, **body)
            if "event_type" in body:
                return
            await self.socket.close(code=WSCloseCode.INTERNAL_ERROR)
        elif fault.kind == "socket_close":
            await self.socket.close(code=fault.code, message=b"fault on demand")
        elif fault.kind in ("close", "reset_mid_body", "short_body"):
            cut_off(self.exchange.request, reset=fault.kind == "reset_mid_body")
        else:
            await self._garbage(fault)
        raise HungUp

    async def _garbage(self, fault: Fault) -> None:
        if fault.kind == "huge":
            await self.socket.send_str('{"type": "x", "pad": "' + " " * fault.bytes + '"}')
        elif fault.kind == "wrong_type":
            await self.socket.send_bytes(b"\0\1\2\3")
        else:
            await self.socket.send_str("" if fault.kind == "empty" else '{"type": "conversation.it')
        while not self.socket.closed and await self.socket.receive() and not self.socket.closed:
            pass

    async def _drip(self, interval: float) -> None:
        while not self.socket.closed and self.exchange.request.transport is not None:
            await self.say("input_audio_buffer.processed", processed_ms=0)
            await asyncio.sleep(interval)


Hold = Callable[[Session], Awaitable[None]]


async def converse(
    desk: Desk,
    request: web.BaseRequest,
    dialect: Dialect,
    check: Callable[[Desk, Exchange], None],
    hold: Hold,
    headers: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    """Answer a handshake and hold the conversation.

    Args:
        desk: what all requests share.
        request: the handshake.
        dialect: whose wire.
        check: refuses settings that make no sense.
        hold: carries the conversation out.
        headers: more of the handshake's reply.
    """
    exchange = Exchange(request, dialect, desk.bill.begin(request.path))
    exchange.call.model, exchange.call.key_seen = request.query.get("model"), bool(bearer(request))
    session = None
    try:
        fault = _struck(desk, exchange)
        if fault is not None and fault.kind in UNCOMPUTED:
            exchange.call.fault = fault.kind
            await asyncio.sleep(fault.delay)
            return await faulted(desk, exchange, fault)
        check_key(desk.settings, exchange)
        desk.limiter.admit()
        fail_at_random(desk)
        check(desk, exchange)
        socket = web.WebSocketResponse(max_msg_size=MOST_MESSAGE, compress=False)
        socket.headers.update(reply_headers(desk, exchange, None) | dict(headers or {}))
        session = Session(desk, exchange, socket, fault)
        await socket.prepare(request)
        await _held(session, hold)
    except Refusal as refusal:
        return refused(desk, exchange, refusal)
    else:
        return socket
    finally:
        if session is None:
            desk.bill.end()
        else:
            session.settle()


async def _held(session: Session, hold: Hold) -> None:
    try:
        await hold(session)
    except (HungUp, ConnectionError):
        return
    except Refusal as refusal:
        _, body = session.exchange.dialect.error(refusal, session.exchange.request_id)
        await session.say("error", **body)
        await session.socket.close(code=WSCloseCode.INTERNAL_ERROR)


def _struck(desk: Desk, exchange: Exchange) -> Fault | None:
    return pick(desk.rules, Facts(exchange.call.path, exchange.call.model, None, None)) if desk.rules else None
