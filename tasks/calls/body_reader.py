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
    response: httpx.Response, *, max_bytes: int, host: str, on_chunk: Callable[[], None] | None = None
) -> AsyncIterator[bytes]:
    """Read the body, decoded, up to ``max_bytes``. ``host`` is named in messages; each chunk calls ``on_chunk``.

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
    total = raw_total = 0
    try:
        async for chunk in stream:
            raw_total += len(chunk)
            if on_chunk is not None:
                on_chunk()
            for piece in decompressor.feed(chunk) if decompressor else (chunk,):
                total += len(piece)
                if max(total, raw_total) > max_bytes:
                    raise ReplyLost("too_large", f"{host}: the reply is larger than the {max_bytes:,} bytes allowed")
                yield piece
    except zlib.error:
        raise ReplyLost("protocol", f"{host}: the reply's compression cannot be decoded") from None
    if decompressor and not decompressor.complete:
        raise ReplyLost("short_body", f"{host}: the compressed reply ended before it was complete")


async def read_stream(
    parts: AsyncIterator[bytes], is_first_token: Callable[[bytes], bool], max_idle_seconds: float | None, host: str
) -> tuple[bytes, float | None]:
    """Read a streamed body; returns it, and when (``time.monotonic``) the part with the first token came.

    Args:
        parts: the body.
        is_first_token: True for the part that has the first token.
        max_idle_seconds: longest silence between two parts; None for no limit.
        host: named in messages.

    Raises:
        ReplyLost: ``stalled`` when nothing came for so long.
    """
    body: list[bytes] = []
    first_part_at: float | None = None
    while True:
        try:
            async with asyncio.timeout(max_idle_seconds):
                part = await anext(parts, None)
        except TimeoutError:
            raise ReplyLost("stalled", f"{host}: the stream stood still for {max_idle_seconds:g} s") from None
        if part is None:
            return b"".join(body), first_part_at
        if first_part_at is None and is_first_token(part):
            first_part_at = time.monotonic()
        body.append(part)
