"""Broken replies: what each kind of fault sends."""

from __future__ import annotations

import asyncio
import socket
import struct
import zlib
from collections.abc import Mapping, Sequence

import orjson
from aiohttp import web

from mediamill.tasks.local.faults.fault_rules import REPLY_KINDS, Fault

_BLOCK_BYTES = 1 << 20
_CHECK_SECONDS = 0.2
_HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


class EventStream(web.Response):
    """A reply of server-sent events, without a length; its body is all of them."""

    def __init__(self, events: Sequence[bytes], headers: Mapping[str, str]) -> None:
        super().__init__(body=b"".join(events), headers=headers)
        self.events = events

    async def send(self, request: web.BaseRequest, fault: Fault | None = None) -> web.StreamResponse:
        """Send the events; the fault ``stall`` pauses in the middle for its ``interval`` seconds."""
        stream = await _start_stream(request, self.headers, None)
        if fault is None or fault.kind != "stall":
            await stream.write(b"".join(self.events))
            return stream
        half = max(2, len(self.events) // 2)
        await stream.write(b"".join(self.events[:half]))
        remaining_seconds = fault.interval
        while remaining_seconds > 0 and request.transport is not None and not request.transport.is_closing():
            await asyncio.sleep(min(remaining_seconds, _CHECK_SECONDS))
            remaining_seconds -= _CHECK_SECONDS
        await stream.write(b"".join(self.events[half:]))
        return stream


async def send_broken_reply(request: web.BaseRequest, fault: Fault, reply: web.Response) -> web.StreamResponse:
    """Send a computed reply, broken as the fault says.

    Args:
        request: the request that is answered.
        fault: one that needs a computed reply; its delay is already over.
        reply: the reply without the fault.
    """
    if isinstance(reply, EventStream) and fault.kind not in REPLY_KINDS - {"delay"}:
        return await reply.send(request, fault)
    body = reply.body
    assert isinstance(body, bytes)
    headers = dict(reply.headers)
    if fault.kind == "close":
        return _close_connection(request)
    if fault.kind == "bad_json":
        return web.Response(body=body[: max(1, len(body) - 2)], headers=headers)
    if fault.kind == "empty":
        return web.Response(body=b"", headers=headers)
    if fault.kind == "wrong_type":
        return web.Response(body=_HTML, content_type="text/html")
    if fault.kind in ("reset_mid_body", "short_body"):
        return await _send_half(request, body, headers, reset=fault.kind == "reset_mid_body")
    if fault.kind == "drip":
        return await _send_slowly(request, body, headers, fault.interval)
    if fault.kind == "huge":
        return await _send_padded(request, body, headers, fault.bytes)
    if fault.kind == "gzip_bomb":
        return await _send_gzip_bomb(request, headers, fault.bytes)
    return reply


async def send_fault_reply(request: web.BaseRequest, fault: Fault, headers: Mapping[str, str]) -> web.StreamResponse:
    """Answer with a fault that needs no computed reply."""
    if fault.kind == "reset":
        return _reset_connection(request)
    if fault.kind == "hang":
        while request.transport is not None and not request.transport.is_closing():
            await asyncio.sleep(_CHECK_SECONDS)
        return web.Response()
    if fault.kind == "redirect":
        return web.Response(status=302, headers={**headers, "location": fault.location})
    if fault.kind == "error_in_200":
        error = fault.body or {"error": {"message": "internal error", "type": "server_error", "code": None}}
        return web.json_response(error, headers=headers)
    if isinstance(fault.body, str):
        kind = "text/html" if fault.body.lstrip().startswith("<") else "text/plain"
        return web.Response(
            status=fault.status, text=fault.body, content_type=kind, headers={**headers, **fault.headers}
        )
    body = orjson.dumps(fault.body if fault.body is not None else _build_fault_body(fault.status))
    all_headers = {"content-type": "application/json", **headers, **fault.headers}
    return web.Response(status=fault.status, body=body, headers=all_headers)


def _build_fault_body(status: int) -> dict[str, object]:
    return {"error": {"message": f"fault on demand: {status}", "type": "fault", "param": None, "code": None}}


def break_connection(request: web.BaseRequest, *, reset: bool) -> None:
    """End a connection at once, with RST or with FIN."""
    if reset:
        _reset_connection(request)
    else:
        _close_connection(request)


def _close_connection(request: web.BaseRequest) -> web.Response:
    if request.transport is not None:
        request.transport.close()
    return web.Response()


def _reset_connection(request: web.BaseRequest) -> web.Response:
    """End the connection with RST instead of FIN."""
    transport = request.transport
    if transport is not None:
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


async def _start_stream(request: web.BaseRequest, headers: Mapping[str, str], length: int | None) -> web.StreamResponse:
    sent_headers = {name: value for name, value in headers.items() if name.lower() != "content-length"}
    stream = web.StreamResponse(headers=sent_headers)
    if length is not None:
        stream.content_length = length
    await stream.prepare(request)
    return stream


async def _send_half(
    request: web.BaseRequest, body: bytes, headers: Mapping[str, str], *, reset: bool
) -> web.StreamResponse:
    length = None if headers.get("content-type", "").startswith("text/event-stream") else len(body)
    stream = await _start_stream(request, headers, length)
    await stream.write(body[: len(body) // 2])
    if reset:
        await asyncio.sleep(0.05)  # an RST sent at once may arrive before the first half
        _reset_connection(request)
    elif request.transport is not None:
        request.transport.close()
    return stream


async def _send_slowly(
    request: web.BaseRequest, body: bytes, headers: Mapping[str, str], interval: float
) -> web.StreamResponse:
    stream = await _start_stream(request, headers, len(body))
    for at in range(len(body)):
        await stream.write(body[at : at + 1])
        await asyncio.sleep(interval)
    return stream


async def _send_padded(
    request: web.BaseRequest, body: bytes, headers: Mapping[str, str], size: int
) -> web.StreamResponse:
    """Send the reply and then spaces up to ``size`` bytes; it stays valid JSON."""
    stream = await _start_stream(request, headers, max(size, len(body)))
    await stream.write(body)
    remaining_bytes = size - len(body)
    while remaining_bytes > 0:
        await stream.write(b" " * min(remaining_bytes, _BLOCK_BYTES))
        remaining_bytes -= _BLOCK_BYTES
    return stream


async def _send_gzip_bomb(request: web.BaseRequest, headers: Mapping[str, str], size: int) -> web.StreamResponse:
    """Send gzip data of about a thousandth of ``size`` bytes that decompresses to ``size`` bytes."""
    stream = await _start_stream(request, {**headers, "content-encoding": "gzip"}, None)
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    for at in range(0, size, _BLOCK_BYTES):
        await stream.write(compressor.compress(b" " * min(_BLOCK_BYTES, size - at)))
    await stream.write(compressor.flush())
    return stream
