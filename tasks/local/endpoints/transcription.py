"""``POST audio/transcriptions`` and ``audio/translations``: reads the request, transcribes, charges."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from functools import partial

from aiohttp import web

from mediamill.tasks.errors import BadInput
from mediamill.tasks.local.asr_engines.base import AsrRequest, Audio, Transcript
from mediamill.tasks.local.asr_engines.worker_pool import WorkerDied
from mediamill.tasks.local.endpoints.transcription_reply import build_transcription_reply
from mediamill.tasks.local.endpoints.transcription_request import (
    TranscriptionRequest,
    read_transcription_request,
    read_translation_request,
)
from mediamill.tasks.local.endpoints.transcription_stream import encode_transcription_events
from mediamill.tasks.local.faults.fault_replies import EventStream
from mediamill.tasks.local.faults.spoiled_transcripts import spoil_transcript
from mediamill.tasks.local.server.api_error import ApiError, ErrorKind
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.middleware import PaidEndpoint, build_reply_headers
from mediamill.tasks.local.server.multipart_form import Form, parse_form
from mediamill.tasks.local.server.request_body import hash_json
from mediamill.tasks.local.server.server_state import RequestContext, ServerState
from mediamill.tasks.local.server.url_download import download

_MIN_SECONDS = Decimal("0.01")
_MAX_FORM_BYTES = 1024 * 1024
_LONG_SECONDS = 1800
_ERROR_KINDS: dict[str, ErrorKind] = {"too_long": "too_long"}


def _get_max_upload_bytes(state: ServerState, dialect: Dialect) -> int:
    return state.settings.max_bytes or dialect.max_bytes


async def _read_upload(_: ServerState, context: RequestContext) -> tuple[Form, Audio | None]:
    """Read the form and the uploaded file, if there is one; record their hashes on the call."""
    call, body = context.call, context.body
    call.body_sha256 = body.compute_sha256()
    form = parse_form(body.data, context.request.headers.get("Content-Type", ""))
    call.model = form.get("model")
    call.params_sha256 = hash_json(form.fields)
    part = form.files.get("file")
    if part is None:
        return form, None
    audio = body.extract_audio(part)
    call.file_sha256, context.filename = audio.sha256, audio.filename
    return form, audio


async def _answer_transcription(
    state: ServerState, context: RequestContext, upload: tuple[Form, Audio | None], *, translates: bool
) -> web.Response:
    call, dialect, catalog = context.call, context.dialect, state.catalog
    form, audio = upload
    if call.model in catalog.socket_only.get(dialect.name, ()):
        raise ApiError("bad_value", f"Model {call.model} only supports WebSocket streaming", param="model")
    known = catalog.asr[dialect.name]
    if translates:
        params = read_translation_request(form, dialect, catalog.translation[dialect.name], known)
    else:
        params = read_transcription_request(form, dialect, known)
    if audio is None:
        assert params.url is not None
        limit = state.settings.max_bytes or dialect.max_url_bytes
        audio = await download(params.url, state.settings.url_host, limit, context.body.cleanup)
        call.file_sha256 = audio.sha256
    elif audio.size > (limit := _get_max_upload_bytes(state, dialect)):
        raise ApiError("too_large", f"Maximum content size limit ({limit}) exceeded ({audio.size} bytes read)")
    transcript = spoil_transcript(await run_asr(state, dialect, audio, params), context.fault)
    state.limiter.charge_audio(float(transcript.seconds))
    tokens = params.model in catalog.token_usage and dialect.name == "openai"
    headers = build_reply_headers(state, context)
    build = partial(_build_reply, transcript, params, dialect, headers, context.request_id, tokens=tokens)
    reply = build() if transcript.seconds < _LONG_SECONDS else await asyncio.to_thread(build)
    if context.is_charged:
        operation = "translation" if translates else "transcription"
        state.prices.charge_audio(call, dialect.compute_billed_seconds(transcript.seconds), operation)
    return reply


def _build_reply(
    transcript: Transcript,
    params: TranscriptionRequest,
    dialect: Dialect,
    headers: Mapping[str, str],
    request_id: str,
    *,
    tokens: bool,
) -> web.Response:
    if params.stream:
        events = encode_transcription_events(transcript, params, dialect, tokens=tokens, request_id=request_id)
        return EventStream(events, {**headers, "content-type": "text/event-stream"})
    content, kind = build_transcription_reply(transcript, params, dialect, tokens=tokens, request_id=request_id)
    return web.Response(body=content, headers={"content-type": kind, **headers})


def _make_endpoint(*, translates: bool) -> PaidEndpoint[tuple[Form, Audio | None]]:
    return PaidEndpoint(
        _read_upload,
        partial(_answer_transcription, translates=translates),
        lambda state, dialect: _get_max_upload_bytes(state, dialect) + _MAX_FORM_BYTES,
        ("multipart/form-data", "application/json"),  # what is wrong with JSON is said in the provider's words
    )


TRANSCRIPTIONS = _make_endpoint(translates=False)
TRANSLATIONS = _make_endpoint(translates=True)


async def run_asr(state: ServerState, dialect: Dialect, audio: Audio, params: TranscriptionRequest) -> Transcript:
    """Check a recording and transcribe it.

    Raises:
        ApiError: when the recording or the request is refused, or the engine fails.
    """
    extension = audio.filename.rpartition(".")[2].lower()
    if extension not in dialect.containers and params.url is None:
        message = f"Invalid file format. Supported formats: {sorted(dialect.containers)}"
        raise ApiError("unsupported_format", message, param="file")
    engine = state.asr_engine
    if engine.languages is not None and (params.language or "en") not in engine.languages:
        known = ", ".join(sorted(engine.languages))
        raise ApiError("bad_value", f"the engine {engine.identity} recognises only: {known}", param="language")
    if params.to is not None and engine.targets is not None and params.to not in engine.targets:
        known = ", ".join(sorted(engine.targets)) or "nothing"
        raise ApiError("bad_value", f"the engine {engine.identity} translates to {known}, not to {params.to}")
    if params.diarize and not engine.speakers:
        raise ApiError("bad_value", f"the engine {engine.identity} cannot tell speakers apart", param="diarize")
    max_seconds = state.settings.max_seconds or dialect.max_seconds
    try:
        request = AsrRequest(params.language, params.to, params.prompt, params.temperature)
        transcript = await engine.transcribe(audio, request)
    except BadInput as error:
        if error.kind == "language":
            raise ApiError("bad_value", f"{engine.identity}: {error.message}", param="language") from None
        kind = _ERROR_KINDS.get(error.kind, "unsupported_format")
        raise ApiError(kind, f"The audio file could not be decoded: {error.message}", param="file") from None
    except WorkerDied as error:
        raise ApiError("failed", f"Processing failed: {error}") from None
    if max_seconds is not None and transcript.seconds > max_seconds:
        raise ApiError("too_long", f"Audio is longer than the {max_seconds:g} seconds allowed", param="file")
    if transcript.seconds < _MIN_SECONDS:
        raise ApiError("too_short", f"Audio file is too short. Minimum audio length is {_MIN_SECONDS} seconds.")
    return transcript
