"""Websocket handshakes: they are never redirected, and the body of a refusal is read."""

from __future__ import annotations

import ssl
from http import HTTPStatus

import aiohttp

from mediamill.tasks.websocket_session import REFUSED, SOCKET_HEADER
from mediamill.tasks.wire import Reply

_MAX_REFUSAL_BYTES = 2**16


class HandshakeRefused(Exception):
    """The reply to the handshake was something else than a websocket."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


class WebsocketWithHeaders(aiohttp.ClientWebSocketResponse):
    """An open websocket with the headers of its handshake's reply, which aiohttp's own does not give out."""

    @property
    def headers(self) -> dict[str, str]:
        """Header values by lower-case name."""
        return _lower_header_names(self._response)


def _lower_header_names(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


async def _read_refusal(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Middleware before aiohttp's own checks: redirects are not followed, and the body of a refusal is read."""
    response = await handler(request)
    if response.status == HTTPStatus.SWITCHING_PROTOCOLS:
        return response
    try:
        body = await response.content.read(_MAX_REFUSAL_BYTES)
    except aiohttp.ClientError:
        body = b""
    finally:
        response.close()
    raise HandshakeRefused(Reply(response.status, {**_lower_header_names(response), SOCKET_HEADER: REFUSED}, body))


def create_websocket_client(tls_context: ssl.SSLContext, handshake_seconds: float) -> aiohttp.ClientSession:
    """A client that opens each :class:`WebsocketWithHeaders` on a connection of its own; only handshakes time out."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=tls_context, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=handshake_seconds, sock_read=handshake_seconds),
        middlewares=(_read_refusal,),
        ws_response_class=WebsocketWithHeaders,
    )
