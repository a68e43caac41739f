"""Guarded downloads: a user's URL becomes a whole file, or one clear error."""

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

from mediamill.tasks.calls.body_reader import read_chunks
from mediamill.tasks.calls.retry import RetryableError, RetryPolicy, send_with_retries
from mediamill.tasks.calls.ssrf_guard import SsrfGuard, refusal
from mediamill.tasks.calls.transport_errors import ReplyLost, TransportError
from mediamill.tasks.errors import BadInput, CallFailed, StorageError
from mediamill.tasks.retry_after import MAX_WAIT, retry_after
from mediamill.tasks.wire import Problem

MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRANSIENT = frozenset({408, 425, 429})
_WRITE_EVERY = 1 << 20

Get = Callable[[str, float, Mapping[str, str]], AbstractAsyncContextManager[httpx.Response]]
"""Opens one GET: the checked URL, the seconds it may take, and headers of its own."""


@dataclass(frozen=True, slots=True)
class Download:
    """A fetched file: its SHA-256, its size in bytes, and what the server says of it."""

    sha256: str
    size: int
    mime: str | None
    etag: str | None


@dataclass(slots=True)
class _Partial:
    """What has come of a file so far; ``validator`` is what the rest must still belong to (RFC 9110, 13.1.5)."""

    path: Path
    size: int = 0
    validator: str | None = None
    digest: Any = field(default_factory=hashlib.sha256)

    def wanted(self) -> dict[str, str]:
        """The headers that ask for the rest alone."""
        if not self.size or self.validator is None:
            return {}
        return {"range": f"bytes={self.size}-", "if-range": self.validator}

    def anew(self) -> None:
        """Forget it: the server begins at the beginning."""
        self.size, self.validator, self.digest = 0, None, hashlib.sha256()


async def fetch(
    get: Get,
    guard: SsrfGuard,
    url: str,
    to: Path,
    *,
    max_bytes: int,
    deadline: float,
    retries: int = 2,
    headers: Mapping[str, str] | None = None,
) -> Download:
    """Fetch ``url`` into ``to``, with a few repeats where another attempt may do better; what has come is kept.

    ``headers`` go to the URL itself and never to what it redirects to.

    Raises:
        BadInput, CallFailed, StorageError: as :meth:`mediamill.tasks.calls.client.Client.download` says.
    """
    ends = time.monotonic() + deadline
    guard.check_url(url)
    partial = _Partial(to.with_name(f".{to.name[:80]}.{os.urandom(6).hex()}.part"))

    async def once() -> Download:
        try:
            return await _once(get, guard, url, to, partial, max_bytes=max_bytes, ends=ends, headers=headers or {})
        except TransportError as error:
            if error.kind == "forbidden":
                raise refusal(error.message.partition(" ")[0]) from None
            if error.kind == "too_large":
                raise _too_large(max_bytes) from None
            raise RetryableError(Problem("retry", error.kind, error.message)) from None

    try:
        return await send_with_retries(
            once, RetryPolicy(max_retries=retries, total_seconds=deadline, max_wait=min(10.0, deadline))
        )
    except RetryableError as error:
        raise CallFailed(error.problem.message, kind="download", transient=True) from None
    finally:
        with contextlib.suppress(OSError):
            partial.path.unlink(missing_ok=True)


async def _once(
    get: Get,
    guard: SsrfGuard,
    url: str,
    to: Path,
    partial: _Partial,
    *,
    max_bytes: int,
    ends: float,
    headers: Mapping[str, str],
) -> Download:
    target = guard.check_url(url)
    for _ in range(MOST_REDIRECTS + 1):
        left = ends - time.monotonic()
        if left <= 0:
            raise ReplyLost("deadline", "the download's time is used up")
        async with get(target, left, {**headers, **partial.wanted()}) as response:
            if response.status_code not in _REDIRECTS:
                return await _save(response, to, partial, max_bytes, urlsplit(target).hostname or "")
            location = response.headers.get("location", "")
        if not location:
            raise BadInput("the URL redirects to nowhere", kind="bad_url")
        target, headers = guard.check_redirect(target, location), {}
    raise BadInput(f"the URL redirects more than {MOST_REDIRECTS} times", kind="bad_url")


async def _save(response: httpx.Response, to: Path, partial: _Partial, max_bytes: int, where: str) -> Download:
    if not _goes_on(response, partial):
        partial.anew()
        _check_status(response, where)
        etag = response.headers.get("etag", "")
        partial.validator = etag if etag and not etag.startswith("W/") else response.headers.get("last-modified")
    with _storage(to):
        file = await asyncio.to_thread(partial.path.open, "ab" if partial.size else "wb")
    with file:
        async for block in _blocks(read_chunks(response, max_bytes=max_bytes - partial.size, host=where)):
            with _storage(to):
                await asyncio.to_thread(file.write, block)
            await asyncio.to_thread(partial.digest.update, block)
            partial.size += len(block)
    with _storage(to):
        await asyncio.to_thread(partial.path.replace, to)
    mime = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    etag = response.headers.get("etag")
    return Download(partial.digest.hexdigest(), partial.size, mime[:100] or None, etag[:200] if etag else None)


def _goes_on(response: httpx.Response, partial: _Partial) -> bool:
    """The response is the rest of what has come."""
    begins = f"bytes {partial.size}-"
    told = response.headers.get("content-range", "")
    return bool(partial.size) and response.status_code == httpx.codes.PARTIAL_CONTENT and told.startswith(begins)


async def _blocks(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Gather small chunks, so that one trip to a thread writes and hashes many."""
    held: list[bytes] = []
    size = 0
    try:
        async for piece in pieces:
            held.append(piece)
            size += len(piece)
            if size >= _WRITE_EVERY:
                yield b"".join(held)
                held, size = [], 0
    except (httpx.HTTPError, aiohttp.ClientError, OSError, TransportError):
        if held:  # what came before it broke off need not come again
            yield b"".join(held)
        raise
    if held:
        yield b"".join(held)


def _check_status(response: httpx.Response, where: str) -> None:
    status = response.status_code
    if status == httpx.codes.OK:
        return
    if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise RetryableError(Problem("retry", "download", f"{where} has another file there now"))
    if status in _TRANSIENT or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        wait = retry_after(response.headers, time.time())
        raise RetryableError(
            Problem(
                "retry", "download", f"{where} answered {status}", wait=None if wait is None else min(wait, MAX_WAIT)
            )
        )
    raise BadInput(f"{where} answered {status} for the URL", kind="download", status=status)


def _too_large(max_bytes: int) -> BadInput:
    return BadInput(f"the file behind the URL is larger than {max_bytes:,} bytes", kind="too_large")


@contextlib.contextmanager
def _storage(to: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {to.name}: {error.strerror or error}") from None
