"""Request bodies: small ones in memory, large ones in a file, none above the limit."""

from __future__ import annotations

import asyncio
import hashlib
import mmap
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import orjson

from mediamill.tasks.local.asr_engines.base import Audio
from mediamill.tasks.local.server.api_error import ApiError
from mediamill.tasks.local.server.multipart_form import Buffer, FilePart

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest

MAX_MEMORY_BYTES = 1024 * 1024
_MAX_JSON_VALUES = 1_500_000
"""A body with more takes seconds to parse, in which the server would answer nobody."""
_MAX_JSON_DEPTH = 200
_ORJSON_DEPTH = 254
"""How deep orjson writes; it reads deeper. Replies and hashes hold parts of a body some levels deeper than it does."""
_JSON_MARKS = (b",", b"[", b"{")
_GRACE_SECONDS = 30.0
_MIN_BYTES_PER_SECOND = 16 * 1024


@dataclass(slots=True)
class ReceivedBody:
    """A complete request body, and the files and maps to close after it."""

    data: Buffer = b""
    cleanup: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cleanup.close()

    def compute_sha256(self) -> str:
        """SHA-256 of the body as received."""
        return hashlib.sha256(self.data).hexdigest()

    def parse_json(self) -> Any:
        """The body's JSON.

        Raises:
            ApiError: when it is not JSON, has too many values, or is nested too deeply.
        """
        n_values = self._count_json_values()
        if n_values > _MAX_JSON_VALUES:
            raise ApiError("too_large", f"the JSON body has more than {_MAX_JSON_VALUES} values")
        try:
            with memoryview(self.data) as view:
                value = orjson.loads(view)
        except ValueError:
            raise ApiError("bad_value", "We could not parse the JSON body of your request.") from None
        if n_values > _MAX_JSON_DEPTH and _is_too_deep(value):
            raise ApiError("bad_value", f"the JSON body is nested more than {_MAX_JSON_DEPTH} levels")
        return value

    def _count_json_values(self) -> int:
        """At least the number of values in the body: commas and brackets in texts count, too."""
        blocks = (self.data[at : at + MAX_MEMORY_BYTES] for at in range(0, len(self.data), MAX_MEMORY_BYTES))
        return sum(block.count(mark) for block in blocks for mark in _JSON_MARKS)

    def extract_audio(self, part: FilePart) -> Audio:
        """Copy a file part: bytes when it is small, a file of its own when it is large."""
        view = memoryview(self.data)
        try:
            return self._copy_audio(view[part.start : part.end], part.filename)
        finally:
            view.release()

    def _copy_audio(self, view: memoryview, filename: str) -> Audio:
        with view:
            sha256 = hashlib.sha256(view).hexdigest()
            if len(view) <= MAX_MEMORY_BYTES:
                return Audio(filename, len(view), sha256, data=bytes(view))
            file = self.cleanup.enter_context(tempfile.NamedTemporaryFile(prefix="mediamill-upload-"))  # noqa: SIM115
            file.write(view)
            file.flush()
            return Audio(filename, len(view), sha256, path=Path(file.name))


def _is_too_deep(value: Any) -> bool:
    for _ in range(_ORJSON_DEPTH - _MAX_JSON_DEPTH):
        value = [value]
    try:
        orjson.dumps(value)
    except TypeError:
        return True
    return False


def hash_json(value: Any) -> str:
    """SHA-256 of a value as JSON with sorted keys."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


async def read_body(request: BaseRequest, max_bytes: int) -> ReceivedBody:
    """Read a request's body.

    Raises:
        ApiError: ``too_large`` above ``max_bytes``; ``too_slow`` when it trickles in.
    """
    content_length = request.content_length
    if content_length is not None and content_length > max_bytes:
        raise _make_too_large_error(max_bytes, content_length)
    if content_length is not None and content_length <= MAX_MEMORY_BYTES:
        return ReceivedBody(b"".join([chunk async for chunk in _receive_chunks(request)]))
    body = ReceivedBody()
    try:
        return await _spool_body(request, max_bytes, body)
    except BaseException:
        body.cleanup.close()
        raise


async def _spool_body(request: BaseRequest, max_bytes: int, body: ReceivedBody) -> ReceivedBody:
    file = body.cleanup.enter_context(tempfile.SpooledTemporaryFile(MAX_MEMORY_BYTES))  # noqa: SIM115
    size = 0
    async for chunk in _receive_chunks(request):
        size += len(chunk)
        if size > max_bytes:
            raise _make_too_large_error(max_bytes, size)
        file.write(chunk)
    if size <= MAX_MEMORY_BYTES:
        file.seek(0)
        body.data = file.read()
        return body
    file.flush()
    mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    body.cleanup.enter_context(mapped)
    body.data = mapped
    return body


async def _receive_chunks(request: BaseRequest) -> AsyncIterator[bytes]:
    """The body as it arrives; a sender has half a minute, and more as far as it keeps sending."""
    clock = asyncio.get_running_loop().time
    began_at, size = clock(), 0
    try:
        while True:
            async with asyncio.timeout_at(began_at + _GRACE_SECONDS + size / _MIN_BYTES_PER_SECOND):
                chunk = await request.content.readany()
            if not chunk:
                return
            size += len(chunk)
            yield chunk
    except TimeoutError:
        raise ApiError("too_slow", f"the body did not arrive in time: {size} bytes did") from None


def _make_too_large_error(max_bytes: int, size: int) -> ApiError:
    return ApiError("too_large", f"Maximum content size limit ({max_bytes}) exceeded ({size} bytes read)")
