"""Realtime sessions on websockets: the handshake, the bill and the faults that all of them share."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from mediamill.tasks.local.faults.fault_replies import break_connection
from mediamill.tasks.local.faults.fault_rules import IMMEDIATE_KINDS, Fault, RequestFacts, find_fault
from mediamill.tasks.local.server.api_error import ApiError
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.middleware import (
    break_request,
    build_reply_headers,
    check_limits,
    read_bearer_token,
    refuse_request,
)
from mediamill.tasks.local.server.server_state import RequestContext, ServerState

SWITCHING_PROTOCOLS = 101
_CLOSING_TYPES = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED)
MAX_MESSAGE_BYTES = 4 * 2**20


class SessionClosed(Exception):
    """The session is over; either side has closed it."""


@dataclass(slots=True)
class RealtimeSession:
    """A session. Each commit is a call of its own on the bill; the first call begins with the handshake."""

    state: ServerState
    context: RequestContext
    socket: web.WebSocketResponse
    fault: Fault | None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    settled: bool = False
    muted: bool = False
    _n_items: int = 0

    @property
    def query(self) -> Any:
        """The settings in the URL's query."""
        return self.context.request.query

    def next_item_id(self) -> str:
        """The id of the next item."""
        self._n_items += 1
        return f"item_{self._n_items}"

    async def send(self, kind: str, **fields: Any) -> None:
        """Send a message."""
        if not self.muted:
            await self.socket.send_str(orjson.dumps({"type": kind, **fields}).decode())

    async def receive_messages(self, max_idle_seconds: float | None = None) -> Any:
        """The client's messages: JSON objects, and bytes where the wire format has binary frames.

        Args:
            max_idle_seconds: the session is closed when the client says nothing for so long.

        Yields:
            A decoded message, or bytes.
        """
        while (message := await self._receive(max_idle_seconds)) is not None:
            if message.type is WSMsgType.BINARY:
                yield message.data
            elif message.type is WSMsgType.TEXT:
                try:
                    payload = orjson.loads(message.data)
                except ValueError:
                    payload = None
                if not isinstance(payload, dict):
                    await self.socket.close(code=WSCloseCode.INVALID_TEXT, message=b"not JSON")
                    return
                yield payload

    async def _receive(self, max_idle_seconds: float | None) -> WSMessage | None:
        """The next message; None when either side has closed the session."""
        try:
            async with asyncio.timeout(max_idle_seconds):
                message = await self.socket.receive()
        except TimeoutError:
            await self.socket.close(code=WSCloseCode.OK, message=b"the session was idle")
            return None
        return None if message.type in _CLOSING_TYPES else message

    def record_commit(self, content: bytes, *extra: Any) -> None:
        """Record a commit on the call: the hash of its content, and that of all other settings."""
        call = self.context.call
        if self.settled:
            call = self.context.call = self.state.bill.begin(self.context.request.path, self.context.dialect.name)
            self.settled = False
        call.model, call.key_seen = read_session_model(self.query), bool(read_bearer_token(self.context.request))
        call.file_sha256 = hashlib.sha256(content).hexdigest()
        params = [sorted(self.query.items()), *extra]
        call.params_sha256 = hashlib.sha256(orjson.dumps(params)).hexdigest()

    def settle(self, status: int = SWITCHING_PROTOCOLS) -> None:
        """Enter the call in the bill, just before its reply is sent."""
        if not self.settled:
            self.settled = True
            self.state.bill.settle(self.context.call, status)
            self.state.bill.end()

    def take_fault(self) -> Fault | None:
        """The fault for this commit; it is applied once."""
        fault, self.fault = self.fault, None
        if fault is not None:
            self.context.call.fault = fault.kind
        return fault

    async def apply_fault(self, fault: Fault, failure_type: str) -> None:
        """Break the session as the fault says; what was computed is already charged.

        Args:
            fault: of a kind that exists on sockets.
            failure_type: the ``type`` of the wire format's failure message.

        Raises:
            SessionClosed: for all kinds that end the session.
        """
        self.settle(
            0 if fault.kind in ("close", "reset_mid_body", "short_body", "socket_silence") else SWITCHING_PROTOCOLS
        )
        if fault.kind == "socket_silence":
            self.muted = True
            return
        if fault.kind == "drip":
            await self._send_progress_forever(fault.interval)
        elif fault.kind == "socket_failed":
            body = fault.body or {"error": {"message": "fault on demand", "type": "server_error", "code": None}}
            await self.send(failure_type, **body)
            if "event_type" in body:
                return
            await self.socket.close(code=WSCloseCode.INTERNAL_ERROR)
        elif fault.kind == "socket_close":
            await self.socket.close(code=fault.code, message=b"fault on demand")
        elif fault.kind in ("close", "reset_mid_body", "short_body"):
            break_connection(self.context.request, reset=fault.kind == "reset_mid_body")
        else:
            await self._send_garbage(fault)
        raise SessionClosed

    async def _send_garbage(self, fault: Fault) -> None:
        if fault.kind == "huge":
            await self.socket.send_str('{"type": "x", "pad": "' + " " * fault.bytes + '"}')
        elif fault.kind == "wrong_type":
            await self.socket.send_bytes(b"\0\1\2\3")
        else:
            await self.socket.send_str("" if fault.kind == "empty" else '{"type": "conversation.it')
        while not self.socket.closed and await self.socket.receive() and not self.socket.closed:
            pass

    async def _send_progress_forever(self, interval: float) -> None:
        while not self.socket.closed and self.context.request.transport is not None:
            await self.send("input_audio_buffer.processed", processed_ms=0)
            await asyncio.sleep(interval)


