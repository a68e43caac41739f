"""Links to images and videos, and their files: redirects that expire, downloads with byte ranges.

Such requests are counted, not billed; fault rules apply to them, too.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Collection
from typing import BinaryIO

from aiohttp import web

from mediamill.tasks.local.billing.bill import PaidCall
from mediamill.tasks.local.faults.fault_replies import break_connection, send_broken_reply, send_fault_reply
from mediamill.tasks.local.faults.fault_rules import IMMEDIATE_KINDS, Fault, RequestFacts, find_read_fault
from mediamill.tasks.local.media_generation.job_store import GeneratedMedia, VideoJob
from mediamill.tasks.local.media_generation.specs import MIME_TYPES
from mediamill.tasks.local.server.api_error import ApiError
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.middleware import build_json_reply, check_key
from mediamill.tasks.local.server.server_state import RequestContext, ServerState

_BLOCK_BYTES = 1 << 16
_RANGE = re.compile(r"bytes=(\d{0,30})-(\d{0,30})", re.ASCII)


async def send_link(state: ServerState, request: web.Request) -> web.StreamResponse:
    """Redirect to the file while the link works."""
    token = request.match_info["token"]
    item, fault, error_reply = await _follow_link(state, request, token, {"expired_link"})
    if item is None or error_reply is not None:
        return error_reply or _build_link_error(404)
    reply = web.Response(status=302, body=b"", headers={"location": format_file_path(item, token)})
    return reply if fault is None else await send_broken_reply(request, fault, reply)


async def send_file(state: ServerState, request: web.Request) -> web.StreamResponse:
    """Send a file to any client that has its link; no key is required."""
    token = request.match_info["file"].rpartition(".")[0]
    if "Authorization" in request.headers:
        state.bill.key_leaked += 1
    found = state.generation.jobs.find_linked(token)
    redirected = found is not None and found[0].hops
    kinds = {"cut_download"} if redirected else {"cut_download", "expired_link"}
    item, fault, reply = await _follow_link(state, request, token, kinds)
    if item is None or reply is not None:
        return reply or _build_link_error(404)
    return await _send_media(state, request, item, fault)


async def send_content(state: ServerState, request: web.Request, *, dialect: Dialect) -> web.StreamResponse:
    """Send a job's file as OpenAI does: the key is required."""
    context = RequestContext(request, dialect, PaidCall(0, request.path))
    kinds = {"cut_download"} if request.method == "GET" else ()
    job, fault = await find_video_job(state, request, context, kinds)
    if isinstance(job, web.StreamResponse):
        return job
    if job.compute_status() != "completed":
        return build_unbilled_error(
            context, ApiError("bad_value", "Video is not ready yet, use GET /v1/videos/{video_id}.")
        )
    return await _send_media(state, request, job, fault)


async def find_video_job(
    state: ServerState, request: web.Request, context: RequestContext, kinds: Collection[str] = ()
) -> tuple[VideoJob | web.StreamResponse, Fault | None]:
    """The job whose id is in the path, or the reply when there is none, and the fault that applies."""
    job_id = request.match_info["id"]
    job = state.generation.jobs.get(job_id)
    fault, fault_reply = await find_fault_reply(state, request, job, kinds)
    reply = fault_reply if fault_reply is not None else refuse_wrong_key(state, context)
    if reply is not None:
        return reply, fault
    if not isinstance(job, VideoJob):
        return build_unbilled_error(context, ApiError("not_found", f"Video with id '{job_id}' not found.")), fault
    return job, fault


async def _follow_link(
    state: ServerState, request: web.BaseRequest, token: str, kinds: set[str]
) -> tuple[GeneratedMedia | None, Fault | None, web.StreamResponse | None]:
    """The item of a link, the fault that applies, and the reply when the link does not work."""
    linked = state.generation.jobs.find_linked(token)
    item = linked[0] if linked is not None else None
    fault, fault_reply = await find_fault_reply(state, request, item, kinds if request.method == "GET" else ())
    if fault_reply is not None or linked is None or item is None:
        return item, fault, fault_reply
    if fault is not None and fault.kind == "expired_link":
        item.dead = linked[1]
    alive = item.is_link_valid(linked[1], state.generation.link_seconds)
    return item, fault, None if alive else _build_link_error(403)


