"""The only HTTP client: every request to a provider and every download goes through it."""

from __future__ import annotations

import asyncio
import functools
import importlib.metadata
import logging
import re
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver
from httpx_aiohttp import AiohttpTransport

from mediamill.tasks.calls.body_reader import read_chunks, read_stream
from mediamill.tasks.calls.download import MAX_IDLE_SECONDS, Download, fetch_file
from mediamill.tasks.calls.redaction import get_redactor
from mediamill.tasks.calls.request_body import RequestBody, encode_body
from mediamill.tasks.calls.ssrf_guard import SsrfGuard
from mediamill.tasks.calls.transport_errors import ReplyLost, TransportError, classify_transport_error
from mediamill.tasks.calls.transports import (
    OnProgress,
    ProgressKind,
    create_tls_context,
    create_transport,
    find_environment_proxy,
    on_progress,
)
from mediamill.tasks.calls.websocket import WebsocketExchange
from mediamill.tasks.calls.websocket_handshake import create_websocket_client
from mediamill.tasks.errors import ItemError, UsageError
from mediamill.tasks.wire import FIRST_CHUNK_HEADER, Reply, Request

_SAFE_KEY = re.compile(r"[\x21-\x7e]+")
_LIFE_SECONDS, _LIFE_BYTES = 10.0, 1 << 20
_RESERVED_HEADERS = frozenset({"authorization", "host", "content-length", "transfer-encoding", "connection"})

logging.getLogger("httpx").setLevel(logging.WARNING)  # at INFO it writes whole URLs, signed ones too


@functools.cache
def user_agent() -> str:
    """``mediamill/<version>``."""
    try:
        return f"mediamill/{importlib.metadata.version('mediamill')}"
    except importlib.metadata.PackageNotFoundError:
        return "mediamill/0"


@functools.lru_cache(maxsize=1024)
def _parse_url(origin: str, path: str) -> tuple[httpx.URL, str]:
    url = httpx.URL(origin + path)
    return url, url.netloc.decode("ascii", "replace")


