"""Websockets: a session with a provider is run over one, and its messages are kept as the reply.

Where the provider sends the first message, nothing that is paid for leaves before it. So whatever goes wrong until
then is :class:`NotSent` and always safe to repeat.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

import aiohttp

from mediamill.tasks.calls.transport_errors import NotSent, ReplyLost, TransportError, classify_transport_error
from mediamill.tasks.calls.websocket_handshake import HandshakeRefused, WebsocketWithHeaders
from mediamill.tasks.domain import Payload
from mediamill.tasks.errors import BadInput, ItemError
from mediamill.tasks.websocket_session import (
    CLOSED,
    OVER,
    SOCKET_HEADER,
    UNSENT,
    MessageFlags,
    UnreadableMessage,
    WebsocketSession,
)
from mediamill.tasks.wire import Reply

PING_SECONDS = 20.0
MAX_MESSAGE_BYTES = 8 * 2**20
"""Maximum size of one message; audio comes in far smaller ones."""

READY_SECONDS = 30.0
"""How long to wait for the provider's first message once the websocket is open."""

_CLOSE_SECONDS = 0.5
"""How long to wait for the server's close message; all that matters has come by then."""

_MAX_SILENCE_SECONDS = 1.0
"""How long to wait for a message of a server that has enough to work on, before it is sent more anyway."""

_NORMAL_CLOSE_CODES = frozenset({1000, 1001, 1005})
_CLOSED_TYPES = frozenset({aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING})


