"""Realtime text to speech: Together's ``/v1/audio/speech/websocket``."""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from aiohttp import WSCloseCode, web

from mediamill.tasks.local.endpoints.tts import synthesize
from mediamill.tasks.local.endpoints.tts_reply import encode_audio, resample
from mediamill.tasks.local.endpoints.tts_request import TtsRequest, read_tts_request
from mediamill.tasks.local.server.api_error import ApiError
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.middleware import build_engine_headers, simulate_latency
from mediamill.tasks.local.server.realtime_session import RealtimeSession, read_session_model, serve_session
from mediamill.tasks.local.server.server_state import RequestContext, ServerState

_DEFAULT_RATE = 24_000
_CHUNK_BYTES = 1 << 15
_SENTENCES = re.compile(r"(?<=[.!?])\s+")
_FAILURE_TYPE = "conversation.item.tts.failed"


async def serve_realtime_tts(state: ServerState, request: web.Request, *, dialect: Dialect) -> web.StreamResponse:
    """Answer a handshake and speak the session's texts."""
    return await serve_session(
        state, request, dialect, _check_tts_settings, _run_tts_session, build_engine_headers(state.tts_engine)
    )


def _check_tts_settings(state: ServerState, context: RequestContext) -> None:
    model = read_session_model(context.request.query)
    if context.dialect.strict and model not in state.catalog.tts[context.dialect.name]:
        raise ApiError("not_found", f"Model {model} not found", param="model")


async def _run_tts_session(session: RealtimeSession) -> None:
    """Texts are appended, a commit speaks them; each sentence is an item, unless ``segment=never``.

    The provider's examples read until the server ends the session, so one in which nothing more comes is ended.
    """
    text, voice = "", session.query.get("voice")
    max_characters = _read_query_number(session.query, "max_partial_length", int)
    description: dict[str, Any] = {"id": session.id, "object": "realtime.tts.session", "modalities": ["text", "audio"]}
    description |= {"model": read_session_model(session.query), "voice": voice}
    await session.send("session.created", event_id="event_1", session=description)
    async for message in session.receive_messages(session.state.settings.idle_seconds):
        if isinstance(message, bytes):
            await session.socket.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"binary frames are not taken")
            return
        kind = message.get("type")
        if kind == "input_text_buffer.append":
            text += str(message.get("text") or "")
            await session.send("conversation.item.input_text.received", text=message.get("text"))
            if max_characters is not None and len(text) >= max_characters and text.strip():
                await _speak_commit(session, text, voice)
                text = ""
        elif kind == "input_text_buffer.clear":
            text = ""
        elif kind == "tts_session.updated":
            given = message.get("session")
            voice = given.get("voice", voice) if isinstance(given, dict) else voice
        elif kind == "input_text_buffer.commit" and text.strip():
            await _speak_commit(session, text, voice)
            text = ""


async def _speak_commit(session: RealtimeSession, text: str, voice: str | None) -> None:
    state = session.state
    session.record_commit(text.encode("utf-8", "surrogatepass"), voice)
    fault = session.take_fault()
    if fault is not None:
        await asyncio.sleep(fault.delay)
        if not fault.needs_reply:
            await session.apply_fault(fault, _FAILURE_TYPE)
            return
    try:
        params = _read_session_request(session, text, voice)
        audio = await synthesize(state, session.context.dialect, params)
    except ApiError as api_error:
        _, body = session.context.dialect.format_error(api_error, session.context.request_id)
        session.settle()
        await session.send(_FAILURE_TYPE, error=body["error"])
        return
    pcm = await asyncio.to_thread(resample, audio, params.sample_rate or _DEFAULT_RATE)
    await simulate_latency(state, session.context)
    if fault is None or fault.billed is not False:
        state.prices.charge_characters(session.context.call, len(text))
    if fault is not None and fault.kind != "delay":
        if fault.kind in ("reset_mid_body", "short_body"):
            await _send_audio_delta(session, session.next_item_id(), pcm[: len(pcm) // 4 * 2])
            await asyncio.sleep(0.05)
        await session.apply_fault(fault, _FAILURE_TYPE)
        return
    session.settle()
    await _send_audio(session, text, pcm, params)


async def _send_audio(session: RealtimeSession, text: str, pcm: bytes, params: TtsRequest) -> None:
    as_one_item = session.query.get("segment") == "never"
    parts = [text] if as_one_item else [part for part in _SENTENCES.split(text.strip()) if part]
    part_bytes = len(pcm) // 2 // len(parts) * 2
    for n, part in enumerate(parts):
        item_id = session.next_item_id()
        part_pcm = pcm[n * part_bytes : (n + 1) * part_bytes if n + 1 < len(parts) else len(pcm)]
        rate = params.sample_rate or _DEFAULT_RATE
        data = await asyncio.to_thread(encode_audio, part_pcm, rate, params.audio_format)
        for at in range(0, len(data), _CHUNK_BYTES):
            await _send_audio_delta(session, item_id, data[at : at + _CHUNK_BYTES])
        words = part.split()
        times = [round(0.3 * m, 3) for m in range(len(words) + 1)]
        stamps = {"words": words, "start_seconds": times[:-1], "end_seconds": times[1:]}
        await session.send("conversation.item.word_timestamps", item_id=item_id, **stamps)
        await session.send("conversation.item.audio_output.done", item_id=item_id)


async def _send_audio_delta(session: RealtimeSession, item_id: str, pcm: bytes) -> None:
    await session.send("conversation.item.audio_output.delta", item_id=item_id, delta=b64encode(pcm).decode())


def _read_session_request(session: RealtimeSession, text: str, voice: str | None) -> TtsRequest:
    """The session's settings as a JSON request, so that the same rules apply."""
    query = session.query
    fields: dict[str, Any] = {"model": read_session_model(query), "input": text, "voice": voice}
    fields["response_format"] = query.get("response_format") or "pcm"
    fields["sample_rate"] = _read_query_number(query, "sample_rate", int) or _DEFAULT_RATE
    if "speed" in query:
        fields["speed"] = _read_query_number(query, "speed", float)
    return read_tts_request(fields, session.context.dialect, session.state.catalog.tts[session.context.dialect.name])


def _read_query_number(query: Mapping[str, str], name: str, convert: Any) -> Any:
    try:
        return convert(query[name]) if name in query else None
    except ValueError:
        raise ApiError("bad_value", "must be a number", param=name) from None
