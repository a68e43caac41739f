"""Reply bodies, read in chunks and never held beyond their bound, compressed or not."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator

import httpx

from mediamill.tasks.calls.transport_errors import Broken

_EITHER = 32 + zlib.MAX_WBITS
"""zlib's own detection of a gzip or a zlib header."""


class Inflater:
    """A bounded decoder for servers that compress although ``identity`` was asked for.

    Output comes in steps of at most ``step`` bytes, so a bomb is noticed before it is unpacked.
    """

    def __init__(self, step: int = 1 << 16) -> None:
        self._step = step
        self._stream = zlib.decompressobj(_EITHER)
        self._fed = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decode more input.

        Raises:
            zlib.error: when the input is not what it claims to be.
        """
        self._fed = self._fed or bool(data)
        while data:
            if self._stream.eof:
                if not data.startswith(b"\x1f\x8b"):
                    return
                self._stream = zlib.decompressobj(_EITHER)
            yield self._stream.decompress(data, self._step)
            data = self._stream.unconsumed_tail or self._stream.unused_data

    @property
    def complete(self) -> bool:
        """True at a proper end, or when there was nothing to decode."""
        return self._stream.eof or not self._fed


def encoding_of(headers: httpx.Headers) -> str:
    """The one content encoding, lower-cased; empty for none."""
    encoding: str = headers.get("content-encoding", "").strip().lower()
    return "" if encoding == "identity" else encoding


async def chunks(response: httpx.Response, *, most: int, where: str) -> AsyncIterator[bytes]:
    """The decoded body, at most ``most`` bytes of it.

    gzip and deflate are decoded; any other encoding is passed on as it came, so that a paid reply is
    kept rather than thrown away.

    Raises:
        Broken: ``too_large``, ``short_body`` or ``protocol``.
    """
    length = response.headers.get("content-length", "")
    if length.isdecimal() and int(length) > most:
        raise Broken("too_large", f"{where}: the reply is {int(length):,} bytes, more than the {most:,} allowed")
    inflater = Inflater() if encoding_of(response.headers) in ("gzip", "x-gzip", "deflate") else None
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)
    total = raw = 0
    try:
        async for chunk in stream:
            raw += len(chunk)
            for piece in inflater.feed(chunk) if inflater else (chunk,):
                total += len(piece)
                if max(total, raw) > most:
                    raise Broken("too_large", f"{where}: the reply is larger than the {most:,} bytes allowed")
                yield piece
    except zlib.error:
        raise Broken("protocol", f"{where}: the reply's compression cannot be decoded") from None
    if inflater and not inflater.complete:
        raise Broken("short_body", f"{where}: the compressed reply ended before it was complete")


async def timed(
    parts: AsyncIterator[bytes], awaited: Callable[[bytes], bool], idle: float | None, where: str
) -> tuple[bytes, float | None]:
    """A streamed body, and when (``time.monotonic``) the first part came that was awaited.

    Args:
        parts: the body.
        awaited: says yes to the part that counts as the first.
        idle: longest silence in seconds between two parts.
        where: for messages.

    Raises:
        Broken: ``stalled`` when nothing came for so long.
    """
    body: list[bytes] = []
    first: float | None = None
    while True:
        try:
            async with asyncio.timeout(idle):
                part = await anext(parts, None)
        except TimeoutError:
            raise Broken("stalled", f"{where}: the stream stood still for {idle:g} s") from None
        if part is None:
            return b"".join(body), first
        if first is None and awaited(part):
            first = time.monotonic()
        body.append(part)