class Client:
    """HTTP and websockets. One a process, created anywhere, used on one event loop.

    Redirects are never followed and cookies never kept. Certificates are always verified. The
    environment's HTTP proxies are honoured for providers, never for loopback nor for downloads.

    Args:
        connect_timeout: seconds for name resolution, connection and TLS handshake together.
        trust_env: honour ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``.
        resolver: resolves the names in users' URLs, behind the guard; the system's by default.
    """

    def __init__(
        self, *, connect_timeout: float = 10.0, trust_env: bool = True, resolver: AbstractResolver | None = None
    ) -> None:
        self._connect_timeout = connect_timeout
        self._trust_env = trust_env
        self._resolver = resolver
        self._tls_context: ssl.SSLContext | None = None
        self._direct: AiohttpTransport | None = None
        self._websocket_client: aiohttp.ClientSession | None = None
        self._by_origin: dict[str, AiohttpTransport] = {}
        self._proxied: dict[str, AiohttpTransport] = {}
        self._guarded: dict[tuple[str, ...], tuple[SsrfGuard, AiohttpTransport]] = {}

    async def send(
        self,
        origin: str,
        request: Request,
        *,
        key: str | None,
        timeout_seconds: float,
        max_bytes: int = 64 * 2**20,
        report: OnProgress | None = None,
        sends_pings: bool = True,
    ) -> Reply:
        """Send one request and read its complete reply; a request with a session runs over a websocket.

        A key that the server repeats is masked in the reply, and in the message of an error.

        Args:
            origin: scheme, host and port.
            request: without the key, which is added here as ``Authorization: Bearer``.
            key: None when none is needed.
            timeout_seconds: for everything: connecting, sending, waiting, reading.
            max_bytes: maximum size of the reply, decoded or not.
            report: called when the request has its connection, and when a part of it went out or enough of the reply
                came in; not for a websocket, which has pings.
            sends_pings: whether a websocket breaks where a ping gets no answer; a watched process needs none.

        Raises:
            NotSent: nothing reached the server.
            ReplyLost: something may have reached it.
            BadInput: a file to send cannot be read any more.
            UsageError: the key holds characters that no header can carry.
        """
        run_websocket = functools.partial(self._run_websocket, sends_pings=sends_pings)
        exchange = self._send_over_http if request.session is None else run_websocket
        redactor = get_redactor(key)
        previous = on_progress.set(report)
        try:
            reply = await exchange(origin, request, key=key, timeout_seconds=timeout_seconds, max_bytes=max_bytes)
        except TransportError as error:
            redactor.redact_error(error)
            raise
        finally:
            on_progress.reset(previous)
        return redactor.redact_reply(reply)

    async def has_life(self, origin: str, path: str, *, seconds: float = _LIFE_SECONDS) -> bool:
        """Whether anything answers within ``seconds``: a request without a key, which costs nothing.

        Any reply will do, also a refusal.
        """
        request = Request("GET", path)
        try:
            await self.send(origin, request, key=None, timeout_seconds=seconds, max_bytes=_LIFE_BYTES)
        except TransportError as error:
            return error.kind == "too_large"
        return True

    async def _send_over_http(
        self, origin: str, request: Request, *, key: str | None, timeout_seconds: float, max_bytes: int
    ) -> Reply:
        """Send one request and read its complete reply."""
        url, host = _parse_url(origin, request.path)
        body = encode_body(request)
        headers = _build_headers(request.headers, body, key)
        report = on_progress.get() or _ignore_progress
        content = body.content(lambda: report("sent")) or None
        http_request = httpx.Request(request.method, url, headers=headers, content=content)
        transport = self._by_origin.get(origin) or self._get_transport(origin)
        began_at = time.monotonic()
        async with self.exchange(transport, http_request, host, timeout_seconds=timeout_seconds) as response:
            report("received")
            headers = _parse_reply_headers(response)
            parts = read_chunks(response, max_bytes=max_bytes, host=host, on_progress=lambda: report("received"))
            if request.is_first_token is None or response.status_code >= HTTPStatus.MULTIPLE_CHOICES:
                return Reply(response.status_code, headers, b"".join([part async for part in parts]))
            body_bytes, first_part_at = await read_stream(parts, request.is_first_token, request.max_idle_seconds, host)
            if first_part_at is not None:
                headers[FIRST_CHUNK_HEADER] = str(round((first_part_at - began_at) * 1000))
            return Reply(response.status_code, headers, body_bytes)

    async def _run_websocket(
        self,
        origin: str,
        request: Request,
        *,
        key: str | None,
        timeout_seconds: float,
        max_bytes: int,
        sends_pings: bool,
    ) -> Reply:
        """Do the same over a websocket: key, timeout, maximum size and proxies hold there too."""
        assert request.session is not None
        url = httpx.URL(origin + request.path)
        self._websocket_client = self._websocket_client or create_websocket_client(
            self._get_tls_context(), self._connect_timeout
        )
        host = url.netloc.decode("ascii", "replace")
        return await WebsocketExchange(request.session, host, max_bytes, sends_pings).run(
            self._websocket_client,
            str(url),
            _build_headers(request.headers, RequestBody((), None), key),
            timeout_seconds=timeout_seconds,
            handshake_seconds=min(self._connect_timeout, 0.9 * timeout_seconds),
            proxy=find_environment_proxy(origin) if self._trust_env else None,
        )

    @asynccontextmanager
    async def exchange(
        self, transport: AiohttpTransport, http_request: httpx.Request, host: str, *, timeout_seconds: float
    ) -> AsyncIterator[httpx.Response]:
        """Send one request and yield its response, all within one timeout and with one set of errors."""
        connect = min(self._connect_timeout, 0.9 * timeout_seconds)
        http_request.extensions["timeout"] = {"connect": connect, "pool": connect}
        try:
            async with asyncio.timeout(timeout_seconds):
                response = await transport.handle_async_request(http_request)
                try:
                    yield response
                finally:
                    await response.stream.aclose()  # type: ignore[union-attr]
        except (TransportError, ItemError):
            raise
        except TimeoutError:
            raise ReplyLost("deadline", f"{host}: no complete reply within {timeout_seconds:g} s") from None
        except (aiohttp.ClientError, httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise classify_transport_error(error, host) from None

    async def download(
        self,
        url: str,
        destination: Path,
        *,
        max_bytes: int,
        timeout_seconds: float,
        allow_hosts: Sequence[str] = (),
        max_retries: int = 2,
        max_idle_seconds: float = MAX_IDLE_SECONDS,
        key: str | None = None,
    ) -> Download:
        """Download a user's URL through the guard into a file, which appears only when it is complete.

        Args:
            url: as the user gave it.
            destination: the file; it is written under a temporary name beside it first.
            max_bytes: maximum size of the file.
            timeout_seconds: for everything, redirects and retries included.
            allow_hosts: private ``host`` or ``host:port`` that may be reached.
            max_retries: after errors that may pass; a download that broke off is resumed.
            max_idle_seconds: how long it may stand still before that counts as broken off.
            key: for a file behind the provider's own API; never sent to what the URL redirects to.

        Raises:
            BadInput: the URL may not be fetched, or the server says that it never can be.
            CallFailed: a later run may succeed.
            StorageError: ``destination`` cannot be written.
        """
        hosts = tuple(sorted(allow_hosts))
        if hosts not in self._guarded:
            guard = SsrfGuard(hosts)
            transport = create_transport(
                self._get_tls_context(),
                resolver=lambda: guard.create_resolver(self._resolver),
                socket_factory=guard.create_socket,
            )
            self._guarded[hosts] = guard, transport
        guard, transport = self._guarded[hosts]

        def open_get(
            target: str, left: float, own_headers: Mapping[str, str]
        ) -> AbstractAsyncContextManager[httpx.Response]:
            http_request = httpx.Request("GET", target, headers={**_build_download_headers(), **own_headers})
            host = urlsplit(target).hostname or ""
            return self.exchange(transport, http_request, host, timeout_seconds=left)

        headers = {"authorization": _format_bearer(key)} if key is not None else None
        redactor = get_redactor(key)
        try:
            download = await fetch_file(
                open_get,
                guard,
                url,
                destination,
                max_bytes=max_bytes,
                timeout_seconds=timeout_seconds,
                max_retries=max_retries,
                max_idle_seconds=max_idle_seconds,
                headers=headers,
            )
        except ItemError as error:
            redactor.redact_error(error)
            raise
        return replace(
            download,
            mime=download.mime and redactor.redact_text(download.mime),
            etag=download.etag and redactor.redact_text(download.etag),
        )

    async def aclose(self) -> None:
        """Close every connection. Call it on the event loop on which the client was used."""
        transports = [t for t in (self._direct, *self._proxied.values()) if t]
        transports += [transport for _, transport in self._guarded.values()]
        self._direct = None
        self._by_origin.clear()
        self._proxied.clear()
        self._guarded.clear()
        for transport in transports:
            await transport.aclose()
        if self._websocket_client is not None:
            await self._websocket_client.close()
            self._websocket_client = None

    def _get_transport(self, origin: str) -> AiohttpTransport:
        proxy = find_environment_proxy(origin) if self._trust_env else None
        if proxy:
            if proxy not in self._proxied:
                self._proxied[proxy] = create_transport(self._get_tls_context(), proxy=proxy)
            transport = self._proxied[proxy]
        else:
            transport = self._direct = self._direct or create_transport(self._get_tls_context())
        self._by_origin[origin] = transport
        return transport

    def _get_tls_context(self) -> ssl.SSLContext:
        self._tls_context = self._tls_context or create_tls_context()
        return self._tls_context


def _ignore_progress(_: ProgressKind) -> None:
    """For requests that nobody watches."""


def _build_headers(own_headers: Mapping[str, str], body: RequestBody, key: str | None) -> dict[str, str]:
    headers = {
        "user-agent": user_agent(),
        "accept": "application/json, */*;q=0.5",
        "accept-encoding": "identity",
        **{name.lower(): value for name, value in own_headers.items() if name.lower() not in _RESERVED_HEADERS},
    }
    if body.content_type:
        headers["content-type"] = body.content_type
        headers["content-length"] = str(body.length)
    if key is not None:
        headers["authorization"] = _format_bearer(key)
    return headers


def _format_bearer(key: str) -> str:
    if not _SAFE_KEY.fullmatch(key):
        raise UsageError("the API key holds characters that no header can carry", hint="is there a line break?")
    return f"Bearer {key}"


def _build_download_headers() -> dict[str, str]:
    return {"user-agent": user_agent(), "accept": "*/*", "accept-encoding": "identity"}


def _parse_reply_headers(response: httpx.Response) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.headers.raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
