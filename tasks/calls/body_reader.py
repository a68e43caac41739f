"""Reply bodies, compressed or not, read in chunks and never held beyond their maximum size."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator

import httpx

from mediamill.tasks.calls.transport_errors import ReplyLost

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
"""zlib detects a gzip or a zlib header itself."""
PROGRESS_BYTES = 64
"""A reply makes progress with so many bytes. A server that sends single bytes now and then stands still: such a reply
would take hours. The events of a stream are longer."""


class Decompressor:
    """A bounded decoder for servers that compress although the request accepts ``identity`` only.

    Output comes in steps of at most ``step_bytes``, so that a compression bomb is noticed before it is unpacked.
    """

    def __init__(self, step_bytes: int = 1 << 16) -> None:
        self._step_bytes = step_bytes
        self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._has_input = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decode more input.

        Raises:
            zlib.error: when the input is not what it claims to be.
        """
        self._has_input = self._has_input or bool(data)
        while data:
            if self._stream.eof:
                if not data.startswith(b"\x1f\x8b"):
                    return
                self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)
            yield self._stream.decompress(data, self._step_bytes)
            data = self._stream.unconsumed_tail or self._stream.unused_data

    @property
    def complete(self) -> bool:
        """True at a proper end, or when there was nothing to decode."""
        return self._stream.eof or not self._has_input


def parse_content_encoding(headers: httpx.Headers) -> str:
    """The content encoding, lower-cased; empty for none."""
    encoding: str = headers.get("content-encoding", "").strip().lower()
    return "" if encoding == "identity" else encoding


async def read_chunks(
    response: httpx.Response, *, max_bytes: int, host: str, on_progress: Callable[[], None] | None = None
) -> AsyncIterator[bytes]:
    """Read the body, decoded, up to ``max_bytes``. ``host`` is named in messages.

    ``on_progress`` is called each time that ``PROGRESS_BYTES`` or more have come.

    gzip and deflate are decoded; any other encoding is passed on as it came, so that a paid reply is
    kept rather than thrown away.

    Raises:
        ReplyLost: ``too_large``, ``short_body`` or ``protocol``.
    """
    length = response.headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise ReplyLost("too_large", f"{host}: the reply is {int(length):,} bytes, more than the {max_bytes:,} allowed")
    decompressor = Decompressor() if parse_content_encoding(response.headers) in ("gzip", "x-gzip", "deflate") else None
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)
    total = raw_total = reported_total = 0
    try:
        async for chunk in stream:
            raw_total += len(chunk)
            if on_progress is not None and raw_total - reported_total >= PROGRESS_BYTES:
                reported_total = raw_total
                on_progress()
            for piece in decompressor.feed(chunk) if decompressor else (chunk,):
                total += len(piece)
                if max(total, raw_total) > max_bytes:
                    raise ReplyLost("too_large", f"{host}: the reply is larger than the {max_bytes:,} bytes allowed")
                yield piece
    except zlib.error:
        raise ReplyLost("protocol", f"{host}: the reply's compression cannot be decoded") from None
    if decompressor and not decompressor.complete:
        raise ReplyLost("short_body", f"{host}: the compressed reply ended before it was complete")


async def limit_idle_time(chunks: AsyncIterator[bytes], max_idle_seconds: float, host: str) -> AsyncIterator[bytes]:
    """Pass ``chunks`` on; the time that their reader takes does not count. ``host`` is named in messages.

    Raises:
        ReplyLost: ``stalled`` when less than ``PROGRESS_BYTES`` came for ``max_idle_seconds``.
    """
    loop, waited, received = asyncio.get_running_loop(), 0.0, 0
    while True:
        began_at = loop.time()
        try:
            async with asyncio.timeout(max(0.0, max_idle_seconds - waited)) as idle:
                chunk = await anext(chunks, None)
        except TimeoutError:
            if not idle.expired():
                raise
            raise ReplyLost("stalled", f"{host}: the reply stood still for {max_idle_seconds:g} s") from None
        if chunk is None:
            return
        waited, received = waited + loop.time() - began_at, received + len(chunk)
        if received >= PROGRESS_BYTES:
            waited, received = 0.0, 0
        yield chunk


async def read_stream(
    parts: AsyncIterator[bytes], is_first_token: Callable[[bytes], bool], max_idle_seconds: float | None, host: str
) -> tuple[bytes, float | None]:
    """Read a streamed body; returns it, and when (``time.monotonic``) the part with the first token came.

    Args:
        parts: the body.
        is_first_token: True for the part that has the first token.
        max_idle_seconds: longest time without ``PROGRESS_BYTES`` of it; None for no limit.
        host: named in messages.

    Raises:
        ReplyLost: ``stalled`` when it made no progress for so long.
    """
    body: list[bytes] = []
    first_part_at: float | None = None
    loop, size, progress_size = asyncio.get_running_loop(), 0, 0
    try:
        async with asyncio.timeout(max_idle_seconds) as idle:
            async for part in parts:
                if first_part_at is None and is_first_token(part):
                    first_part_at = time.monotonic()
                body.append(part)
                size += len(part)
                if max_idle_seconds is not None and size - progress_size >= PROGRESS_BYTES:
                    progress_size = size
                    idle.reschedule(loop.time() + max_idle_seconds)
    except TimeoutError:
        if not idle.expired():
            raise
        raise ReplyLost("stalled", f"{host}: the stream stood still for {max_idle_seconds:g} s") from None
    return b"".join(body), first_part_at
