"""What can go wrong between a request and its reply, by whether the provider may have received the request.

TransportError
├── NotSent     provably nothing of the request reached the server: always safe to send again
└── ReplyLost   something may have arrived: the request may have been carried out and billed
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import aiohttp
import httpx

from mediamill.tasks.calls.ssrf_guard import ForbiddenAddress
from mediamill.tasks.system.os_errors import OPEN_FILES_KIND, describe_os_error, is_out_of_files


class TransportError(Exception):
    """A request without a complete reply.

    Attributes:
        kind: short stable word; the subclasses list them.
        message: one line that names the host and the cause; never a header, a key or a URL's userinfo.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class NotSent(TransportError):
    """Nothing was sent. Kinds: ``dns``, ``refused``, ``tls``, ``connect_timeout``, ``forbidden`` (a guarded URL).

    ``too_many_open_files`` is no fault of the server: this process may not open another socket.
    """


class ReplyLost(TransportError):
    """The request may have arrived, and no complete reply came.

    Kinds: ``reset``, ``short_body``, ``deadline``, ``overdue``, ``stalled``, ``too_large``, ``protocol``.

    ``reset`` covers a kept-alive connection that the server closed while the request went out: the client cannot know
    whether the server read it first.
    """


def iter_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and its causes, outermost first."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def classify_transport_error(error: Exception, host: str) -> TransportError:
    """Classify what the transport raised for a request to ``host`` (host and port).

    httpx's own classes cannot be used: its aiohttp transport reports a server's disconnect as ``ConnectTimeout``. The
    aiohttp error beneath says what happened.
    """
    if any(isinstance(e, ForbiddenAddress) for e in iter_causes(error)):
        return NotSent("forbidden", f"{host} is not on the public internet")
    if out_of_files := next((e for e in iter_causes(error) if isinstance(e, OSError) and is_out_of_files(e)), None):
        words = describe_os_error(out_of_files)
        return NotSent(OPEN_FILES_KIND, f"no connection could be opened: {words.what}; {words.hint}")
    cause = next((e for e in iter_causes(error) if isinstance(e, aiohttp.ClientError)), error)
    return _to_not_sent(cause, host) or _to_reply_lost(cause, host)


def _to_not_sent(cause: BaseException, host: str) -> NotSent | None:
    match cause:
        case aiohttp.ClientConnectorDNSError():
            return NotSent("dns", f"{host}: the host name cannot be resolved ({_format_reason(cause)})")
        case aiohttp.ClientConnectorCertificateError():
            return NotSent("tls", f"{host}: the server's certificate is not trusted ({_format_reason(cause)})")
        case aiohttp.ClientConnectorSSLError():
            return NotSent("tls", f"{host}: no TLS connection could be made ({_format_reason(cause)})")
        case aiohttp.ConnectionTimeoutError():
            return NotSent("connect_timeout", f"{host}: no connection within the time allowed for it")
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return NotSent("refused", f"{host}: the proxy named by the environment made no connection")
        case aiohttp.ClientConnectorError():
            return NotSent("refused", f"{host}: no connection ({_format_reason(cause)})")
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError() | httpx.InvalidURL():
            return NotSent("dns", f"{host}: not an address that can be reached")
    return None


def _to_reply_lost(cause: BaseException, host: str) -> ReplyLost:
    match cause:
        case aiohttp.ClientPayloadError():
            if "ConnectionResetError" in str(cause):  # aiohttp says so in the text only
                return ReplyLost("reset", f"{host}: the connection broke in the middle of the reply")
            return ReplyLost("short_body", f"{host}: the reply ended before it was complete")
        case aiohttp.ClientConnectionError() | OSError():
            return ReplyLost("reset", f"{host}: the connection was closed before the reply came")
    return ReplyLost("protocol", f"{host}: what came back is not HTTP ({type(cause).__name__})")


def _format_reason(cause: BaseException) -> str:
    error: BaseException | None = getattr(cause, "certificate_error", None) or getattr(cause, "os_error", None) or cause
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_message)
    if isinstance(error, ssl.SSLError):
        return str(error.reason or "handshake failed").lower().replace("_", " ")
    return getattr(error, "strerror", None) or type(error).__name__
