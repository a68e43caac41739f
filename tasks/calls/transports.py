"""httpx transports over aiohttp sessions: to providers directly or through the environment's proxy.

The transport is used without ``httpx.AsyncClient``: with the client's redirects, cookies and auth all off, its
layers only cost time (measured: 0.11 ms of CPU a request against 0.19 ms).
"""

from __future__ import annotations

import os
import ssl
import urllib.request
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver
from aiohttp.typedefs import StrOrURL
from httpx_aiohttp import AiohttpTransport

from mediamill.tasks.system.loopback import is_loopback

_KEEPALIVE_SECONDS = 20.0
"""Seconds an idle connection is kept: shorter than common servers keep it, so that the client closes first."""

ProgressKind = Literal["connected", "sent", "received"]
"""What an exchange has come to: it has a connection, or a part of the request went out or one of the reply came in."""

OnProgress = Callable[[ProgressKind], None]

on_progress: ContextVar[OnProgress | None] = ContextVar("on_progress", default=None)
"""What the request that this task sends reports to; aiohttp gives its connector no other context."""


class _ReportingConnector(aiohttp.TCPConnector):
    """Reports that a request has its connection: from then on the server may have received it."""

    async def connect(self, *args: Any, **kwargs: Any) -> Any:
        """A connection, new or kept."""
        connection = await super().connect(*args, **kwargs)
        if (report := on_progress.get()) is not None:
            report("connected")
        return connection


def create_tls_context() -> ssl.SSLContext:
    """A context that always verifies; ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` are honoured for private authorities.

    A process reads the authorities once (30 ms of CPU), and again where these variables name others.
    """
    return _read_authorities(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _read_authorities(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    return httpx.create_ssl_context(verify=True, trust_env=True)


def create_transport(
    context: ssl.SSLContext,
    *,
    proxy: str | None = None,
    resolver: Callable[[], AbstractResolver] | None = None,
    socket_factory: aiohttp.SocketFactoryType | None = None,
) -> AiohttpTransport:
    """A transport whose session is opened on the event loop of its first request.

    The number of connections is not bounded here: the limiter bounds the calls, and a second queue
    would only hide the wait from it. With a ``resolver`` of its own, every connection resolves the name again.
    """

    def open_session() -> aiohttp.ClientSession:
        connector = _ReportingConnector(
            limit=0,
            ssl=context,
            keepalive_timeout=_KEEPALIVE_SECONDS,
            resolver=resolver() if resolver else None,
            use_dns_cache=resolver is None,
            socket_factory=socket_factory,
        )
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    return AiohttpTransport(verify=context, client=open_session, proxy=httpx.Proxy(proxy) if proxy else None)


def find_environment_proxy(origin: str) -> str | None:
    """The proxy that ``HTTP_PROXY``, ``HTTPS_PROXY`` or ``ALL_PROXY`` name for ``origin``, unless ``NO_PROXY`` does.

    Loopback is never proxied. aiohttp does not support SOCKS proxies, so they are ignored.
    """
    parts = urlsplit(origin)
    host = parts.hostname or ""
    if is_loopback(host) or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxies = urllib.request.getproxies()
    proxy: StrOrURL | None = proxies.get(parts.scheme) or proxies.get("all")
    if not isinstance(proxy, str) or not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    return proxy if proxy.startswith(("http://", "https://")) else None
