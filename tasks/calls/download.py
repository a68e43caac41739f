"""Guarded downloads: a user's URL becomes a whole file, or one clear error."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tasks.calls.exchange import Broken, ExchangeError
from tasks.calls.guard import Guard, refusal
from tasks.calls.hints import wait_hint
from tasks.calls.reading import chunks
from tasks.calls.retry import Policy, TryAgain, retrying
from tasks.errors import BadInput, CallFailed, StorageError
from tasks.providers.base import Problem

MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRANSIENT = frozenset({408, 425, 429})
_WRITE_EVERY = 1 << 20

Get = Callable[[str, float], AbstractAsyncContextManager[httpx.Response]]
"""Opens one GET: the checked URL, and the seconds it may take."""


@dataclass(frozen=True, slots=True)
class Download:
    """A fetched file: its SHA-256, its size in bytes, and what the server says of it."""

    sha256: str
    size: int
    mime: str | None
    etag: str | None


async def fetch(
    get: Get, guard: Guard, url: str, to: Path, *, max_bytes: int, deadline: float, retries: int = 2
) -> Download:
    """Fetch ``url`` into ``to``, with a few repeats where another attempt may do better.

    Raises:
        BadInput, CallFailed, StorageError: as :meth:`tasks.calls.client.Client.download` says.
    """
    ends = time.monotonic() + deadline
    guard.check(url)

    async def once() -> Download:
        try:
            return await _once(get, guard, url, to, max_bytes=max_bytes, ends=ends)
        except ExchangeError as error:
            if error.kind == "forbidden":
                raise refusal(error.message.partition(" ")[0]) from None
            if error.kind == "too_large":
                raise _too_large(max_bytes) from None
            raise TryAgain(Problem("retry", error.kind, error.message)) from None

    try:
        return await retrying(once, Policy(retries=retries, total=deadline, longest=min(10.0, deadline)))
    except TryAgain as error:
        raise CallFailed(error.problem.message, kind="download", transient=True) from None


async def _once(get: Get, guard: Guard, url: str, to: Path, *, max_bytes: int, ends: float) -> Download:
    target = guard.check(url)
    for _ in range(MOST_REDIRECTS + 1):
        left = ends - time.monotonic()
        if left <= 0:
            raise Broken("deadline", "the download's time is used up")
        async with get(target, left) as response:
            if response.status_code not in _REDIRECTS:
                return await _save(response, to, max_bytes, urlsplit(target).hostname or "")
            location = response.headers.get("location", "")
        if not location:
            raise BadInput("the URL redirects to nowhere", kind="bad_url")
        target = guard.follow(target, location)
    raise BadInput(f"the URL redirects more than {MOST_REDIRECTS} times", kind="bad_url")


async def _save(response: httpx.Response, to: Path, max_bytes: int, where: str) -> Download:
    _check_status(response, where)
    digest = hashlib.sha256()
    size = 0
    temporary = to.with_name(f".{to.name[:80]}.{os.urandom(6).hex()}.part")
    try:
        with _storage(to):
            file = await asyncio.to_thread(temporary.open, "xb")
        with file:
            async for block in _blocks(chunks(response, most=max_bytes, where=where)):
                with _storage(to):
                    await asyncio.to_thread(file.write, block)
                await asyncio.to_thread(digest.update, block)
                size += len(block)
        with _storage(to):
            await asyncio.to_thread(temporary.replace, to)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    mime = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    etag = response.headers.get("etag")
    return Download(digest.hexdigest(), size, mime[:100] or None, etag[:200] if etag else None)


async def _blocks(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Gather small chunks, so that one trip to a thread writes and hashes many."""
    held: list[bytes] = []
    size = 0
    async for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= _WRITE_EVERY:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


def _check_status(response: httpx.Response, where: str) -> None:
    status = response.status_code
    if status == httpx.codes.OK:
        return
    if status in _TRANSIENT or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        wait = wait_hint("", dict(response.headers))
        raise TryAgain(Problem("retry", "download", f"{where} answered {status}", wait=wait))
    raise BadInput(f"{where} answered {status} for the URL", kind="download", status=status)


def _too_large(max_bytes: int) -> BadInput:
    return BadInput(f"the file behind the URL is larger than {max_bytes:,} bytes", kind="too_large")


@contextlib.contextmanager
def _storage(to: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {to.name}: {error.strerror or error}") from None
