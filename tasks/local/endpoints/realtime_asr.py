"""Sockets that hear: Together's ``/v1/realtime``, vLLM's of the same name, and xAI's ``/v1/stt``."""

from __future__ import annotations

import asyncio
import hashlib
import io
import wave
from base64 import b64decode
from decimal import Decimal
from typing import Any

from aiohttp import WSCloseCode, web

from mediamill.tasks.local.asr_engines.base import Audio, Transcript
from mediamill.tasks.local.endpoints.transcription import heard
from mediamill.tasks.local.endpoints.transcription_request import Asked
from mediamill.tasks.local.faults.fault_rules import Fault
from mediamill.tasks.local.server.api_error import Refusal
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.server_state import Desk, Exchange, dwell
from mediamill.tasks.local.server.websocket_session import HungUp, Session, converse

_ITEM = "conversation.item.input_audio_transcription."
_FORMATS = {"pcm_s16le_8000": 8_000, "pcm_s16le_16000": 16_000, "pcm_s16le_24000": 24_000}
_FORMATS |= dict.fromkeys(("pcm16", "pcm_s16", "pcm_s16le"), 24_000)
"""Hz by name; the bare names mean 24 kHz (provider docs)."""

_RATE = 16_000
_LONGEST_TURN = 5.0
"""Seconds after which turn detection ends a turn (provider docs: max_speech_duration_s)."""

_TOLD = 5.0
_MOST_BYTES = 512 * 2**20


async def listen(desk: Desk, request: web.BaseRequest, dialect: Dialect) -> web.StreamResponse:
    """Answer a handshake for hearing."""
    hold = {"compatible": _vllm, "xai": _xai}.get(dialect.name, _together)
    return await converse(desk, request, dialect, _check, hold)


def _check(desk: Desk, exchange: Exchange) -> None:
    """The model must be one that can be heard here; the rate one that exists."""
    query, dialect = exchange.request.query, exchange.dialect
    model = query.get("model")
    known = {*desk.models[dialect.name], *desk.socket_models.get(dialect.name, ())}
    if dialect.strict and model not in known:
        raise Refusal("not_found", f"Model {model} not found", param="model")
    if dialect.name != "xai" and query.get("input_audio_format", "pcm_s16le_16000") not in _FORMATS:
        raise Refusal("bad_value", f"must be one of {sorted(_FORMATS)}", param="input_audio_format")


class _Listener:
    """The sound of a session, and what is made of it."""

    def __init__(self, session: Session, rate: int) -> None:
        self.session = session
        self.rate = rate
        self.sound = bytearray()
        self.consumed = 0.0
        self.prompt: Any = None

    @property
    def seconds(self) -> float:
        """Of the sound that waits for a commit."""
        return len(self.sound) / 2 / self.rate

    def take(self, sound: bytes) -> None:
        """More of it.

        Raises:
            Refusal: when it is too much.
        """
        self.sound += sound
        most = self.session.desk.settings.max_bytes or _MOST_BYTES
        if len(self.sound) > most:
            raise Refusal("too_large", f"more than {most} bytes were appended without a commit")

    async def hear(self, failed: str, seconds: float | None = None) -> Transcript | None:
        """What was said in the first ``seconds`` of what waits, or in all of it; None when nothing waits.

        Raises:
            HungUp: when a fault ended it.
            Refusal: when the engine cannot.
        """
        size = len(self.sound) if seconds is None else 2 * int(seconds * self.rate)
        pcm = bytes(self.sound[:size])
        del self.sound[:size]
        session = self.session
        session.enter(pcm, self.prompt)
        fault = session.strike()
        if fault is not None:
            await asyncio.sleep(fault.delay)
            if not fault.computed:
                await session.broken(fault, failed)
                return None
        if not pcm:
            return None
        transcript = await self._heard(pcm)
        if fault is None or fault.billed is not False:
            dialect = session.exchange.dialect
            session.desk.bill.charge(session.exchange.call, dialect.billed_seconds(transcript.seconds))
        if fault is not None and fault.kind != "delay":
            await self._interrupted(fault, transcript, failed)
            return None
        session.settle()
        return transcript

    async def _interrupted(self, fault: Fault, transcript: Transcript, failed: str) -> None:
        """The first half of an answer, and then none."""
        if fault.kind in ("reset_mid_body", "short_body"):
            await self.session.say(_ITEM + "delta", item_id=self.session.item(), delta=transcript.text[:8])
            await asyncio.sleep(0.05)
        await self.session.broken(fault, failed)

    async def _heard(self, pcm: bytes) -> Transcript:
        session = self.session
        wav = _wav(pcm, self.rate)
        audio = Audio("socket.wav", len(wav), hashlib.sha256(wav).hexdigest(), data=wav)
        language = session.query.get("language")
        language = None if language in (None, "", "auto") else language
        model = session.query.get("model") or ""
        asked = Asked(model, "json", language, words=True, segments=True, diarize=False, url=None)
        transcript = await heard(session.desk, session.exchange.dialect, audio, asked)
        session.desk.limiter.charge(float(transcript.seconds))
        await dwell(session.desk, session.exchange)
        return transcript


