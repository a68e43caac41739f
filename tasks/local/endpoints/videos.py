"""``POST videos`` and xAI's ``POST videos/generations``: from the request to the job and the bill."""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from io import BytesIO
from typing import Any

import orjson
from aiohttp import web

from mediamill.tasks.local.endpoints.images import SIMULATED
from mediamill.tasks.local.endpoints.media_body import MOST_BYTES, entered_fields, is_form
from mediamill.tasks.local.endpoints.video_reply import told_job
from mediamill.tasks.local.endpoints.video_request import AskedVideo, read_video
from mediamill.tasks.local.faults.fault_rules import Fault
from mediamill.tasks.local.media_generation.job_store import Fate, Job, new_id
from mediamill.tasks.local.server.api_error import Refusal
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.middleware import answered, sent
from mediamill.tasks.local.server.multipart_form import parse_form
from mediamill.tasks.local.server.request_body import Body
from mediamill.tasks.local.server.server_state import Desk, Exchange, entered, reply_headers

_FATES: dict[str, Fate] = {"job_fail": "failed", "job_stuck": "stuck", "moderated": "blocked"}
_BLOCKED = {"together": "content_policy_violation", "openai": "moderation_blocked", "xai": "moderation_blocked"}
_FAILED = {"code": "processing_failed", "message": "Video generation failed."}
_WITHHELD = "The video was rejected by the safety system."


async def make_video(desk: Desk, request: web.BaseRequest, dialect: Dialect) -> web.StreamResponse:
    """Answer one request for a video, whatever it holds."""
    return await answered(desk, request, dialect, desk.settings.max_bytes or MOST_BYTES, _answered)


async def _answered(desk: Desk, exchange: Exchange, body: Body) -> web.StreamResponse:
    call, dialect = exchange.call, exchange.dialect
    told = await entered_fields(desk, exchange, body)
    fault, broken = await entered(desk, exchange)
    if broken is not None:
        return broken
    if isinstance(told, Refusal):
        raise told
    wire = _wire(exchange)
    asked = read_video(told, wire, desk.studio.makers[dialect.name], strict=dialect.name not in ("local", "compatible"))
    if "input_reference" in told and is_form(exchange):
        _check_reference(exchange, body, asked)
    call.model = asked.model
    job = _job(desk, exchange, asked, wire, fault)
    desk.studio.shelf.add(job)
    headers = {**reply_headers(desk, exchange, None), **SIMULATED, "content-type": "application/json"}
    return await sent(desk, exchange, fault, web.Response(body=orjson.dumps(_first(job)), headers=headers))


def _wire(exchange: Exchange) -> str:
    """Whose fields and jobs: the dialect's, or where any will do Together's for JSON and OpenAI's for forms."""
    name = exchange.dialect.name
    if name == "openai" and not is_form(exchange) and exchange.request.content_type != "application/json":
        raise Refusal("bad_value", "the body must be multipart/form-data")
    if name in ("together", "openai", "xai"):
        return name
    return "openai" if is_form(exchange) else "together"


def _job(desk: Desk, exchange: Exchange, asked: AskedVideo, wire: str, fault: Fault | None) -> Job:
    """The job, on the bill unless it fails or a fault says otherwise."""
    kind = fault.kind if fault is not None else ""
    fate = _FATES.get(kind, "completed")
    billed = fault.billed if fault is not None else None
    if billed is True or (billed is None and fate in ("completed", "stuck")):
        desk.bill.charge_made(exchange.call, videos=1)
    now = time.time()
    body = fault.body if fault is not None else None
    return Job(
        id=new_id("video_"),
        model=asked.model,
        what=asked.clip,
        source=exchange.call.file_sha256,
        hops=wire == "together",
        wire=wire,
        created=now,
        ready=now + desk.dice.uniform(*desk.studio.job_seconds),
        usd=exchange.call.usd or "0",
        fate=fate,
        error=_error(wire, kind, body),
        odd=str(body or "validating") if kind == "job_status" else None,
    )


def _error(wire: str, kind: str, body: Any) -> dict[str, str] | None:
    if kind not in ("job_fail", "moderated"):
        return None
    usual = _FAILED if kind == "job_fail" else {"code": _BLOCKED[wire], "message": _WITHHELD}
    given = body if isinstance(body, dict) else {"message": body} if body else {}
    return {**usual, **{name: str(value) for name, value in given.items() if value is not None}}


def _first(job: Job) -> dict[str, Any]:
    """What creation answers: the job is waiting, however soon it ends."""
    if job.wire == "xai":
        return {"request_id": job.id}
    waiting = replace(job, ready=job.created + 1e9, fate="completed")
    return told_job(waiting, job.odd or "queued", "", 0)


def _check_reference(exchange: Exchange, body: Body, asked: AskedVideo) -> None:
    """A picture to begin with must have the video's size (provider docs)."""
    from PIL import Image

    part = parse_form(body.data, exchange.request.headers.get("Content-Type", "")).files.get("input_reference")
    if part is None:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(BytesIO(body.data[part.start : part.end]), formats=("JPEG", "PNG", "WEBP")) as image:
                size = image.size
    except Exception:  # noqa: BLE001 - decoders raise whatever broken files make them raise
        raise Refusal("bad_picture", "Invalid input_reference: it must be jpeg, png or webp") from None
    if size != (asked.clip.width, asked.clip.height):
        message = "Inpaint image must match the requested width and height"
        raise Refusal("bad_value", message, param="input_reference")
