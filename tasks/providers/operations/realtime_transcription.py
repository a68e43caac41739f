"""Sessions in which sound goes out and a transcript comes back, in each provider's messages."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from mediamill.tasks.domain import JSON, Ask, Payload
from mediamill.tasks.errors import BadInput
from mediamill.tasks.providers.operations.realtime import SocketConfig, decode_message, encode_message
from mediamill.tasks.websocket_session import MessageFlags

RATE = 16_000
BYTES_A_SECOND = 2 * RATE
"""Of 16-bit mono samples: what every session here sends."""

_END = 0.25
"""Seconds before the end of the sound that count as its end."""

_ITEM = "conversation.item.input_audio_transcription."
_COMPLETED = _ITEM + "completed"
_FAILED = _ITEM + "failed"
PAID = frozenset({_COMPLETED, "transcript.partial", "transcript.done", "transcription.done"})
"""Messages after which something was heard."""
FAILED = frozenset({_FAILED, "error"})
"""Messages that say that nothing will be."""
_DELTA = _ITEM + "delta"
_PARTIAL = "delta"


class TranscriptionSession:
    """What the three wires share: sound in slices of a second, and nothing said before the session is there."""

    waits_for_ready = True
    chunk_bytes = BYTES_A_SECOND

    def __init__(self, sound: Payload, socket: SocketConfig, params: Mapping[str, Any]) -> None:
        self.audio: Payload | None = sound
        self._socket = socket
        self._params = params
        self._seconds = sound.size / BYTES_A_SECOND
        self._sent = 0.0
        self._closed = False

    def opening_messages(self) -> Sequence[str]:
        """Nothing, unless the wire wants something."""
        return ()

    def encode_chunk(self, audio: bytes) -> str | bytes:
        """Sound in base64 (provider docs)."""
        self._sent += len(audio) / BYTES_A_SECOND
        return encode_message("input_audio_buffer.append", audio=b64encode(audio).decode())

    def can_send(self) -> bool:
        """Always, where the server does not say how far it is."""
        return True

    def max_silence_seconds(self) -> float | None:
        """For ever, where a message says that it is over."""
        return None

    def is_complete(self) -> bool:
        """Never, where a message says that it is over."""
        return False


class TogetherSession(TranscriptionSession):
    """Together's session with turn detection off: one commit, after which what was heard is told (provider docs).

    Nothing says that all is told: a commit may bring one transcript, several, or, of silence, none. It is over
    when a transcript or the server's own progress reaches the end of the sound, or, after the server has shown
    by an echo that it has read the commit, when it stays silent. A delta replaces the one before; with one
    under way silence proves nothing.
    """

    def __init__(self, sound: Payload, socket: SocketConfig, params: Mapping[str, Any]) -> None:
        super().__init__(sound, socket, params)
        self._open: set[str] = set()
        self._answered = self._alive = False
        self._reached = 0.0
        self._processed: float | None = None

    def opening_messages(self) -> Sequence[str]:
        """The prompt belongs to the session (provider docs: the server listens for ``updated``)."""
        prompt = self._params.get("prompt")
        return (encode_message("transcription_session.updated", session={"prompt": prompt}),) if prompt else ()

    def closing_messages(self) -> Sequence[str]:
        """The commit, and an echo that tells when it was read."""
        self._closed = True
        return encode_message("input_audio_buffer.commit"), encode_message("echo", echo_id="committed")

    def can_send(self) -> bool:
        """Not while the server says that it is far behind; one that has not begun may begin with the commit."""
        return not self._processed or self._sent - self._processed <= self._socket.ahead

    def receive(self, message: str) -> MessageFlags:
        """Take a message in; kinds that are not known are passed over."""
        received = decode_message(message)
        turn = self._take(received)
        return turn | MessageFlags.OVER if self.is_complete() else turn

    def is_complete(self) -> bool:
        """What was told reaches the end of the sound."""
        return self._closed and self._answered and self._there() and not self._open

    def max_silence_seconds(self) -> float | None:
        """Short after a transcript, longer after none."""
        if not self._closed or self._open:
            return None
        if self._answered or (self._alive and self._there()):
            return self._socket.settle
        return self._socket.quiet if self._alive else None

    def _there(self) -> bool:
        end = max(self._seconds - _END, self._seconds / 2)
        return self._reached >= end or (self._processed or 0.0) >= end

    def _take(self, received: Mapping[str, Any]) -> MessageFlags:
        kind, item = received.get("type"), str(received.get("item_id") or "")
        if kind == "session.created":
            return MessageFlags.READY
        if kind == _DELTA:
            self._open.add(item)
        elif kind == _COMPLETED:
            self._settled(item)
            self._answered = self._answered or self._closed
            start, duration = _number(received.get("start")), _number(received.get("duration"))
            self._reached = max(self._reached, (start or 0.0) + (duration or 0.0))
            return MessageFlags.KEEP
        elif kind == _FAILED:
            return (
                MessageFlags.SKIP if received.get("event_type") == _PARTIAL else MessageFlags.KEEP | MessageFlags.OVER
            )
        elif kind == "error":
            return MessageFlags.KEEP | MessageFlags.OVER
        elif kind == "input_audio_buffer.processed":
            processed = _number(received.get("processed_ms"))
            self._processed = self._processed if processed is None else processed / 1000
        elif kind == "echo.response":
            self._alive = self._closed
        return MessageFlags.SKIP

    def _settled(self, item: str) -> None:
        """An utterance is over. Some replies leave out whose it was; then it was all of them."""
        if item in self._open:
            self._open.discard(item)
        else:
            self._open.clear()


class VllmSession(TranscriptionSession):
    """The session of vLLM: a commit starts it, a final one ends it, ``transcription.done`` tells all (its docs)."""

    def opening_messages(self) -> Sequence[str]:
        """The model, and the start."""
        return encode_message("session.update", model=self._params["model"]), encode_message(
            "input_audio_buffer.commit"
        )

    def closing_messages(self) -> Sequence[str]:
        """The end."""
        return (encode_message("input_audio_buffer.commit", final=True),)

    def receive(self, message: str) -> MessageFlags:
        """Take a message in; deltas are told again in the end."""
        kind = decode_message(message).get("type")
        if kind == "session.created":
            return MessageFlags.READY
        return MessageFlags.KEEP | MessageFlags.OVER if kind in ("transcription.done", "error") else MessageFlags.SKIP


class XaiSession(TranscriptionSession):
    """The session of xAI: bytes go out, utterances come back, ``transcript.done`` ends it (provider docs)."""

    def encode_chunk(self, audio: bytes) -> str | bytes:
        """Sound as it is."""
        return audio

    def closing_messages(self) -> Sequence[str]:
        """No more is to come."""
        return (encode_message("audio.done"),)

    def receive(self, message: str) -> MessageFlags:
        """Take a message in; of the utterances only those that are final."""
        received = decode_message(message)
        kind = received.get("type")
        if kind == "transcript.created":
            return MessageFlags.READY
        if kind in ("transcript.done", "error"):
            return MessageFlags.KEEP | MessageFlags.OVER
        return (
            MessageFlags.KEEP
            if kind == "transcript.partial" and received.get("speech_final") is True
            else MessageFlags.SKIP
        )


SESSIONS: Mapping[str, type[TogetherSession | VllmSession | XaiSession]] = {
    "together": TogetherSession,
    "vllm": VllmSession,
    "xai": XaiSession,
}


def session_params(
    provider: str, ask: Ask, socket: SocketConfig, language: str | None, *, prompts: bool
) -> dict[str, JSON]:
    """The settings of a session.

    Args:
        provider: its name, for messages.
        ask: what is asked for.
        socket: the operation's.
        language: as the endpoint takes it; None where it is to be detected.
        prompts: the model listens to a prompt.

    Raises:
        BadInput: when a session does not take what is asked for.
    """
    asked, style = ask.params, socket.api_style
    if asked.get("diarize") and style != "xai":
        raise BadInput(
            f"{provider} does not tell speakers apart with {ask.model} on a socket",
            kind="bad_request",
            hint="leave out --diarize or choose another provider or model",
        )
    if asked.get("temperature"):
        raise _lacks(ask.model, "temperature")
    params: dict[str, JSON] = {"model": ask.model}
    if language is not None and style != "vllm":
        params["language"] = language
    if style == "xai":
        params.update(sample_rate=RATE, encoding="pcm", interim_results=False)
        if asked.get("diarize"):
            params["diarize"] = True
    elif style == "together":
        params.update(input_audio_format=f"pcm_s16le_{RATE}", turn_detection="none")
    if asked.get("prompt"):
        if style != "together" or not prompts:
            raise _lacks(ask.model, "prompt")
        params["prompt"] = asked["prompt"]
    return params


def transcript_of(frames: Sequence[Mapping[str, Any]], ask: Ask) -> dict[str, Any]:
    """A session's transcript in the shape of a reply by HTTP.

    Together's utterances have a start and a duration by a clock of the server's own; one that runs past the
    sound that was sent is not believed. A single utterance is the whole sound; of several they are told only where
    all have times, for a part without a place is none.
    """
    length = float(ask.ceiling.audio_seconds or 0)
    done = next((f for f in frames if f.get("type") in ("transcription.done", "transcript.done")), {})
    parts: list[dict[str, Any]] = []
    words: list[Any] = []
    for frame in frames:
        if frame.get("type") not in (_COMPLETED, "transcript.partial"):
            continue
        text = frame.get("transcript", frame.get("text"))
        start, duration = _number(frame.get("start")), _number(frame.get("duration"))
        known = start is not None and duration is not None and start + duration <= length + 1
        end = start + duration if known and start is not None and duration is not None else None
        part = {"text": str(text or "").strip(), "start": start if known else None, "end": end}
        parts += [part] if part["text"] else []
        words += frame["words"] if isinstance(frame.get("words"), list) else []
    if len(parts) == 1 and parts[0]["start"] is None:
        parts[0] |= {"start": 0.0, "end": length}
    whole = done.get("text")
    text = whole if isinstance(whole, str) and whole else " ".join(str(p["text"]) for p in parts)
    placed = all(part["start"] is not None for part in parts)
    return {
        "duration": length or None,
        "language": ask.params.get("language"),
        "text": text,
        "segments": parts if placed else [],
        "words": words,
    }


def _number(value: Any) -> float | None:
    """A sane count of seconds or milliseconds."""
    fine = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e9  # noqa: PLR2004
    return float(value) if fine else None


def _lacks(model: str, what: str) -> BadInput:
    return BadInput(f"{model} takes no {what} on a socket", kind="bad_request", hint=f"leave out --{what}")
