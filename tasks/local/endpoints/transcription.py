"""``POST audio/transcriptions`` and ``audio/translations``: from the request to the reply and the bill."""

from __future__ import annotations

import hashlib
from decimal import Decimal

import orjson
from aiohttp import web

from mediamill.tasks.errors import BadInput
from mediamill.tasks.local.asr_engines.base import Audio, Transcript
from mediamill.tasks.local.asr_engines.worker_pool import WorkerDied
from mediamill.tasks.local.endpoints.transcription_reply import render
from mediamill.tasks.local.endpoints.transcription_request import Asked, read_form, read_translation
from mediamill.tasks.local.server.api_error import Kind, Refusal
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.middleware import answered, sent
from mediamill.tasks.local.server.multipart_form import parse_form
from mediamill.tasks.local.server.request_body import Body
from mediamill.tasks.local.server.server_state import (
    Desk,
    Exchange,
    bearer,
    entered,
    reply_headers,
)
from mediamill.tasks.local.server.url_download import fetch

_LEAST_SECONDS = Decimal("0.01")
_FORM_BYTES = 1024 * 1024
_BAD_INPUT: dict[str, Kind] = {"too_long": "too_long"}


async def transcribe(
    desk: Desk, request: web.BaseRequest, dialect: Dialect, *, translating: bool = False
) -> web.StreamResponse:
    """Answer one request, whatever it holds."""
    most = _most_bytes(desk, dialect) + _FORM_BYTES
    return await answered(desk, request, dialect, most, _answered, translating=translating)


def _most_bytes(desk: Desk, dialect: Dialect) -> int:
    return desk.settings.max_bytes or dialect.max_bytes


async def _answered(desk: Desk, exchange: Exchange, body: Body) -> web.StreamResponse:
    call = exchange.call
    audio = _read(exchange, body)
    fault, broken = await entered(desk, exchange, audio.filename if audio else None)
    if broken is not None:
        return broken
    if call.model in desk.socket_models.get(exchange.dialect.name, ()):
        raise Refusal("bad_value", f"Model {call.model} only supports WebSocket streaming", param="model")
    asked = _asked(desk, exchange)
    if audio is None:
        assert asked.url is not None
        limit = desk.settings.max_bytes or exchange.dialect.max_url_bytes
        audio = await fetch(asked.url, desk.settings.url_host, limit, body.cleanup)
        call.file_sha256 = audio.sha256
    elif audio.size > (most := _most_bytes(desk, exchange.dialect)):
        raise Refusal("too_large", f"Maximum content size limit ({most}) exceeded ({audio.size} bytes read)")
    transcript = await heard(desk, exchange.dialect, audio, asked)
    desk.limiter.charge(float(transcript.seconds))
    reply = _reply(desk, exchange, asked, transcript)
    if fault is None or fault.billed is not False:
        desk.bill.charge(call, exchange.dialect.billed_seconds(transcript.seconds))
    return await sent(desk, exchange, fault, reply)


def _read(exchange: Exchange, body: Body) -> Audio | None:
    """Parse the form and enter what the bill tells of it; the uploaded file, if there is one."""
    call = exchange.call
    call.key_seen = bool(bearer(exchange.request))
    call.body_sha256 = body.sha256()
    exchange.form = form = parse_form(body.data, exchange.request.headers.get("Content-Type", ""))
    call.model = form.text("model")
    call.params_sha256 = hashlib.sha256(orjson.dumps(form.fields, option=orjson.OPT_SORT_KEYS)).hexdigest()
    part = form.files.get("file")
    if part is None:
        return None
    audio = body.audio(part)
    call.file_sha256 = audio.sha256
    return audio


def _asked(desk: Desk, exchange: Exchange) -> Asked:
    dialect = exchange.dialect
    models = desk.models[dialect.name]
    if not exchange.translating:
        return read_form(exchange.form, dialect, models)
    return read_translation(exchange.form, dialect, desk.translators[dialect.name], models)


async def heard(desk: Desk, dialect: Dialect, audio: Audio, asked: Asked) -> Transcript:
    """Check the recording and have it heard.

    Raises:
        Refusal: when it cannot be.
    """
    extension = audio.filename.rpartition(".")[2].lower()
    if extension not in dialect.containers and asked.url is None:
        message = f"Invalid file format. Supported formats: {sorted(dialect.containers)}"
        raise Refusal("unsupported_format", message, param="file")
    engine = desk.engine
    if engine.languages is not None and (asked.language or "en") not in engine.languages:
        known = ", ".join(sorted(engine.languages))
        raise Refusal("bad_value", f"the engine {engine.identity} hears only: {known}", param="language")
    if asked.to is not None and engine.targets is not None and asked.to not in engine.targets:
        known = ", ".join(sorted(engine.targets)) or "nothing"
        raise Refusal("bad_value", f"the engine {engine.identity} translates to {known}, not to {asked.to}")
    if asked.diarize and not engine.speakers:
        raise Refusal("bad_value", f"the engine {engine.identity} cannot tell speakers apart", param="diarize")
    longest = desk.settings.max_seconds or dialect.max_seconds
    try:
        transcript = await engine.transcribe(audio, asked.language, asked.to)
    except BadInput as error:
        kind = _BAD_INPUT.get(error.kind, "unsupported_format")
        raise Refusal(kind, f"The audio file could not be decoded: {error.message}", param="file") from None
    except WorkerDied as error:
        raise Refusal("failed", f"Processing failed: {error}") from None
    if longest is not None and transcript.seconds > longest:
        raise Refusal("too_long", f"Audio is longer than the {longest:g} seconds allowed", param="file")
    if transcript.seconds < _LEAST_SECONDS:
        raise Refusal("too_short", f"Audio file is too short. Minimum audio length is {_LEAST_SECONDS} seconds.")
    return transcript


def _reply(desk: Desk, exchange: Exchange, asked: Asked, heard: Transcript) -> web.Response:
    tokens = asked.model in desk.token_models and exchange.dialect.name == "openai"
    body, kind = render(heard, asked, exchange.dialect, tokens=tokens, request_id=exchange.request_id)
    return web.Response(body=body, headers={"content-type": kind, **reply_headers(desk, exchange, None)})