def _build_link_error(status: int) -> web.Response:
    return web.Response(status=status, text="the link has expired" if status == 403 else "not found")  # noqa: PLR2004


async def _send_media(
    state: ServerState, request: web.BaseRequest, item: GeneratedMedia, fault: Fault | None
) -> web.StreamResponse:
    """Send a file or a range of its bytes."""
    with await state.generation.files.open_file(item.what) as file:
        size = os.fstat(file.fileno()).st_size
        tag = f'"{item.what.name.partition(".")[0]}"'
        headers = {"content-type": MIME_TYPES[item.what.form], "accept-ranges": "bytes", "etag": tag}
        byte_range, status = range(size), 200
        range_header = request.headers.get("Range")
        if range_header is not None and request.headers.get("If-Range", tag) == tag:
            requested_range = parse_range(range_header, size)
            if requested_range is not None and not requested_range:
                return web.Response(status=416, headers={**headers, "content-range": f"bytes */{size}"})
            if requested_range is not None:
                byte_range, status = requested_range, 206
                headers["content-range"] = f"bytes {byte_range.start}-{byte_range.stop - 1}/{size}"
        if request.method == "HEAD":
            return web.Response(status=status, headers={**headers, "content-length": str(len(byte_range))})
        state.bill.downloads += 1
        file.seek(byte_range.start)
        if fault is not None and fault.kind != "cut_download":
            reply = web.Response(status=status, body=file.read(len(byte_range)), headers=headers)
            state.bill.download_bytes += len(byte_range)
            return await send_broken_reply(request, fault, reply)
        return await _send_range(
            state, request, file, byte_range, web.StreamResponse(status=status, headers=headers), fault
        )


async def _send_range(
    state: ServerState,
    request: web.BaseRequest,
    file: BinaryIO,
    byte_range: range,
    stream: web.StreamResponse,
    fault: Fault | None,
) -> web.StreamResponse:
    stream.content_length = len(byte_range)
    end = len(byte_range)
    if fault is not None:
        end = fault.bytes if fault.bytes < end else end // 2
    await stream.prepare(request)
    position = 0
    while position < end:
        block = file.read(min(_BLOCK_BYTES, end - position))
        await stream.write(block)
        position += len(block)
        state.bill.download_bytes += len(block)
    if fault is not None:
        break_connection(request, reset=False)
    return stream


def create_link_url(request: web.BaseRequest, item: GeneratedMedia) -> str:
    """The URL of a new link, on the host of the request."""
    token = item.create_link_token()
    path = f"/shrt/{token}" if item.hops else format_file_path(item, token)
    return f"{request.scheme}://{request.host}{path}"


def format_file_path(item: GeneratedMedia, token: str) -> str:
    """The path of the file itself."""
    return f"/media/{token}.{item.what.form}"


def parse_range(header: str, size: int) -> range | None:
    """The requested bytes: empty when the file has no such bytes, None when the whole file is to be sent.

    For several ranges in one header the whole file is sent, as HTTP permits.
    """
    match = _RANGE.fullmatch(header.strip().replace(" ", ""))
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(size, int(last) + 1) if last else size)


async def find_fault_reply(
    state: ServerState, request: web.BaseRequest, item: GeneratedMedia | None, kinds: Collection[str] = ()
) -> tuple[Fault | None, web.StreamResponse | None]:
    """The fault that applies to a request, and the reply when it needs no content."""
    if not state.fault_rules:
        return None, None
    model, source = (item.model, item.source) if item is not None else (None, None)
    fault = find_read_fault(state.fault_rules, RequestFacts(request.path, model, None, source), kinds)
    if fault is None:
        return None, None
    await asyncio.sleep(fault.delay)
    return fault, await send_fault_reply(request, fault, {}) if fault.kind in IMMEDIATE_KINDS else None


def refuse_wrong_key(state: ServerState, context: RequestContext) -> web.Response | None:
    """The error reply to a request without the right key; None when it has the key."""
    try:
        check_key(state.settings, context)
    except ApiError as error:
        return build_unbilled_error(context, error)
    return None


def build_unbilled_error(context: RequestContext, error: ApiError) -> web.Response:
    """An error reply that is not billed."""
    status, body = context.dialect.format_error(error, context.request_id)
    return build_json_reply(body, status)
