"""``POST images/generations``: from the request to the pictures and the bill."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import Any

import orjson
from aiohttp import web

from mediamill.tasks.local.chat.token_counts import tokens_of
from mediamill.tasks.local.endpoints.image_request import AskedImages, read_images
from mediamill.tasks.local.endpoints.linking import link_url
from mediamill.tasks.local.endpoints.media_body import MOST_BYTES, entered_fields
from mediamill.tasks.local.endpoints.video_reply import ticks
from mediamill.tasks.local.faults.fault_rules import Fault
from mediamill.tasks.local.media_generation.job_store import Made, new_id
from mediamill.tasks.local.media_generation.specs import MIMES
from mediamill.tasks.local.server.api_error import Refusal
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.middleware import answered, sent
from mediamill.tasks.local.server.request_body import Body
from mediamill.tasks.local.server.server_state import Desk, Exchange, entered, reply_headers

_REFUSED = "The request was rejected by the safety system."


async def make_images(desk: Desk, request: web.BaseRequest, dialect: Dialect) -> web.StreamResponse:
    """Answer one request for pictures, whatever it holds."""
    return await answered(desk, request, dialect, desk.settings.max_bytes or MOST_BYTES, _answered)


async def _answered(desk: Desk, exchange: Exchange, body: Body) -> web.StreamResponse:
    call, name = exchange.call, exchange.dialect.name
    told = await entered_fields(desk, exchange, body)
    fault, broken = await entered(desk, exchange)
    if broken is not None:
        return broken
    if isinstance(told, Refusal):
        raise told
    asked = read_images(told, name, desk.studio.makers[name])
    call.model = asked.model
    if fault is not None and fault.kind == "moderated":
        given = fault.body if isinstance(fault.body, dict) else {"message": fault.body}
        raise Refusal("moderated", str(given.get("message") or _REFUSED))
    files = desk.studio.files
    drawn = await asyncio.gather(*(files.drawn(picture) for picture in asked.pictures)) if asked.b64 else []
    usage = _charge(desk, exchange, asked, fault)
    content = _worded(exchange, asked, _data(desk, exchange, asked, drawn), usage)
    headers = {**reply_headers(desk, exchange, None), **SIMULATED, "content-type": "application/json"}
    return await sent(desk, exchange, fault, web.Response(body=orjson.dumps(content), headers=headers))


SIMULATED = {"x-mediamill-engine": "drawing-1", "x-mediamill-simulated": "true"}
"""Who makes pictures and videos."""


def _charge(desk: Desk, exchange: Exchange, asked: AskedImages, fault: Fault | None) -> dict[str, Any]:
    """Bill the pictures, by the token where the model has such a price; what the reply tells of it."""
    call, told = exchange.call, tokens_of(asked.prompt)
    if fault is None or fault.billed is not False:
        if asked.model in desk.settings.token_price:
            desk.bill.charge_tokens(call, told, asked.tokens)
            call.images = len(asked.pictures)
        else:
            desk.bill.charge_made(call, images=len(asked.pictures))
    if exchange.dialect.name == "xai":
        return ticks(call.usd)
    return {
        "input_tokens": told,
        "output_tokens": asked.tokens,
        "total_tokens": told + asked.tokens,
        "input_tokens_details": {"text_tokens": told, "image_tokens": 0},
    }


def _data(desk: Desk, exchange: Exchange, asked: AskedImages, drawn: list[bytes]) -> list[dict[str, Any]]:
    """The pictures: what was drawn, or else links to what is drawn when it is fetched."""
    if asked.b64:
        return [{"b64_json": base64.b64encode(data).decode()} for data in drawn]
    data = []
    for picture in asked.pictures:
        made = Made(
            id=new_id(),
            model=asked.model,
            what=picture,
            source=exchange.call.file_sha256,
            hops=exchange.dialect.name in ("together", "local"),
        )
        desk.studio.shelf.add(made)
        data.append({"url": link_url(exchange.request, made)})
    return data


def _worded(exchange: Exchange, asked: AskedImages, data: list[dict[str, Any]], usage: dict[str, Any]) -> Any:
    name, form = exchange.dialect.name, asked.pictures[0].form
    if name == "xai":
        return {"data": [{**one, "mime_type": MIMES[form], "revised_prompt": ""} for one in data], "usage": usage}
    created = int(time.time())
    if name == "openai":
        size = f"{asked.pictures[0].width}x{asked.pictures[0].height}"
        told = {"background": asked.background, "output_format": form, "quality": asked.quality, "size": size}
        return {"created": created, "data": data, **told, "usage": usage}
    kind = "b64_json" if asked.b64 else "url"
    listed = [{"index": index, "type": kind, **one} for index, one in enumerate(data)]
    reply = {"id": exchange.request_id, "model": asked.model, "object": "list", "data": listed}
    return reply if name == "together" else {**reply, "created": created}
