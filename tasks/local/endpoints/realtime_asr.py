"""Realtime transcription: Together's ``/v1/realtime``, vLLM's of the same name, and xAI's ``/v1/stt``."""

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
from mediamill.tasks.local.endpoints.transcription import run_asr
from mediamill.tasks.local.endpoints.transcription_request import TranscriptionRequest
from mediamill.tasks.local.faults.fault_rules import Fault
from mediamill.tasks.local.server.api_error import ApiError
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.middleware import simulate_latency
from mediamill.tasks.local.server.realtime_session import RealtimeSession, SessionClosed, serve_session
from mediamill.tasks.local.server.server_state import RequestContext, ServerState

_ITEM_PREFIX = "conversation.item.input_audio_transcription."
_RATE_BY_FORMAT = {"pcm_s16le_8000": 8_000, "pcm_s16le_16000": 16_000, "pcm_s16le_24000": 24_000}
_RATE_BY_FORMAT |= dict.fromkeys(("pcm16", "pcm_s16", "pcm_s16le"), 24_000)
"""Hz by name; the bare names mean 24 kHz (provider docs)."""

_DEFAULT_RATE = 16_000
_MAX_TURN_SECONDS = 5.0
"""Seconds after which turn detection ends a turn (provider docs: max_speech_duration_s)."""

_TURN_DETECTION = {
    "type": "server_vad",
    "threshold": 0.3,
    "min_silence_duration_ms": 500,
    "min_speech_duration_ms": 250,
    "max_speech_duration_s": _MAX_TURN_SECONDS,
    "speech_pad_ms": 250,
}
"""What turn detection is confirmed with where the client leaves a value out (provider docs)."""

_REPORT_SECONDS = 5.0
_MAX_BYTES = 128 * 2**20


async def serve_realtime_asr(state: ServerState, request: web.Request, *, dialect: Dialect) -> web.StreamResponse:
    """Answer a handshake and transcribe the session's audio."""
    run = {"compatible": _run_vllm_session, "xai": _run_xai_session}.get(dialect.name, _run_together_session)
    return await serve_session(state, request, dialect, _check_asr_settings, run)


def _check_asr_settings(state: ServerState, context: RequestContext) -> None:
    """Check that the model is known, and that the audio format exists."""
    query, dialect = context.request.query, context.dialect
    model = query.get("model")
    known = {*state.catalog.asr[dialect.name], *state.catalog.socket_only.get(dialect.name, ())}
    if dialect.strict and model not in known:
        raise ApiError("not_found", f"Model {model} not found", param="model")
    if dialect.name != "xai" and query.get("input_audio_format", "pcm_s16le_16000") not in _RATE_BY_FORMAT:
        raise ApiError("bad_value", f"must be one of {sorted(_RATE_BY_FORMAT)}", param="input_audio_format")


