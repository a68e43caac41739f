"""``POST videos`` and xAI's ``POST videos/generations`` create a job; ``GET videos/ID`` polls it."""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from io import BytesIO
from typing import Any

import orjson
from aiohttp import web

from mediamill.tasks.local.billing.bill import PaidCall
from mediamill.tasks.local.endpoints.downloads import create_link_url, find_video_job
from mediamill.tasks.local.endpoints.images import SIMULATED_HEADERS
from mediamill.tasks.local.endpoints.media_request import get_max_media_bytes, is_multipart, read_media_request
from mediamill.tasks.local.endpoints.video_reply import build_job_reply
from mediamill.tasks.local.endpoints.video_request import VideoRequest, read_video_request
from mediamill.tasks.local.faults.fault_replies import send_broken_reply
from mediamill.tasks.local.media_generation.job_store import JobOutcome, VideoJob, make_id
from mediamill.tasks.local.server.api_error import ApiError
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.middleware import PaidEndpoint, build_reply_headers
from mediamill.tasks.local.server.multipart_form import parse_form
from mediamill.tasks.local.server.server_state import RequestContext, ServerState

_OUTCOME_BY_FAULT: dict[str, JobOutcome] = {"job_fail": "failed", "job_stuck": "stuck", "moderated": "blocked"}
_BLOCKED_CODES = {"together": "content_policy_violation", "openai": "moderation_blocked", "xai": "moderation_blocked"}
_FAILURE = {"code": "processing_failed", "message": "Video generation failed."}
_BLOCKED_MESSAGE = "The video was rejected by the safety system."


async def _answer_videos(state: ServerState, context: RequestContext, fields: Any) -> web.Response:
    call, dialect = context.call, context.dialect
    wire = _choose_wire(context)
    strict = dialect.name not in ("local", "compatible")
    params = read_video_request(fields, wire, state.generation.models[dialect.name], strict=strict)
    if "input_reference" in fields and is_multipart(context):
        _check_reference(context, params)
    call.model = params.model
    job = _create_job(state, context, params, wire)
    state.generation.jobs.add(job)
    headers = {**build_reply_headers(state, context), **SIMULATED_HEADERS, "content-type": "application/json"}
    return web.Response(body=orjson.dumps(_build_creation_reply(job)), headers=headers)


VIDEOS = PaidEndpoint(
    read_media_request, _answer_videos, get_max_media_bytes, ("application/json", "multipart/form-data")
)


async def poll_job(state: ServerState, request: web.Request, *, dialect: Dialect) -> web.StreamResponse:
    """Reply with a job's status; a completed job gets a new link."""
    state.bill.polls += 1
    context = RequestContext(request, dialect, PaidCall(0, request.path))
    job, fault = await find_video_job(state, request, context)
    if isinstance(job, web.StreamResponse):
        return job
    status = job.odd or job.compute_status()
    link = create_link_url(request, job) if status == "completed" and job.wire != "openai" else ""
    body = build_job_reply(job, status, link, job.ready + state.generation.link_seconds)
    headers = {"x-request-id": context.request_id, **SIMULATED_HEADERS, "content-type": "application/json"}
    reply = web.Response(body=orjson.dumps(body), headers=headers)
    job.odd = None
    return reply if fault is None else await send_broken_reply(request, fault, reply)


def _choose_wire(context: RequestContext) -> str:
    """The wire format: the dialect's; for other dialects Together's for JSON and OpenAI's for forms."""
    name = context.dialect.name
    if name == "openai" and not is_multipart(context) and context.request.content_type != "application/json":
        raise ApiError("bad_value", "the body must be multipart/form-data")
    if name in ("together", "openai", "xai"):
        return name
    return "openai" if is_multipart(context) else "together"


def _create_job(state: ServerState, context: RequestContext, params: VideoRequest, wire: str) -> VideoJob:
    """Create the job; it is charged unless it fails or a fault says otherwise."""
    fault = context.fault
    kind = fault.kind if fault is not None else ""
    outcome = _OUTCOME_BY_FAULT.get(kind, "completed")
    billed = fault.billed if fault is not None else None
    if billed is True or (billed is None and outcome in ("completed", "stuck")):
        state.prices.charge_video(context.call, params.size)
    now = time.time()
    body = fault.body if fault is not None else None
    return VideoJob(
        id=make_id("video_"),
        model=params.model,
        what=params.spec,
        source=context.call.file_sha256,
        hops=wire == "together",
        wire=wire,
        created=now,
        ready=now + state.rng.uniform(*state.generation.job_seconds),
        usd=_find_shown_usd(context.call),
        fate=outcome,
        error=_build_job_error(wire, kind, body),
        odd=str(body or "validating") if kind == "job_status" else None,
    )


def _find_shown_usd(call: PaidCall) -> str:
    """What the job says it cost; '' where nobody knows it, or a server of one's own charges nothing."""
    return "0" if not call.billed else (call.usd or "") if call.price_source is not None else ""


def _build_job_error(wire: str, kind: str, body: Any) -> dict[str, str] | None:
    if kind not in ("job_fail", "moderated"):
        return None
    default = _FAILURE if kind == "job_fail" else {"code": _BLOCKED_CODES[wire], "message": _BLOCKED_MESSAGE}
    given = body if isinstance(body, dict) else {"message": body} if body else {}
    return {**default, **{name: str(value) for name, value in given.items() if value is not None}}


def _build_creation_reply(job: VideoJob) -> dict[str, Any]:
    """The reply to the job's creation: the job is queued, however soon it ends."""
    if job.wire == "xai":
        return {"request_id": job.id}
    queued = replace(job, ready=job.created + 1e9, fate="completed")
    return build_job_reply(queued, job.odd or "queued", "", 0)


def _check_reference(context: RequestContext, params: VideoRequest) -> None:
    """Check that the first frame has the video's size (provider docs)."""
    from PIL import Image

    body = context.body
    part = parse_form(body.data, context.request.headers.get("Content-Type", "")).files.get("input_reference")
    if part is None:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(BytesIO(body.data[part.start : part.end]), formats=("JPEG", "PNG", "WEBP")) as image:
                size = image.size
    except Exception:  # noqa: BLE001 - decoders raise whatever broken files make them raise
        raise ApiError("bad_image", "Invalid input_reference: it must be jpeg, png or webp") from None
    if size != (params.spec.width, params.spec.height):
        message = "Inpaint image must match the requested width and height"
        raise ApiError("bad_value", message, param="input_reference")
