"""Request bodies: JSON or multipart, always with a known length.

A small multipart body is one bytes object, built by joining; anything over :data:`STREAM_OVER` goes out in
slices, files straight from disk, so that no upload holds the event loop or the memory for long.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import httpx
import orjson

from mediamill.tasks.domain import Payload
from mediamill.tasks.errors import BadInput
from mediamill.tasks.wire import Request

STREAM_OVER = 1 << 20
_SLICE = 1 << 18
_LONGEST_NAME = 150
_MIME = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(?:; ?[A-Za-z0-9!#$&^_.+-]+=[A-Za-z0-9!#$&^_.+-]+)*")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Body:
    """An encoded body. ``pieces`` are sent in order; a path among them is streamed from disk."""

    pieces: tuple[tuple[bytes | Path, int], ...]
    content_type: str | None

    @property
    def length(self) -> int:
        """Bytes in all."""
        return sum(size for _, size in self.pieces)

    def content(self) -> bytes | httpx.AsyncByteStream:
        """One bytes object when small, else a stream."""
        if len(self.pieces) == 1:
            piece, size = self.pieces[0]
            if isinstance(piece, bytes) and size <= STREAM_OVER:
                return piece
        return _Stream(self.pieces) if self.pieces else b""


class _Stream(httpx.AsyncByteStream):
    def __init__(self, pieces: Sequence[tuple[bytes | Path, int]]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece, size in self._pieces:
            if isinstance(piece, bytes):
                for start in range(0, size, _SLICE):
                    yield piece[start : start + _SLICE]
            else:
                async for chunk in _read(piece, size):
                    yield chunk


async def _read(path: Path, size: int) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        while size > 0:
            chunk = await asyncio.to_thread(file.read, min(size, STREAM_OVER))
            if not chunk:
                raise OSError(f"{path.name} became shorter while it was sent")
            size -= len(chunk)
            yield chunk
    finally:
        file.close()


def encode(request: Request) -> Body:
    """The body of ``request``: multipart when it has fields or files, else JSON, else nothing.

    Raises:
        BadInput: when a file to send cannot be read any more.
    """
    if request.fields or request.files:
        return _multipart(request.fields, request.files)
    if request.json is not None:
        data = orjson.dumps(request.json)
        return Body(((data, len(data)),), "application/json")
    return Body((), None)


def _multipart(fields: Sequence[tuple[str, str]], files: Sequence[tuple[str, Payload]]) -> Body:
    """Fields first, then files (Together needs ``model`` before ``file``; provider docs), names repeated as given."""
    boundary = os.urandom(16).hex().encode()
    pieces: list[tuple[bytes | Path, int]] = []
    plain: list[bytes] = []
    for name, value in fields:
        plain += (b"--", boundary, _disposition(name), b"\r\n\r\n", value.encode("utf-8", "replace"), b"\r\n")
    for name, payload in files:
        plain += (b"--", boundary, _disposition(name))
        content = _content(payload)
        if payload.url is None:
            mime = payload.mime if _MIME.fullmatch(payload.mime) else "application/octet-stream"
            plain += (b'; filename="', safe_filename(payload.filename), b'"\r\nContent-Type: ', mime.encode())
        plain.append(b"\r\n\r\n")
        if isinstance(content, bytes) and len(content) <= STREAM_OVER:
            plain += (content, b"\r\n")
            continue
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        joined = b"".join(plain)
        pieces += ((joined, len(joined)), (content, size))
        plain = [b"\r\n"]
    plain += (b"--", boundary, b"--\r\n")
    joined = b"".join(plain)
    pieces.append((joined, len(joined)))
    return Body(tuple(pieces), f"multipart/form-data; boundary={boundary.decode()}")


def _content(payload: Payload) -> bytes | Path:
    if payload.url is not None:
        return payload.url.encode("utf-8", "replace")
    if payload.data is not None:
        return payload.data
    if payload.path is None:
        raise BadInput(f"{payload.filename}: nothing to send")
    try:
        # Small files are read here: they were hashed a moment ago, and a thread costs more than the read.
        return payload.path if payload.path.stat().st_size > STREAM_OVER else payload.path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise BadInput(f"{payload.filename}: cannot be read any more ({reason})", transient=True) from None


def _disposition(name: str) -> bytes:
    return b'\r\nContent-Disposition: form-data; name="' + _quote(name) + b'"'


def _quote(text: str) -> bytes:
    """As browsers do (WHATWG, allowed by RFC 7578): UTF-8 as it is, quotes and line ends percent-encoded."""
    text = text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    return _UNSAFE.sub("_", text).encode("utf-8", "replace")


def safe_filename(name: str) -> bytes:
    """A file name for a ``Content-Disposition``: no folders, no control characters, bounded, its suffix kept."""
    name = PureWindowsPath(PurePosixPath(name).name).name or "file"
    if len(name) > _LONGEST_NAME:
        suffix = PurePosixPath(name).suffix[:16]
        name = name[: _LONGEST_NAME - len(suffix)] + suffix
    return _quote(name)