class _AudioBuffer:
    """The audio of a session that waits for a commit, and its transcription."""

    def __init__(self, session: RealtimeSession, rate: int) -> None:
        self.session = session
        self.rate = rate
        self.pcm = bytearray()
        self.consumed_seconds = 0.0
        self.prompt: Any = None

    @property
    def seconds(self) -> float:
        """Length of the audio that waits for a commit."""
        return len(self.pcm) / 2 / self.rate

    def append(self, pcm: bytes) -> None:
        """Append audio.

        Raises:
            ApiError: when too much waits for a commit.
        """
        self.pcm += pcm
        maximum = self.session.state.settings.max_bytes or _MAX_BYTES
        if len(self.pcm) > maximum:
            raise ApiError("too_large", f"more than {maximum} bytes were appended without a commit")

    async def transcribe(self, failure_type: str, seconds: float | None = None) -> Transcript | None:
        """Transcribe the first ``seconds`` of the waiting audio, or all of it; None without audio or after a fault.

        Raises:
            SessionClosed: when a fault ended the session.
            ApiError: when the engine cannot transcribe it.
        """
        size = len(self.pcm) if seconds is None else 2 * int(seconds * self.rate)
        pcm = bytes(self.pcm[:size])
        del self.pcm[:size]
        session = self.session
        session.record_commit(pcm, self.prompt)
        fault = session.take_fault()
        if fault is not None:
            await asyncio.sleep(fault.delay)
            if not fault.needs_reply:
                await session.apply_fault(fault, failure_type)
                return None
        if not pcm:
            return None
        transcript = await self._transcribe_pcm(pcm)
        if fault is None or fault.billed is not False:
            dialect = session.context.dialect
            billed_seconds = dialect.compute_billed_seconds(transcript.seconds)
            operation = "realtime" if dialect.name == "xai" else "transcription"
            session.state.prices.charge_audio(session.context.call, billed_seconds, operation)
        if fault is not None and fault.kind != "delay":
            await self._send_first_half(fault, transcript, failure_type)
            return None
        session.settle()
        return transcript

    async def _send_first_half(self, fault: Fault, transcript: Transcript, failure_type: str) -> None:
        """Send the beginning of an answer where the fault breaks in its middle, then apply the fault."""
        if fault.kind in ("reset_mid_body", "short_body"):
            await self.session.send(
                _ITEM_PREFIX + "delta", item_id=self.session.next_item_id(), delta=transcript.text[:8]
            )
            await asyncio.sleep(0.05)
        await self.session.apply_fault(fault, failure_type)

    async def _transcribe_pcm(self, pcm: bytes) -> Transcript:
        session = self.session
        wav = _to_wav(pcm, self.rate)
        audio = Audio("socket.wav", len(wav), hashlib.sha256(wav).hexdigest(), data=wav)
        language = session.query.get("language")
        language = None if language in (None, "", "auto") else language
        model = session.query.get("model") or ""
        prompt = self.prompt if isinstance(self.prompt, str) else None
        params = TranscriptionRequest(
            model, "json", language, words=True, segments=True, diarize=False, url=None, prompt=prompt
        )
        transcript = await run_asr(session.state, session.context.dialect, audio, params)
        session.state.limiter.charge_audio(float(transcript.seconds))
        await simulate_latency(session.state, session.context)
        return transcript


def _to_wav(pcm: bytes, rate: int) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm[: len(pcm) // 2 * 2])
    return buffer.getvalue()


async def _run_together_session(session: RealtimeSession) -> None:
    """Together's session (provider docs): a commit ends a turn, and so does turn detection unless it is off."""
    together = _TogetherSession(session)
    description = {"id": session.id, "object": "realtime.session", "modalities": ["audio"]}
    description["model"] = session.query.get("model")
    await session.send("session.created", event_id="event_1", session=description)
    async for message in session.receive_messages():
        if isinstance(message, bytes):
            await session.socket.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"binary frames are not taken")
            return
        await together.handle_message(message)