@dataclass(slots=True)
class WebsocketExchange:
    """One websocket session from handshake to reply.

    Args:
        session: the messages to send and the meaning of those received.
        host: host and port, named in messages.
        max_bytes: maximum size of all received messages together.
    """

    session: WebsocketSession
    host: str
    max_bytes: int
    sends_pings: bool = True
    has_begun: bool = False
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    _progressed: asyncio.Event = field(default_factory=asyncio.Event)
    _kept_messages: list[bytes] = field(default_factory=list)
    _is_stalled: bool = False
    _failure: Exception | None = None
    _socket: WebsocketWithHeaders | None = None

    async def run(
        self,
        client: aiohttp.ClientSession,
        url: str,
        headers: Mapping[str, str],
        *,
        timeout_seconds: float,
        handshake_seconds: float,
        proxy: str | None,
    ) -> Reply:
        """Run the session within ``timeout_seconds``, the handshake within its own; the messages as a reply.

        Raises:
            NotSent: nothing that is paid for reached the server.
            ReplyLost: something that is paid for may have reached it.
            BadInput: the audio cannot be read any more.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                self._socket = await self._connect(client, url, headers, handshake_seconds, proxy)
                end = await self._exchange_messages(self._socket)
            body = b"".join(line + b"\n" for line in self._kept_messages)
            return Reply(HTTPStatus.SWITCHING_PROTOCOLS, {**self._socket.headers, SOCKET_HEADER: end}, body)
        except HandshakeRefused as refused:
            return refused.reply
        except TransportError as error:
            raise self._to_not_sent(error) from None
        except ItemError:
            raise
        except TimeoutError:
            raise self._to_not_sent(
                ReplyLost("deadline", f"{self.host}: not over within {timeout_seconds:g} s")
            ) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._to_not_sent(classify_transport_error(error, self.host)) from None
        finally:
            if self._socket is not None:
                await self._socket.close()

    def _to_not_sent(self, error: TransportError) -> TransportError:
        """The error as NotSent, where nothing was sent yet."""
        if self.has_begun or isinstance(error, NotSent):
            return error
        return NotSent("connect_timeout" if error.kind == "deadline" else "handshake", error.message)

    async def _connect(
        self,
        client: aiohttp.ClientSession,
        url: str,
        headers: Mapping[str, str],
        handshake_seconds: float,
        proxy: str | None,
    ) -> WebsocketWithHeaders:
        try:
            async with asyncio.timeout(handshake_seconds):
                socket = await client.ws_connect(
                    url,
                    headers=headers,
                    heartbeat=PING_SECONDS if self.sends_pings else None,
                    max_msg_size=MAX_MESSAGE_BYTES,
                    proxy=proxy,
                    timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_SECONDS),
                )
        except TimeoutError:
            raise NotSent(
                "connect_timeout", f"{self.host}: no websocket was opened within {handshake_seconds:g} s"
            ) from None
        assert isinstance(socket, WebsocketWithHeaders)
        return socket

    async def _exchange_messages(self, socket: aiohttp.ClientWebSocketResponse) -> str:
        """Send and receive at the same time; returns how the session ended."""
        if not self.session.waits_for_ready:
            self._ready.set()
        sender = asyncio.create_task(self._send_all(socket))
        try:
            return await self._receive_all(socket)
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    async def _send_all(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        try:
            await asyncio.wait_for(self._ready.wait(), READY_SECONDS)
            self.has_begun = True
            for message in self.session.opening_messages():
                await socket.send_str(message)
            if self.session.audio is not None:
                await self._send_audio(socket, self.session.audio)
            for message in self.session.closing_messages():
                await socket.send_str(message)
        except (ConnectionError, aiohttp.ClientError):
            return  # the receiver learns why
        except Exception as error:  # noqa: BLE001 - the receiver raises it
            self._failure = error
            if isinstance(error, TimeoutError) and not self.has_begun:
                self._failure = NotSent("handshake", f"{self.host}: no session began within {READY_SECONDS:g} s")
            await socket.close()

    async def _send_audio(self, socket: aiohttp.ClientWebSocketResponse, audio: Payload) -> None:
        async with aclosing(_read_slices(audio, self.session.chunk_bytes)) as slices:
            async for chunk in slices:
                await self._wait_for_progress()
                message = self.session.encode_chunk(chunk)
                if isinstance(message, str):
                    await socket.send_str(message)
                else:
                    await socket.send_bytes(message)

    async def _wait_for_progress(self) -> None:
        """While the server has enough to work on, wait for its next message before each slice.

        A server that stays silent may be waiting for the rest: it gets that as fast as the connection takes it.
        """
        if self._is_stalled or self.session.can_send():
            return
        self._progressed.clear()
        try:
            await asyncio.wait_for(self._progressed.wait(), _MAX_SILENCE_SECONDS)
        except TimeoutError:
            self._is_stalled = True

    async def _receive_all(self, socket: aiohttp.ClientWebSocketResponse) -> str:
        total = 0
        while True:
            try:
                message = await socket.receive(self.session.max_silence_seconds())
            except TimeoutError:
                return OVER
            text = message.data if message.type is aiohttp.WSMsgType.TEXT else None
            if message.type is aiohttp.WSMsgType.BINARY:
                text = self.session.read_binary(message.data)
            if text is not None:
                total += len(text)
                if total > self.max_bytes:
                    raise ReplyLost(
                        "too_large", f"{self.host}: the messages are larger than the {self.max_bytes:,} bytes allowed"
                    )
                if self._take_message(text):
                    return OVER
            elif message.type is aiohttp.WSMsgType.CLOSE:
                return self._format_close(message.data, message.extra)
            else:
                raise self._to_error(message)

    def _take_message(self, text: str) -> bool:
        """Take in a message; True when it was the last."""
        try:
            flags = self.session.receive(text)
        except UnreadableMessage as error:
            raise ReplyLost("protocol", f"{self.host}: {error}") from None
        if MessageFlags.KEEP in flags:
            self._kept_messages.append(text.replace("\n", " ").encode("utf-8", "replace"))
        if MessageFlags.READY in flags:
            self._ready.set()
        self._progressed.set()
        self._is_stalled = False
        return MessageFlags.OVER in flags

    def _format_close(self, code: int | None, reason: str | None) -> str:
        code = code or 1005
        if code in _NORMAL_CLOSE_CODES and self.session.is_complete():
            return OVER
        close_reason = " ".join((reason or "").split())[:120]
        return f"{CLOSED if self.has_begun else UNSENT} {code} {close_reason}".rstrip()

    def _to_error(self, message: aiohttp.WSMessage) -> Exception:
        if self._failure is not None:
            return self._failure
        if message.type in _CLOSED_TYPES:
            return ReplyLost("reset", f"{self.host}: the connection was closed in the middle of the session")
        if message.type is aiohttp.WSMsgType.ERROR:
            error = message.data
            if isinstance(error, aiohttp.WebSocketError):
                if error.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
                    return ReplyLost("too_large", f"{self.host}: a message is larger than {MAX_MESSAGE_BYTES:,} bytes")
                return ReplyLost("protocol", f"{self.host}: what came is not a websocket message")
            return ReplyLost("reset", f"{self.host}: the connection broke in the middle of the session")
        return ReplyLost("protocol", f"{self.host}: binary data came where only text is expected")


async def _read_slices(payload: Payload, size: int) -> AsyncGenerator[bytes, None]:
    """Yield the audio in slices, from memory or from disk."""
    if payload.data is not None:
        for at in range(0, len(payload.data), size):
            yield payload.data[at : at + size]
        return
    if payload.path is None:
        raise BadInput(f"{payload.filename}: nothing to send")
    file = await asyncio.to_thread(_open_file, payload.path)
    try:
        bytes_left = payload.size
        while bytes_left > 0:
            chunk = await asyncio.to_thread(file.read, min(size, bytes_left))
            if not chunk:
                raise BadInput(f"{payload.filename}: became shorter while it was sent", transient=True)
            bytes_left -= len(chunk)
            yield chunk
    finally:
        file.close()


def _open_file(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise BadInput(f"{path.name}: cannot be read any more ({reason})", transient=True) from None
