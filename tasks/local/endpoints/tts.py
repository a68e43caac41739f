"""``POST audio/speech`` and xAI's ``POST tts``: reads the request, speaks the text, charges for it."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any

from aiohttp import web

from mediamill.tasks.local.endpoints.tts_reply import build_tts_reply
from mediamill.tasks.local.endpoints.tts_request import TtsRequest, read_tts_request
from mediamill.tasks.local.server.api_error import ApiError
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.middleware import PaidEndpoint, build_engine_headers, build_reply_headers
from mediamill.tasks.local.server.request_body import hash_json
from mediamill.tasks.local.server.server_state import RequestContext, ServerState
from mediamill.tasks.local.tts_engines.base import PcmAudio

_MAX_BYTES = 8 * 1024 * 1024
_STREAM_SHAPES = {"openai": "openai", "compatible": "openai"}


async def _read_tts_body(state: ServerState, context: RequestContext) -> Any:
    """Read the request's JSON; the bill gets the text's hash as ``file_sha256``, and that of all other fields."""
    call, dialect = context.call, context.dialect
    call.body_sha256 = context.body.compute_sha256()
    fields = context.body.parse_json()
    if isinstance(fields, dict):
        rest = dict(fields)
        text = rest.pop("text" if dialect.name == "xai" else "input", None)
        model = rest.get("model", next(iter(state.catalog.tts[dialect.name]), None))
        call.model = model if isinstance(model, str) else None
        call.file_sha256 = hash_json(text)
        call.params_sha256 = hash_json(rest)
    return fields


async def _answer_tts(state: ServerState, context: RequestContext, fields: Any) -> web.Response:
    dialect = context.dialect
    params = read_tts_request(fields, dialect, state.catalog.tts[dialect.name])
    audio = await synthesize(state, dialect, params)
    shape = state.settings.stream_shape or _STREAM_SHAPES.get(dialect.name, "chunk")
    content, kind = await asyncio.to_thread(build_tts_reply, audio, params, shape)
    headers = {**build_reply_headers(state, context), **build_engine_headers(state.tts_engine), "content-type": kind}
    if context.is_charged:
        state.prices.charge_characters(context.call, len(params.text))
    return web.Response(body=content, headers=headers)


TTS = PaidEndpoint(_read_tts_body, _answer_tts, lambda *_: _MAX_BYTES)


async def synthesize(state: ServerState, dialect: Dialect, params: TtsRequest) -> PcmAudio:
    """Speak a text; silence of 0.1 s when there is nothing to speak.

    Raises:
        ApiError: when the voice is unknown, or the engine fails.
    """
    engine = state.tts_engine
    voice = params.voice
    if voice is not None and engine.voices and voice not in engine.voices:
        if dialect.name == "local":
            known = ", ".join(engine.voices)
            raise ApiError("bad_value", f"the engine {engine.identity} has only the voices {known}", param="voice")
        voice = engine.voices[zlib.crc32(voice.encode()) % len(engine.voices)]
    try:
        audio = await engine.speak(params.text, voice, params.speed)
    except (RuntimeError, TimeoutError, OSError) as error:
        raise ApiError("failed", f"Processing failed: {error}") from None
    return audio if audio.pcm else PcmAudio(bytes(2 * audio.sample_rate // 10), audio.sample_rate)