class _TogetherSession:
    """Handles the client's messages; unknown ones are ignored."""

    def __init__(self, session: RealtimeSession) -> None:
        rate = _RATE_BY_FORMAT[session.query.get("input_audio_format", "pcm_s16le_16000")]
        self._session = session
        self._buffer = _AudioBuffer(session, rate)
        self._detects_turns = session.query.get("turn_detection", "server_vad") != "none"
        self._reported_seconds = 0.0

    async def handle_message(self, message: dict[str, Any]) -> None:
        """Handle a message."""
        match message.get("type"):
            case "input_audio_buffer.append":
                await self._append_audio(_decode_audio(message.get("audio")))
            case "input_audio_buffer.commit":
                await self._finish_turn(None)
            case "input_audio_buffer.clear":
                self._buffer.pcm.clear()
            case "transcription_session.updated":
                await self._update_settings(message.get("session"))
            case "echo":
                await self._session.send("echo.response", echo_id=message.get("echo_id"))

    async def _append_audio(self, pcm: bytes) -> None:
        buffer = self._buffer
        buffer.append(pcm)
        while self._detects_turns and buffer.seconds >= _MAX_TURN_SECONDS:
            await self._finish_turn(_MAX_TURN_SECONDS)
        if (
            buffer.consumed_seconds + buffer.seconds - self._reported_seconds >= _REPORT_SECONDS
        ):  # it counts committed audio only
            self._reported_seconds = buffer.consumed_seconds + buffer.seconds
            await self._report_processed()

    async def _update_settings(self, given: Any) -> None:
        given = given if isinstance(given, dict) else {}
        self._buffer.prompt = given.get("prompt", self._buffer.prompt)
        settings = dict(given)
        if "turn_detection" in given:
            detection = given["turn_detection"]
            self._detects_turns = detection is not None
            if isinstance(detection, dict):
                settings["turn_detection"] = {**_TURN_DETECTION, **detection}
        await self._session.send("transcription_session.updated", session=settings)

    async def _finish_turn(self, seconds: float | None) -> None:
        """Send one turn: deltas, each of which replaces the one before, then the whole text; nothing for silence."""
        session, buffer = self._session, self._buffer
        start, duration = buffer.consumed_seconds, buffer.seconds if seconds is None else seconds
        buffer.consumed_seconds += duration
        transcript = await buffer.transcribe(_ITEM_PREFIX + "failed", seconds)
        if transcript is not None and transcript.text:
            item_id = session.next_item_id()
            words = transcript.text.split()
            for count in sorted({max(1, len(words) // 2), len(words)}):
                await session.send(_ITEM_PREFIX + "delta", item_id=item_id, delta=" ".join(words[:count]))
            utterance = {"transcript": transcript.text, "start": round(start, 6), "duration": round(duration, 6)}
            await session.send(_ITEM_PREFIX + "completed", item_id=item_id, **utterance)
        await self._report_processed()

    async def _report_processed(self) -> None:
        await self._session.send(
            "input_audio_buffer.processed", processed_ms=round(self._buffer.consumed_seconds * 1000, 3)
        )


async def _run_vllm_session(session: RealtimeSession) -> None:
    """The session of vLLM (its docs): a commit starts it, a final commit ends it."""
    buffer = _AudioBuffer(session, _DEFAULT_RATE)
    await session.send("session.created", id=session.id, created=0)
    model = None
    async for message in session.receive_messages():
        fields = {} if isinstance(message, bytes) else message
        match fields.get("type"):
            case "session.update":
                model = fields.get("model")
            case "input_audio_buffer.append":
                buffer.append(_decode_audio(fields.get("audio")))
            case "input_audio_buffer.commit" if model is None:
                raise ApiError("missing_field", "the session has no model", param="model")
            case "input_audio_buffer.commit" if fields.get("final"):
                transcript = await buffer.transcribe("error")
                text = transcript.text if transcript else ""
                if transcript is not None or not session.muted:
                    for word in text.split():
                        await session.send("transcription.delta", delta=word + " ")
                    await session.send("transcription.done", text=text, usage={"type": "duration"})


async def _run_xai_session(session: RealtimeSession) -> None:
    """The session of xAI (provider docs); after the last message the connection is closed without a close frame."""
    rate = int(session.query.get("sample_rate") or _DEFAULT_RATE)
    buffer = _AudioBuffer(session, rate)
    await session.send("transcript.created")
    async for message in session.receive_messages():
        if isinstance(message, bytes):
            buffer.append(message)
        elif message.get("type") == "audio.done":
            duration = buffer.seconds
            transcript = await buffer.transcribe("error")
            if session.muted:
                continue
            if transcript is not None and transcript.text:
                words = [{"text": w.word, "start": w.start, "end": w.end} for w in transcript.words]
                final = {"is_final": True, "speech_final": True, "start": 0.0, "duration": duration}
                await session.send("transcript.partial", text=transcript.text, words=words, **final)
            text = transcript.text if transcript else ""
            await session.send("transcript.done", text=text, duration=float(Decimal(str(duration))))
            if session.context.request.transport is not None:
                session.context.request.transport.close()
            raise SessionClosed


def _decode_audio(encoded: Any) -> bytes:
    try:
        return b64decode(encoded, validate=True)
    except (ValueError, TypeError):
        raise ApiError("bad_value", "audio is not base64", param="audio") from None
