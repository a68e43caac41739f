"""Guarded downloads: a user's URL becomes a complete file, or one clear error."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx

from mediamill.tasks.calls.body_reader import limit_idle_time, read_chunks
from mediamill.tasks.calls.call_log import log_download_retry
from mediamill.tasks.calls.retry import RetryableError, RetryPolicy, is_transient_status, send_with_retries
from mediamill.tasks.calls.ssrf_guard import SsrfGuard, forbidden_url_error
from mediamill.tasks.calls.transport_errors import ReplyLost, TransportError
from mediamill.tasks.errors import BadInput, CallFailed
from mediamill.tasks.retry_after import MAX_WAIT, parse_retry_after
from mediamill.tasks.system.os_errors import build_storage_error
from mediamill.tasks.wire import Problem

MAX_REDIRECTS = 5
MAX_IDLE_SECONDS = 60.0
"""How long a download may stand still before its server is asked again, for the rest alone where it can send that."""
_REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
_WRITE_BLOCK_BYTES = 1 << 20

OpenGet = Callable[[str, float, Mapping[str, str]], AbstractAsyncContextManager[httpx.Response]]
"""Opens one GET: the checked URL, the seconds it may take, and headers of its own."""


@dataclass(frozen=True, slots=True)
class Download:
    """A downloaded file: its SHA-256, its size in bytes, and the server's media type and ETag."""

    sha256: str
    size: int
    mime: str | None
    etag: str | None


@dataclass(slots=True)
class _PartialFile:
    """The part of a file that has come so far; the rest must have the same ``validator`` (RFC 9110, 13.1.5)."""

    path: Path
    max_idle_seconds: float
    size: int = 0
    validator: str | None = None
    digest: Any = field(default_factory=hashlib.sha256)

    def build_range_headers(self) -> dict[str, str]:
        """The headers that request only the rest."""
        if not self.size or self.validator is None:
            return {}
        return {"range": f"bytes={self.size}-", "if-range": self.validator}

    def reset(self) -> None:
        """Drop what has come: the server sends the file from its beginning."""
        self.size, self.validator, self.digest = 0, None, hashlib.sha256()


async def fetch_file(
    open_get: OpenGet,
    guard: SsrfGuard,
    url: str,
    destination: Path,
    *,
    max_bytes: int,
    timeout_seconds: float,
    max_retries: int = 2,
    max_idle_seconds: float = MAX_IDLE_SECONDS,
    headers: Mapping[str, str] | None = None,
) -> Download:
    """Download ``url`` into ``destination``; what has come is kept for the next try where one may succeed.

    ``headers`` go to the URL itself and never to what it redirects to. A server that sends nothing for
    ``max_idle_seconds`` is asked again.

    Raises:
        BadInput, CallFailed, StorageError: as :meth:`mediamill.tasks.calls.client.Client.download` says.
    """
    ends_at = time.monotonic() + timeout_seconds
    guard.check_url(url)
    partial = _PartialFile(
        destination.with_name(f".{destination.name[:80]}.{os.urandom(6).hex()}.part"), max_idle_seconds
    )

    async def attempt_once() -> Download:
        try:
            return await _fetch_once(
                open_get, guard, url, destination, partial, max_bytes=max_bytes, ends_at=ends_at, headers=headers or {}
            )
        except TransportError as error:
            if error.kind == "forbidden":
                raise forbidden_url_error(error.message.partition(" ")[0]) from None
            if error.kind == "too_large":
                raise _file_too_large_error(max_bytes) from None
            raise RetryableError(Problem("retry", error.kind, error.message)) from None

    try:
        return await send_with_retries(
            attempt_once,
            RetryPolicy(max_retries=max_retries, total_seconds=timeout_seconds, max_wait=min(10.0, timeout_seconds)),
            lambda error, wait: log_download_retry(urlsplit(url).hostname or "", error.problem, wait),
        )
    except RetryableError as error:
        raise CallFailed(error.problem.message, kind="download", transient=True) from None
    finally:
        with contextlib.suppress(OSError):
            partial.path.unlink(missing_ok=True)


