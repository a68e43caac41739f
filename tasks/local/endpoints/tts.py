"""``POST audio/speech`` and xAI's ``POST tts``: from the request to the sound and the bill."""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from typing import Any

import orjson
from aiohttp import web

from mediamill.tasks.local.endpoints.tts_reply import render
from mediamill.tasks.local.endpoints.tts_request import Saying, parse_json, read_saying
from mediamill.tasks.local.server.api_error import Refusal
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.middleware import answered, sent
from mediamill.tasks.local.server.request_body import Body
from mediamill.tasks.local.server.server_state import (
    Desk,
    Exchange,
    bearer,
    entered,
    reply_headers,
)
from mediamill.tasks.local.tts_engines.base import Sound

_MOST_BYTES = 8 * 1024 * 1024
_SHAPES = {"openai": "openai", "compatible": "openai"}


async def speak(desk: Desk, request: web.BaseRequest, dialect: Dialect) -> web.StreamResponse:
    """Answer one request to speak, whatever it holds."""
    return await answered(desk, request, dialect, _MOST_BYTES, _answered)


async def _answered(desk: Desk, exchange: Exchange, body: Body) -> web.StreamResponse:
    call, dialect = exchange.call, exchange.dialect
    call.key_seen, call.body_sha256 = bool(bearer(exchange.request)), body.sha256()
    told = parse_json(bytes(body.data))
    _enter(exchange, told, next(iter(desk.speech_models[dialect.name]), None))
    fault, broken = await entered(desk, exchange)
    if broken is not None:
        return broken
    saying = read_saying(told, dialect, desk.speech_models[dialect.name])
    sound = await said(desk, dialect, saying)
    shape = desk.settings.stream_shape or _SHAPES.get(dialect.name, "chunk")
    content, kind = await asyncio.to_thread(render, sound, saying, shape)
    headers = {**reply_headers(desk, exchange, None), **speaker_headers(desk), "content-type": kind}
    reply = web.Response(body=content, headers=headers)
    if fault is None or fault.billed is not False:
        desk.bill.charge_characters(call, len(saying.text))
    return await sent(desk, exchange, fault, reply)


def speaker_headers(desk: Desk) -> dict[str, str]:
    """Who speaks, and whether it only pretends to."""
    return {
        "x-mediamill-engine": desk.speaker.identity,
        "x-mediamill-simulated": "true" if desk.speaker.simulated else "false",
    }


def _enter(exchange: Exchange, told: Any, model: str | None) -> None:
    """What the bill tells of a text: its hash in a file's place, and that of everything else that was asked for."""
    if not isinstance(told, dict):
        return
    rest = dict(told)
    text = rest.pop("text" if exchange.dialect.name == "xai" else "input", None)
    named = rest.get("model", model)
    exchange.call.model = named if isinstance(named, str) else None
    exchange.call.file_sha256 = hashlib.sha256(orjson.dumps(text)).hexdigest()
    exchange.call.params_sha256 = hashlib.sha256(orjson.dumps(rest, option=orjson.OPT_SORT_KEYS)).hexdigest()


async def said(desk: Desk, dialect: Dialect, saying: Saying) -> Sound:
    """Have a text said.

    Raises:
        Refusal: when it cannot be.
    """
    speaker = desk.speaker
    voice = saying.voice
    if voice is not None and speaker.voices and voice not in speaker.voices:
        if dialect.name == "local":
            known = ", ".join(speaker.voices)
            raise Refusal("bad_value", f"the engine {speaker.identity} has only the voices {known}", param="voice")
        voice = speaker.voices[zlib.crc32(voice.encode()) % len(speaker.voices)]
    try:
        sound = await speaker.speak(saying.text, voice, saying.speed)
    except (RuntimeError, TimeoutError, OSError) as error:
        raise Refusal("failed", f"Processing failed: {error}") from None
    return sound if sound.pcm else Sound(bytes(2 * sound.rate // 10), sound.rate)
