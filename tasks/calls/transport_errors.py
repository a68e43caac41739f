"""What can go wrong between a request and its reply, told by whether the provider can have seen it.

ExchangeError
├── NotSent     provably nothing of the request reached the server: always safe to send again
└── Broken      something may have arrived: it may have been carried out and billed
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import aiohttp
import httpx

from mediamill.tasks.calls.ssrf_guard import Forbidden


class ExchangeError(Exception):
    """An exchange that brought no whole reply.

    Attributes:
        kind: short stable word, as listed by the subclasses.
        message: one line that names the host and the cause; never a header, a key or a URL's userinfo.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class NotSent(ExchangeError):
    """Nothing was sent. Kinds: ``dns``, ``refused``, ``tls``, ``connect_timeout``, ``forbidden`` (a guarded URL)."""


class Broken(ExchangeError):
    """The request may have arrived.

    Kinds: ``reset``, ``short_body``, ``deadline``, ``stalled``, ``too_large``, ``protocol``.

    ``reset`` covers a kept-alive connection that the server closed as the request went out: whether
    it was read first cannot be known from here.
    """


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes, outermost first."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__


def translate(error: Exception, where: str) -> ExchangeError:
    """Classify what the transport raised while talking to ``where`` (host and port).

    httpx's own classes cannot be used: its aiohttp transport files a server's disconnect under
    ``ConnectTimeout``. The aiohttp error beneath says what happened.
    """
    if any(isinstance(e, Forbidden) for e in chain(error)):
        return NotSent("forbidden", f"{where} is not on the public internet")
    cause = next((e for e in chain(error) if isinstance(e, aiohttp.ClientError)), error)
    return _not_sent(cause, where) or _broken(cause, where)


def _not_sent(cause: BaseException, where: str) -> NotSent | None:
    match cause:
        case aiohttp.ClientConnectorDNSError():
            return NotSent("dns", f"{where}: the host name cannot be resolved ({_reason(cause)})")
        case aiohttp.ClientConnectorCertificateError():
            return NotSent("tls", f"{where}: the server's certificate is not trusted ({_reason(cause)})")
        case aiohttp.ClientConnectorSSLError():
            return NotSent("tls", f"{where}: no TLS connection could be made ({_reason(cause)})")
        case aiohttp.ConnectionTimeoutError():
            return NotSent("connect_timeout", f"{where}: no connection within the time allowed for it")
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return NotSent("refused", f"{where}: the proxy named by the environment made no connection")
        case aiohttp.ClientConnectorError():
            return NotSent("refused", f"{where}: no connection ({_reason(cause)})")
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError() | httpx.InvalidURL():
            return NotSent("dns", f"{where}: not an address that can be reached")
    return None


def _broken(cause: BaseException, where: str) -> Broken:
    match cause:
        case aiohttp.ClientPayloadError():
            if "ConnectionResetError" in str(cause):  # aiohttp names it in the text only
                return Broken("reset", f"{where}: the connection broke in the middle of the reply")
            return Broken("short_body", f"{where}: the reply ended before it was complete")
        case aiohttp.ClientConnectionError() | OSError():
            return Broken("reset", f"{where}: the connection was closed before the reply came")
    return Broken("protocol", f"{where}: what came back is not HTTP ({type(cause).__name__})")


def _reason(cause: BaseException) -> str:
    error: BaseException | None = getattr(cause, "certificate_error", None) or getattr(cause, "os_error", None) or cause
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_message)
    if isinstance(error, ssl.SSLError):
        return str(error.reason or "handshake failed").lower().replace("_", " ")
    return getattr(error, "strerror", None) or type(error).__name__
