"""Request bodies: JSON or multipart, always with a known length.

A small multipart body is one bytes object; anything over :data:`STREAM_OVER_BYTES` goes out in slices, files
straight from disk, so that no upload holds the event loop or much memory.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import httpx
import orjson

from mediamill.tasks.domain import Payload
from mediamill.tasks.errors import BadInput
from mediamill.tasks.system.os_errors import build_unreadable_error
from mediamill.tasks.wire import Request

STREAM_OVER_BYTES = 1 << 20
_SLICE_BYTES = 1 << 18
_MAX_NAME_LENGTH = 150
_MIME = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(?:; ?[A-Za-z0-9!#$&^_.+-]+=[A-Za-z0-9!#$&^_.+-]+)*")
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class RequestBody:
    """An encoded body. ``pieces`` are sent in order; a path among them is streamed from disk."""

    pieces: tuple[tuple[bytes | Path, int], ...]
    content_type: str | None

    @property
    def length(self) -> int:
        """Size in bytes."""
        return sum(size for _, size in self.pieces)

    def content(self, on_slice: Callable[[], None] | None = None) -> bytes | httpx.AsyncByteStream:
        """The body for httpx: bytes when it is small, else a stream, of which each slice calls ``on_slice``."""
        if len(self.pieces) == 1:
            piece, size = self.pieces[0]
            if isinstance(piece, bytes) and size <= STREAM_OVER_BYTES:
                return piece
        return _BodyStream(self.pieces, on_slice) if self.pieces else b""


class _BodyStream(httpx.AsyncByteStream):
    def __init__(self, pieces: Sequence[tuple[bytes | Path, int]], on_slice: Callable[[], None] | None) -> None:
        self._pieces = pieces
        self._on_slice = on_slice

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in self._read_slices():
            yield data
            if self._on_slice is not None:
                self._on_slice()

    async def _read_slices(self) -> AsyncIterator[bytes]:
        for piece, size in self._pieces:
            if isinstance(piece, bytes):
                for start in range(0, size, _SLICE_BYTES):
                    yield piece[start : start + _SLICE_BYTES]
            else:
                async for chunk in _read_file(piece, size):
                    yield chunk


async def _read_file(path: Path, size: int) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        while size > 0:
            chunk = await asyncio.to_thread(file.read, min(size, STREAM_OVER_BYTES))
            if not chunk:
                raise OSError(f"{path.name} became shorter while it was sent")
            size -= len(chunk)
            yield chunk
    finally:
        file.close()


def encode_body(request: Request) -> RequestBody:
    """The body of ``request``: multipart when it has fields or files, else JSON, else nothing.

    Raises:
        BadInput: when a file to send cannot be read any more.
    """
    if request.fields or request.files:
        return _encode_multipart(request.fields, request.files)
    if request.json is not None:
        data = orjson.dumps(request.json)
        return RequestBody(((data, len(data)),), "application/json")
    return RequestBody((), None)


def _encode_multipart(fields: Sequence[tuple[str, str]], files: Sequence[tuple[str, Payload]]) -> RequestBody:
    """Fields first, then files (Together needs ``model`` before ``file``; provider docs); repeated names are kept."""
    boundary = os.urandom(16).hex().encode()
    pieces: list[tuple[bytes | Path, int]] = []
    buffered: list[bytes] = []
    for name, value in fields:
        buffered += (b"--", boundary, _format_disposition(name), b"\r\n\r\n", value.encode("utf-8", "replace"), b"\r\n")
    for name, payload in files:
        buffered += (b"--", boundary, _format_disposition(name))
        content = _load_content(payload)
        if payload.url is None:
            mime = payload.mime if _MIME.fullmatch(payload.mime) else "application/octet-stream"
            buffered += (b'; filename="', sanitize_filename(payload.filename), b'"\r\nContent-Type: ', mime.encode())
        buffered.append(b"\r\n\r\n")
        if isinstance(content, bytes) and len(content) <= STREAM_OVER_BYTES:
            buffered += (content, b"\r\n")
            continue
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        joined = b"".join(buffered)
        pieces += ((joined, len(joined)), (content, size))
        buffered = [b"\r\n"]
    buffered += (b"--", boundary, b"--\r\n")
    joined = b"".join(buffered)
    pieces.append((joined, len(joined)))
    return RequestBody(tuple(pieces), f"multipart/form-data; boundary={boundary.decode()}")


def _load_content(payload: Payload) -> bytes | Path:
    if payload.url is not None:
        return payload.url.encode("utf-8", "replace")
    if payload.data is not None:
        return payload.data
    if payload.path is None:
        raise BadInput(f"{payload.filename}: nothing to send")
    try:
        # Small files are read here: they were hashed a moment ago, and a thread costs more than the read.
        return payload.path if payload.path.stat().st_size > STREAM_OVER_BYTES else payload.path.read_bytes()
    except OSError as error:
        unreadable = build_unreadable_error(error, f"{payload.filename}: cannot be read any more: ")
        unreadable.transient = True
        raise unreadable from None


def _format_disposition(name: str) -> bytes:
    return b'\r\nContent-Disposition: form-data; name="' + _percent_encode(name) + b'"'


def _percent_encode(text: str) -> bytes:
    """Encode as browsers do (WHATWG, allowed by RFC 7578): UTF-8 as it is, quotes and line ends percent-encoded."""
    text = text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    return _CONTROL_CHARACTERS.sub("_", text).encode("utf-8", "replace")


def sanitize_filename(name: str) -> bytes:
    """A file name for a ``Content-Disposition``: no folders, no control characters, bounded, its suffix kept."""
    name = PureWindowsPath(PurePosixPath(name).name).name or "file"
    if len(name) > _MAX_NAME_LENGTH:
        suffix = PurePosixPath(name).suffix[:16]
        name = name[: _MAX_NAME_LENGTH - len(suffix)] + suffix
    return _percent_encode(name)
