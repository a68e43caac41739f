"""Links and files: redirects that expire, and downloads in ranges."""

from __future__ import annotations

import os
from typing import BinaryIO

from aiohttp import web

from mediamill.tasks.local.billing.bill import Call
from mediamill.tasks.local.endpoints.linking import file_path
from mediamill.tasks.local.endpoints.ranges import parse_range
from mediamill.tasks.local.endpoints.reading import denied, keyed, met
from mediamill.tasks.local.faults.fault_replies import cut_off, send_broken
from mediamill.tasks.local.faults.fault_rules import Fault
from mediamill.tasks.local.media_generation.job_store import Job, Made
from mediamill.tasks.local.media_generation.specs import MIMES
from mediamill.tasks.local.server.api_error import Refusal
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.server_state import Desk, Exchange

_BLOCK = 1 << 16


async def send_link(desk: Desk, request: web.BaseRequest, token: str) -> web.StreamResponse:
    """Redirect to the file, while the link works."""
    made, fault, answered = await _followed(desk, request, token, {"expired_link"})
    if made is None or answered is not None:
        return answered or _gone(404)
    reply = web.Response(status=302, body=b"", headers={"location": file_path(made, token)})
    return reply if fault is None else await send_broken(request, fault, reply)


async def send_file(desk: Desk, request: web.BaseRequest, token: str) -> web.StreamResponse:
    """Send a file to whoever has its link; it wants no key."""
    if "Authorization" in request.headers:
        desk.bill.key_leaked += 1
    linked = desk.studio.shelf.linked(token)
    hopped = linked is not None and linked[0].hops
    kinds = {"cut_download"} if hopped else {"cut_download", "expired_link"}
    made, fault, answered = await _followed(desk, request, token, kinds)
    if made is None or answered is not None:
        return answered or _gone(404)
    return await _sent(desk, request, made, fault)


async def send_content(desk: Desk, request: web.BaseRequest, dialect: Dialect) -> web.StreamResponse:
    """Send a job's file, as OpenAI does: to who has the key."""
    exchange = Exchange(request, dialect, Call(0, request.path))
    name = request.path.split("/")[-2]
    job = desk.studio.shelf.get(name)
    fault, broken = await met(desk, request, job, {"cut_download"} if request.method == "GET" else ())
    if broken is not None:
        return broken
    refused = keyed(desk, exchange)
    if refused is not None:
        return refused
    if not isinstance(job, Job):
        return denied(exchange, Refusal("not_found", f"Video with id '{name}' not found."))
    if job.status() != "completed":
        return denied(exchange, Refusal("bad_value", "Video is not ready yet, use GET /v1/videos/{video_id}."))
    return await _sent(desk, request, job, fault)


async def _followed(
    desk: Desk, request: web.BaseRequest, token: str, kinds: set[str]
) -> tuple[Made | None, Fault | None, web.StreamResponse | None]:
    """What a link stands for, the fault that is met, and the reply where it leads nowhere."""
    linked = desk.studio.shelf.linked(token)
    made = linked[0] if linked is not None else None
    fault, broken = await met(desk, request, made, kinds if request.method == "GET" else ())
    if broken is not None or linked is None or made is None:
        return made, fault, broken
    if fault is not None and fault.kind == "expired_link":
        made.dead = linked[1]
    alive = made.alive(linked[1], desk.studio.link_seconds)
    return made, fault, None if alive else _gone(403)


def _gone(status: int) -> web.Response:
    return web.Response(status=status, text="the link has expired" if status == 403 else "not found")  # noqa: PLR2004


async def _sent(desk: Desk, request: web.BaseRequest, made: Made, fault: Fault | None) -> web.StreamResponse:
    """A file or a range of it."""
    with await desk.studio.files.opened(made.what) as file:
        size = os.fstat(file.fileno()).st_size
        tag = f'"{made.what.name.partition(".")[0]}"'
        headers = {"content-type": MIMES[made.what.form], "accept-ranges": "bytes", "etag": tag}
        span, status = range(size), 200
        asked = request.headers.get("Range")
        if asked is not None and request.headers.get("If-Range", tag) == tag:
            found = parse_range(asked, size)
            if found is not None and not found:
                return web.Response(status=416, headers={**headers, "content-range": f"bytes */{size}"})
            if found is not None:
                span, status = found, 206
                headers["content-range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
        if request.method == "HEAD":
            return web.Response(status=status, headers={**headers, "content-length": str(len(span))})
        desk.bill.downloads += 1
        file.seek(span.start)
        if fault is not None and fault.kind != "cut_download":
            reply = web.Response(status=status, body=file.read(len(span)), headers=headers)
            desk.bill.download_bytes += len(span)
            return await send_broken(request, fault, reply)
        return await _streamed(desk, request, file, span, web.StreamResponse(status=status, headers=headers), fault)


async def _streamed(
    desk: Desk, request: web.BaseRequest, file: BinaryIO, span: range, stream: web.StreamResponse, fault: Fault | None
) -> web.StreamResponse:
    stream.content_length = len(span)
    end = len(span)
    if fault is not None:
        end = fault.bytes if fault.bytes < end else end // 2
    await stream.prepare(request)
    at = 0
    while at < end:
        block = file.read(min(_BLOCK, end - at))
        await stream.write(block)
        at += len(block)
        desk.bill.download_bytes += len(block)
    if fault is not None:
        cut_off(request, reset=False)
    return stream