async def _fetch_once(
    open_get: OpenGet,
    guard: SsrfGuard,
    url: str,
    destination: Path,
    partial: _PartialFile,
    *,
    max_bytes: int,
    ends_at: float,
    headers: Mapping[str, str],
) -> Download:
    target = guard.check_url(url)
    for _ in range(MAX_REDIRECTS + 1):
        seconds_left = ends_at - time.monotonic()
        if seconds_left <= 0:
            raise ReplyLost("deadline", "the download's time is used up")
        request = open_get(target, seconds_left, {**headers, **partial.build_range_headers()})
        async with _limit_wait(request, partial.max_idle_seconds, urlsplit(target).hostname or "") as response:
            if response.status_code not in _REDIRECT_STATUSES:
                return await _save_body(response, destination, partial, max_bytes, urlsplit(target).hostname or "")
            location = response.headers.get("location", "")
        if not location:
            raise BadInput("the URL redirects to nowhere", kind="bad_url")
        target, headers = guard.check_redirect(target, location), {}
    raise BadInput(f"the URL redirects more than {MAX_REDIRECTS} times", kind="bad_url")


@contextlib.asynccontextmanager
async def _limit_wait(
    request: AbstractAsyncContextManager[httpx.Response], max_seconds: float, host: str
) -> AsyncIterator[httpx.Response]:
    """The response of ``request``, whose head must come within ``max_seconds``."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(max_seconds) as head:
                response = await stack.enter_async_context(request)
        except TimeoutError:
            if not head.expired():
                raise
            raise ReplyLost("stalled", f"{host}: no reply began within {max_seconds:g} s") from None
        yield response


async def _save_body(
    response: httpx.Response, destination: Path, partial: _PartialFile, max_bytes: int, host: str
) -> Download:
    if not _is_continuation(response, partial):
        partial.reset()
        _check_status(response, host)
        etag = response.headers.get("etag", "")
        partial.validator = etag if etag and not etag.startswith("W/") else response.headers.get("last-modified")
    with _raise_storage_error(destination):
        file = await asyncio.to_thread(partial.path.open, "ab" if partial.size else "wb")
    with file:
        chunks = read_chunks(response, max_bytes=max_bytes - partial.size, host=host)
        async for block in _gather_blocks(limit_idle_time(chunks, partial.max_idle_seconds, host)):
            with _raise_storage_error(destination):
                await asyncio.to_thread(file.write, block)
            await asyncio.to_thread(partial.digest.update, block)
            partial.size += len(block)
    with _raise_storage_error(destination):
        await asyncio.to_thread(partial.path.replace, destination)
    mime = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    etag = response.headers.get("etag")
    return Download(partial.digest.hexdigest(), partial.size, mime[:100] or None, etag[:200] if etag else None)


def _is_continuation(response: httpx.Response, partial: _PartialFile) -> bool:
    """True when the response is the rest of the file."""
    expected_start = f"bytes {partial.size}-"
    content_range = response.headers.get("content-range", "")
    return (
        bool(partial.size)
        and response.status_code == httpx.codes.PARTIAL_CONTENT
        and content_range.startswith(expected_start)
    )


async def _gather_blocks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Gather small chunks, so that one trip to a thread writes and hashes many."""
    held: list[bytes] = []
    size = 0
    try:
        async for chunk in chunks:
            held.append(chunk)
            size += len(chunk)
            if size >= _WRITE_BLOCK_BYTES:
                yield b"".join(held)
                held, size = [], 0
    except (httpx.HTTPError, aiohttp.ClientError, OSError, TransportError):
        if held:  # what came before the connection broke need not come again
            yield b"".join(held)
        raise
    if held:
        yield b"".join(held)


def _check_status(response: httpx.Response, host: str) -> None:
    status = response.status_code
    if status == httpx.codes.OK:
        return
    if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise RetryableError(Problem("retry", "download", f"{host} has another file there now"))
    if is_transient_status(status):
        wait = parse_retry_after(response.headers, time.time())
        raise RetryableError(
            Problem(
                "retry", "download", f"{host} answered {status}", wait=None if wait is None else min(wait, MAX_WAIT)
            )
        )
    raise BadInput(f"{host} answered {status} for the URL", kind="download", status=status)


def _file_too_large_error(max_bytes: int) -> BadInput:
    return BadInput(f"the file behind the URL is larger than {max_bytes:,} bytes", kind="too_large")


@contextlib.contextmanager
def _raise_storage_error(destination: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise build_storage_error(error, f"cannot write {destination.name}") from None
