"""``POST images/generations``: reads the request, renders the images, charges for them."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import Any

import orjson
from aiohttp import web

from mediamill.tasks.local.chat.chat_models import count_tokens
from mediamill.tasks.local.endpoints.downloads import create_link_url
from mediamill.tasks.local.endpoints.image_request import ImageRequest, read_image_request
from mediamill.tasks.local.endpoints.media_request import get_max_media_bytes, read_media_request
from mediamill.tasks.local.endpoints.video_reply import build_usd_ticks
from mediamill.tasks.local.media_generation.job_store import GeneratedMedia, make_id
from mediamill.tasks.local.media_generation.specs import MIME_TYPES
from mediamill.tasks.local.server.api_error import ApiError
from mediamill.tasks.local.server.middleware import PaidEndpoint, build_reply_headers
from mediamill.tasks.local.server.server_state import RequestContext, ServerState

_REFUSAL = "The request was rejected by the safety system."


async def _answer_images(state: ServerState, context: RequestContext, fields: Any) -> web.Response:
    fault, name = context.fault, context.dialect.name
    params = read_image_request(fields, name, state.generation.models[name])
    context.call.model = params.model
    if fault is not None and fault.kind == "moderated":
        given = fault.body if isinstance(fault.body, dict) else {"message": fault.body}
        raise ApiError("moderated", str(given.get("message") or _REFUSAL))
    files = state.generation.files
    rendered = (
        await asyncio.gather(*(files.render_image_bytes(image) for image in params.images)) if params.as_base64 else []
    )
    usage = _charge_images(state, context, params)
    content = _build_image_reply(context, params, _build_image_data(state, context, params, rendered), usage)
    headers = {**build_reply_headers(state, context), **SIMULATED_HEADERS, "content-type": "application/json"}
    return web.Response(body=orjson.dumps(content), headers=headers)


IMAGES = PaidEndpoint(read_media_request, _answer_images, get_max_media_bytes)

SIMULATED_HEADERS = {"x-mediamill-engine": "drawing-1", "x-mediamill-simulated": "true"}
"""Headers that name the engine of images and videos."""


def _charge_images(state: ServerState, context: RequestContext, params: ImageRequest) -> dict[str, Any]:
    """Charge for the images, by tokens when the model has such a price; return the reply's usage."""
    call, prompt = context.call, count_tokens(params.prompt)
    is_by_tokens = context.dialect.name == "openai"
    if context.is_charged:
        if params.model in state.settings.token_price or (is_by_tokens and params.model not in state.settings.price):
            state.prices.charge_tokens(call, prompt, params.tokens, "image", output_unit="image_output")
            call.images = len(params.images)
        else:
            state.prices.charge_images(call, len(params.images), params.megapixels)
    if context.dialect.name == "xai":
        return {} if call.usd is None else build_usd_ticks(call.usd)
    return {
        "input_tokens": prompt,
        "output_tokens": params.tokens,
        "total_tokens": prompt + params.tokens,
        "input_tokens_details": {"text_tokens": prompt, "image_tokens": 0},
    }


def _build_image_data(
    state: ServerState, context: RequestContext, params: ImageRequest, rendered: list[bytes]
) -> list[dict[str, Any]]:
    """The rendered images, or links to images that are rendered when they are downloaded."""
    if params.as_base64:
        return [{"b64_json": base64.b64encode(data).decode()} for data in rendered]
    data = []
    for image in params.images:
        item = GeneratedMedia(
            id=make_id(),
            model=params.model,
            what=image,
            source=context.call.file_sha256,
            hops=context.dialect.name in ("together", "local"),
        )
        state.generation.jobs.add(item)
        data.append({"url": create_link_url(context.request, item)})
    return data


def _build_image_reply(
    context: RequestContext, params: ImageRequest, data: list[dict[str, Any]], usage: dict[str, Any]
) -> Any:
    name, image_format = context.dialect.name, params.images[0].form
    if name == "xai":
        return {
            "data": [{**one, "mime_type": MIME_TYPES[image_format], "revised_prompt": ""} for one in data],
            "usage": usage,
        }
    created = int(time.time())
    if name == "openai":
        size = f"{params.images[0].width}x{params.images[0].height}"
        settings = {
            "background": params.background,
            "output_format": image_format,
            "quality": params.quality,
            "size": size,
        }
        return {"created": created, "data": data, **settings, "usage": usage}
    kind = "b64_json" if params.as_base64 else "url"
    listed = [{"index": index, "type": kind, **one} for index, one in enumerate(data)]
    reply = {"id": context.request_id, "model": params.model, "object": "list", "data": listed}
    return reply if name == "together" else {**reply, "created": created}