def _wav(pcm: bytes, rate: int) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm[: len(pcm) // 2 * 2])
    return buffer.getvalue()


async def _together(session: Session) -> None:
    """Together's session (provider docs): turns end by themselves unless detection is off, and with every commit."""
    talk = _TogetherTalk(session)
    about = {"id": session.id, "object": "realtime.session", "model": session.query.get("model")}
    await session.say("session.created", event_id="event_1", session=about)
    async for message in session.messages():
        if isinstance(message, bytes):
            await session.socket.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"binary frames are not taken")
            return
        await talk.take(message)


class _TogetherTalk:
    """What the client's messages do; those that are not known do nothing."""

    def __init__(self, session: Session) -> None:
        rate = _FORMATS[session.query.get("input_audio_format", "pcm_s16le_16000")]
        self._session = session
        self._listener = _Listener(session, rate)
        self._detects = session.query.get("turn_detection", "server_vad") != "none"
        self._told = 0.0

    async def take(self, message: dict[str, Any]) -> None:
        """Do what a message says."""
        match message.get("type"):
            case "input_audio_buffer.append":
                await self._append(_decoded(message.get("audio")))
            case "input_audio_buffer.commit":
                await self._turn(None)
            case "input_audio_buffer.clear":
                self._listener.sound.clear()
            case "transcription_session.updated":
                await self._update(message.get("session"))
            case "echo":
                await self._session.say("echo.response", echo_id=message.get("echo_id"))

    async def _append(self, sound: bytes) -> None:
        listener = self._listener
        listener.take(sound)
        while self._detects and listener.seconds >= _LONGEST_TURN:
            await self._turn(_LONGEST_TURN)
        if listener.consumed + listener.seconds - self._told >= _TOLD:  # nothing is read ahead of its commit
            self._told = listener.consumed + listener.seconds
            await self._processed()

    async def _update(self, given: Any) -> None:
        given = given if isinstance(given, dict) else {}
        self._listener.prompt = given.get("prompt", self._listener.prompt)
        if "turn_detection" in given:
            self._detects = given["turn_detection"] is not None
        await self._session.say("transcription_session.updated", session=given)

    async def _turn(self, seconds: float | None) -> None:
        """One utterance: deltas, each in the place of the one before, then the whole. Of silence nothing is told."""
        session, listener = self._session, self._listener
        start, duration = listener.consumed, listener.seconds if seconds is None else seconds
        listener.consumed += duration
        transcript = await listener.hear(_ITEM + "failed", seconds)
        if transcript is not None and transcript.text:
            item = session.item()
            words = transcript.text.split()
            for count in sorted({max(1, len(words) // 2), len(words)}):
                await session.say(_ITEM + "delta", item_id=item, delta=" ".join(words[:count]))
            told = {"transcript": transcript.text, "start": round(start, 6), "duration": round(duration, 6)}
            await session.say(_ITEM + "completed", item_id=item, **told)
        await self._processed()

    async def _processed(self) -> None:
        await self._session.say("input_audio_buffer.processed", processed_ms=round(self._listener.consumed * 1000, 3))


async def _vllm(session: Session) -> None:
    """The session of vLLM (its docs): a commit starts it, a final one ends it."""
    listener = _Listener(session, _RATE)
    await session.say("session.created", id=session.id, created=0)
    model = None
    async for message in session.messages():
        kind = {} if isinstance(message, bytes) else message
        match kind.get("type"):
            case "session.update":
                model = kind.get("model")
            case "input_audio_buffer.append":
                listener.take(_decoded(kind.get("audio")))
            case "input_audio_buffer.commit" if model is None:
                raise Refusal("missing_field", "the session has no model", param="model")
            case "input_audio_buffer.commit" if kind.get("final"):
                transcript = await listener.hear("error")
                text = transcript.text if transcript else ""
                if transcript is not None or not session.mute:
                    for word in text.split():
                        await session.say("transcription.delta", delta=word + " ")
                    await session.say("transcription.done", text=text, usage={"type": "duration"})


async def _xai(session: Session) -> None:
    """The session of xAI (provider docs); after its last message the connection is dropped without a goodbye."""
    rate = int(session.query.get("sample_rate") or _RATE)
    listener = _Listener(session, rate)
    await session.say("transcript.created")
    async for message in session.messages():
        if isinstance(message, bytes):
            listener.take(message)
        elif message.get("type") == "audio.done":
            duration = listener.seconds
            transcript = await listener.hear("error")
            if session.mute:
                continue
            if transcript is not None and transcript.text:
                words = [{"text": w.word, "start": w.start, "end": w.end} for w in transcript.words]
                final = {"is_final": True, "speech_final": True, "start": 0.0, "duration": duration}
                await session.say("transcript.partial", text=transcript.text, words=words, **final)
            text = transcript.text if transcript else ""
            await session.say("transcript.done", text=text, duration=float(Decimal(str(duration))))
            if session.exchange.request.transport is not None:
                session.exchange.request.transport.close()
            raise HungUp


def _decoded(coded: Any) -> bytes:
    try:
        return b64decode(coded, validate=True)
    except (ValueError, TypeError):
        raise Refusal("bad_value", "audio is not base64", param="audio") from None
