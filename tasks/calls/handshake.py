"""Opening a socket: a session whose handshakes are never redirected and whose refusals are read."""

from __future__ import annotations

import ssl
from http import HTTPStatus

import aiohttp

from mediamill.tasks.websocket_session import REFUSED, SOCKET_HEADER
from mediamill.tasks.wire import Reply

_MOST_REFUSAL = 2**16


class Refused(Exception):
    """The handshake was answered with something else than a socket."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


class Socket(aiohttp.ClientWebSocketResponse):
    """An open socket that also gives out the headers of its handshake's reply, which aiohttp's own keeps to itself."""

    @property
    def headers(self) -> dict[str, str]:
        """Header values by lower-case name."""
        return _headers(self._response)


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


async def _watch(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Sees the handshake's answer first: redirects are not followed, and a refusal's words are read."""
    response = await handler(request)
    if response.status == HTTPStatus.SWITCHING_PROTOCOLS:
        return response
    try:
        body = await response.content.read(_MOST_REFUSAL)
    except aiohttp.ClientError:
        body = b""
    finally:
        response.close()
    raise Refused(Reply(response.status, {**_headers(response), SOCKET_HEADER: REFUSED}, body))


def make_session(context: ssl.SSLContext, handshake_seconds: float) -> aiohttp.ClientSession:
    """A session that opens :class:`Socket`, each on a connection of its own, with no bound but the handshake's time."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=context, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=handshake_seconds, sock_read=handshake_seconds),
        middlewares=(_watch,),
        ws_response_class=Socket,
    )