def read_session_model(query: Mapping[str, str]) -> str | None:
    """The model that a session's address names; a table of Together's guide calls it ``model_id``."""
    return query.get("model") or query.get("model_id")


RunSession = Callable[[RealtimeSession], Awaitable[None]]


async def serve_session(
    state: ServerState,
    request: web.BaseRequest,
    dialect: Dialect,
    check_settings: Callable[[ServerState, RequestContext], None],
    run: RunSession,
    headers: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    """Answer a handshake and run the session.

    Args:
        state: the server's state.
        request: the handshake.
        dialect: the wire format.
        check_settings: refuses invalid settings with an ``ApiError``.
        run: exchanges the session's messages.
        headers: further headers of the handshake's reply.
    """
    context = RequestContext(request, dialect, state.bill.begin(request.path, dialect.name))
    context.call.model, context.call.key_seen = read_session_model(request.query), bool(read_bearer_token(request))
    session = None
    try:
        fault = _find_fault(state, context)
        if fault is not None and fault.kind in IMMEDIATE_KINDS:
            context.call.fault = fault.kind
            await asyncio.sleep(fault.delay)
            return await break_request(state, context, fault)
        check_limits(state, context)
        check_settings(state, context)
        socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE_BYTES, compress=False)
        socket.headers.update(build_reply_headers(state, context) | dict(headers or {}))
        session = RealtimeSession(state, context, socket, fault)
        await socket.prepare(request)
        await _run_session(session, run)
    except ApiError as api_error:
        return refuse_request(state, context, api_error)
    else:
        return socket
    finally:
        if session is None:
            state.bill.end()
        else:
            session.settle()


async def _run_session(session: RealtimeSession, run: RunSession) -> None:
    try:
        await run(session)
    except (SessionClosed, ConnectionError):
        return
    except ApiError as api_error:
        _, body = session.context.dialect.format_error(api_error, session.context.request_id)
        await session.send("error", **body)
        await session.socket.close(code=WSCloseCode.INTERNAL_ERROR)


def _find_fault(state: ServerState, context: RequestContext) -> Fault | None:
    call = context.call
    return find_fault(state.fault_rules, RequestFacts(call.path, call.model, None, None)) if state.fault_rules else None
