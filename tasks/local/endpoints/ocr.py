"""``POST ocr``: the text of one picture, in the form of Mistral's OCR API (provider docs), with its lines beside it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from mediamill.tasks.local.asr_engines.worker_pool import WorkerDied
from mediamill.tasks.local.chat.chat_dialects import ChatDialect, get_chat_dialect
from mediamill.tasks.local.chat.media_sources import MediaSource, decode_data_url, fetch_source
from mediamill.tasks.local.chat.visual_inputs import VisualInput, decode_image_input
from mediamill.tasks.local.endpoints.json_endpoint import Fields, JsonReply, make_json_endpoint, read_model
from mediamill.tasks.local.ocr.base import PageText, join_lines
from mediamill.tasks.local.server.api_error import ApiError, ErrorKind
from mediamill.tasks.local.server.server_state import RequestContext, ServerState

_INPUTS = frozenset({"document"})


async def _read_document(state: ServerState, context: RequestContext, fields: Fields) -> JsonReply:
    model = read_model(fields, context.dialect, frozenset())
    engine = state.ocr_engine
    if engine is None:
        raise ApiError("unsupported", "this server has no OCR engine: install mediamill[ocr] and start it again")
    rules = get_chat_dialect(context.dialect.name)
    source = _read_source(fields)
    file = await fetch_source(source, rules, state.settings.url_host, context.body.cleanup)
    data, image = await asyncio.to_thread(_decode, source, file, rules)
    context.call.pictures = [image.sha256]
    try:
        page = await engine.read(data)
    except WorkerDied as error:
        raise ApiError("failed", f"Processing failed: {error}") from None
    body = {
        "model": model,
        "pages": [_build_page(page)],
        "usage_info": {"pages_processed": 1, "doc_size_bytes": len(data)},
    }
    return JsonReply(body, state.prices.charge_page, engine.identity)


def _read_source(fields: Fields) -> MediaSource:
    document = fields.get("document")
    given = document.get("image_url") if isinstance(document, dict) else None
    url = given.get("url") if isinstance(given, dict) else given
    if not isinstance(url, str) or not url:
        kind: ErrorKind = "missing_field" if document is None else "bad_value"
        raise ApiError(kind, "document must be {type: image_url, image_url: URL}", param="document")
    return MediaSource("image", url)


def _decode(source: MediaSource, file: Path | None, rules: ChatDialect) -> tuple[bytes, VisualInput]:
    """The picture's bytes, which are whole and within the limits."""
    try:
        data = decode_data_url(source, rules) if file is None else file.read_bytes()
        return data, decode_image_input(data, "auto", rules, measure=False)
    except ApiError as error:
        raise ApiError(error.kind, error.message, param="document") from None


def _build_page(page: PageText) -> dict[str, Any]:
    lines = [
        {
            "text": line.text,
            "confidence": line.confidence,
            "corners": line.corners,
            "row": line.row,
            "block": line.block,
        }
        for line in page.lines
    ]
    return {
        "index": 0,
        "markdown": join_lines(page.lines),
        "images": [],
        "dimensions": {"width": page.width, "height": page.height, "dpi": None},
        "angle": page.angle,
        "lines": lines,
    }


OCR = make_json_endpoint(_INPUTS, _read_document)
