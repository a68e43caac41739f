"""Opening a socket: a session whose handshakes are never redirected and whose refusals are read."""

from __future__ import annotations

import ssl
from http import HTTPStatus

import aiohttp

from mediamill.tasks.websocket_session import REFUSED, SOCKET_HEADER
from mediamill.tasks.wire import Reply

_MAX_REFUSAL_BYTES = 2**16


class HandshakeRefused(Exception):
    """The handshake was answered with something else than a socket."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


class HandshakeWebsocket(aiohttp.ClientWebSocketResponse):
    """An open socket that also gives out the headers of its handshake's reply, which aiohttp's own keeps to itself."""

    @property
    def headers(self) -> dict[str, str]:
        """Header values by lower-case name."""
        return _lower_header_names(self._response)


def _lower_header_names(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


async def _read_refusal(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Sees the handshake's answer first: redirects are not followed, and a refusal's words are read."""
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
    """A session that opens :class:`Socket`, each on a connection of its own, with no bound but the handshake's time."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=tls_context, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=handshake_seconds, sock_read=handshake_seconds),
        middlewares=(_read_refusal,),
        ws_response_class=HandshakeWebsocket,
    )
