"""The socket that speaks: Together's ``/v1/audio/speech/websocket``."""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from aiohttp import WSCloseCode, web

from mediamill.tasks.local.endpoints.tts import said, speaker_headers
from mediamill.tasks.local.endpoints.tts_reply import resampled
from mediamill.tasks.local.endpoints.tts_request import Saying, read_saying
from mediamill.tasks.local.server.api_error import Refusal
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.server_state import Desk, Exchange, dwell
from mediamill.tasks.local.server.websocket_session import Session, converse

_RATE = 24_000
_CHUNK = 1 << 15
_SENTENCES = re.compile(r"(?<=[.!?])\s+")
_FAILED = "conversation.item.tts.failed"


async def talk(desk: Desk, request: web.BaseRequest, dialect: Dialect) -> web.StreamResponse:
    """Answer a handshake for speaking."""
    return await converse(desk, request, dialect, _check, _speak, speaker_headers(desk))


def _check(desk: Desk, exchange: Exchange) -> None:
    model = exchange.request.query.get("model")
    if exchange.dialect.strict and model not in desk.speech_models[exchange.dialect.name]:
        raise Refusal("not_found", f"Model {model} not found", param="model")


async def _speak(session: Session) -> None:
    """Texts are appended, a commit has them said; a sentence is an item, unless ``segment=never``."""
    text, voice = "", session.query.get("voice")
    await session.say("session.created", session={"id": session.id, "object": "realtime.tts.session"})
    async for message in session.messages():
        if isinstance(message, bytes):
            await session.socket.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"binary frames are not taken")
            return
        kind = message.get("type")
        if kind == "input_text_buffer.append":
            text += str(message.get("text") or "")
            await session.say("conversation.item.input_text.received", text=message.get("text"))
        elif kind == "input_text_buffer.clear":
            text = ""
        elif kind == "tts_session.updated":
            given = message.get("session")
            voice = given.get("voice", voice) if isinstance(given, dict) else voice
        elif kind == "input_text_buffer.commit" and text.strip():
            await _commit(session, text, voice)
            text = ""


async def _commit(session: Session, text: str, voice: str | None) -> None:
    desk = session.desk
    session.enter(text.encode("utf-8", "surrogatepass"), voice)
    fault = session.strike()
    if fault is not None:
        await asyncio.sleep(fault.delay)
        if not fault.computed:
            await session.broken(fault, _FAILED)
            return
    try:
        saying = _saying(session, text, voice)
        sound = await said(desk, session.exchange.dialect, saying)
    except Refusal as refusal:
        _, body = session.exchange.dialect.error(refusal, session.exchange.request_id)
        session.settle()
        await session.say(_FAILED, error=body["error"])
        return
    pcm = await asyncio.to_thread(resampled, sound, saying.rate or _RATE)
    await dwell(desk, session.exchange)
    if fault is None or fault.billed is not False:
        desk.bill.charge_characters(session.exchange.call, len(text))
    if fault is not None and fault.kind != "delay":
        if fault.kind in ("reset_mid_body", "short_body"):
            await _delta(session, session.item(), pcm[: len(pcm) // 4 * 2])
            await asyncio.sleep(0.05)
        await session.broken(fault, _FAILED)
        return
    session.settle()
    await _sound(session, text, pcm)


async def _sound(session: Session, text: str, pcm: bytes) -> None:
    whole = session.query.get("segment") == "never"
    parts = [text] if whole else [part for part in _SENTENCES.split(text.strip()) if part]
    share = len(pcm) // 2 // len(parts) * 2
    for n, part in enumerate(parts):
        item = session.item()
        mine = pcm[n * share : (n + 1) * share if n + 1 < len(parts) else len(pcm)]
        for at in range(0, len(mine), _CHUNK):
            await _delta(session, item, mine[at : at + _CHUNK])
        words = part.split()
        times = [round(0.3 * m, 3) for m in range(len(words) + 1)]
        stamps = {"words": words, "start_seconds": times[:-1], "end_seconds": times[1:]}
        await session.say("conversation.item.word_timestamps", item_id=item, **stamps)
        await session.say("conversation.item.audio_output.done", item_id=item)


async def _delta(session: Session, item: str, pcm: bytes) -> None:
    await session.say("conversation.item.audio_output.delta", item_id=item, delta=b64encode(pcm).decode())


def _saying(session: Session, text: str, voice: str | None) -> Saying:
    """The same request as JSON, so that the same rules hold."""
    query = session.query
    told: dict[str, Any] = {"model": query.get("model"), "input": text, "voice": voice, "response_format": "pcm"}
    told["sample_rate"] = _number(query, "sample_rate", int) or _RATE
    if "speed" in query:
        told["speed"] = _number(query, "speed", float)
    return read_saying(told, session.exchange.dialect, session.desk.speech_models[session.exchange.dialect.name])


def _number(query: Mapping[str, str], name: str, kind: Any) -> Any:
    try:
        return kind(query[name]) if name in query else None
    except ValueError:
        raise Refusal("bad_value", "must be a number", param=name) from None
