"""What the bill tells of a request for pictures or videos, and its fields, whether JSON or a form."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from mediamill.tasks.local.endpoints.request_fields import hashes
from mediamill.tasks.local.endpoints.tts_request import parse_json
from mediamill.tasks.local.server.api_error import Refusal
from mediamill.tasks.local.server.multipart_form import parse_form
from mediamill.tasks.local.server.request_body import Body
from mediamill.tasks.local.server.server_state import Desk, Exchange, bearer

MOST_BYTES = 64 * 1024 * 1024
_LARGE = 1 << 20


async def entered_fields(desk: Desk, exchange: Exchange, body: Body) -> Any:
    """The request's fields, or why it has none; files of a form stand as their hashes.

    Large bodies are read in a thread.
    """
    call = exchange.call
    kind = exchange.request.headers.get("Content-Type", "")
    if len(body.data) <= _LARGE:
        told, digests = _read(body, kind)
    else:
        told, digests = await asyncio.get_running_loop().run_in_executor(desk.studio.files.threads, _read, body, kind)
    call.key_seen = bool(bearer(exchange.request))
    call.body_sha256, call.file_sha256, call.params_sha256 = digests
    if isinstance(told, dict) and isinstance(told.get("model"), str):
        call.model = told["model"]
    return told


def is_form(exchange: Exchange) -> bool:
    """The request is a form, as OpenAI's are."""
    return exchange.request.headers.get("Content-Type", "").lower().startswith("multipart/")


def _read(body: Body, kind: str) -> tuple[Any, tuple[str, str | None, str | None]]:
    try:
        told = _form(body, kind) if kind.lower().startswith("multipart/") else _json(body)
    except Refusal as refusal:
        told = refusal
    return told, (body.sha256(), *(hashes(told) if isinstance(told, dict) else (None, None)))


def _json(body: Body) -> Any:
    with memoryview(body.data) as view:
        return parse_json(view)


def _form(body: Body, kind: str) -> dict[str, Any]:
    form = parse_form(body.data, kind)
    fields: dict[str, Any] = {name: values[-1] for name, values in form.fields.items()}
    with memoryview(body.data) as view:
        for name, part in form.files.items():
            fields[name] = hashlib.sha256(view[part.start : part.end]).hexdigest()
    return fields
