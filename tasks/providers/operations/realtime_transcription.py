"""Transcription over a websocket: audio is sent, a transcript comes back, in each provider's messages."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from mediamill.tasks.domain import JSON, Ask, Payload
from mediamill.tasks.errors import BadInput
from mediamill.tasks.providers.operations.realtime import (
    SocketConfig,
    decode_message,
    encode_message,
    read_json_message,
    reports_failure,
)
from mediamill.tasks.websocket_session import MessageFlags

SAMPLE_RATE_HZ = 16_000
BYTES_PER_SECOND = 2 * SAMPLE_RATE_HZ
"""Of 16-bit mono samples, which every session here sends."""

_END_TOLERANCE_SECONDS = 0.25
"""A transcript that ends this close to the end of the audio counts as complete."""

_TYPE_PREFIX = "conversation.item.input_audio_transcription."
_COMPLETED = _TYPE_PREFIX + "completed"
_FAILED = _TYPE_PREFIX + "failed"
BILLABLE_TYPES = frozenset({_COMPLETED, "transcript.partial", "transcript.done", "transcription.done"})
"""Types of messages after which something was transcribed and may be billed."""
FAILURE_TYPES = frozenset({_FAILED, "error"})
"""Types of messages that report a failure."""
_DELTA = _TYPE_PREFIX + "delta"
_PARTIAL_EVENT = "delta"


class TranscriptionSession:
    """What the three APIs share: audio in chunks of one second, sent once the session is ready."""

    waits_for_ready = True
    chunk_bytes = BYTES_PER_SECOND

    def __init__(self, audio: Payload, socket: SocketConfig, params: Mapping[str, Any]) -> None:
        self.audio: Payload | None = audio
        self._socket = socket
        self._params = params
        self._audio_seconds = audio.size / BYTES_PER_SECOND
        self._sent_seconds = 0.0
        self._closed = False

    def opening_messages(self) -> Sequence[str]:
        """No messages, unless the API needs one."""
        return ()

    def encode_chunk(self, audio: bytes) -> str | bytes:
        """A message with the audio in base64 (provider docs)."""
        self._sent_seconds += len(audio) / BYTES_PER_SECOND
        return encode_message("input_audio_buffer.append", audio=b64encode(audio).decode())

    def read_binary(self, message: bytes) -> str | None:
        """A message that comes as bytes; no audio comes back."""
        return read_json_message(message)

    def can_send(self) -> bool:
        """Always true: the server does not report its progress."""
        return True

    def max_silence_seconds(self) -> float | None:
        """None: a message ends the session."""
        return None

    def is_complete(self) -> bool:
        """Always false: only a message ends the session."""
        return False


class TogetherSession(TranscriptionSession):
    """Together's session with turn detection off: after one commit the transcript comes back (provider docs).

    No message marks the end: a commit returns one transcript, several, or none for silence. The session is complete
    when a transcript or the server's reported progress reaches the end of the audio, or when the server sends nothing
    more after an echo has shown that it has read the commit. While an item has deltas but no transcript, silence
    means nothing.
    """

    def __init__(self, audio: Payload, socket: SocketConfig, params: Mapping[str, Any]) -> None:
        super().__init__(audio, socket, params)
        self._open_items: set[str] = set()
        self._completed_after_commit = self._echo_received = False
        self._transcribed_seconds = 0.0
        self._processed_seconds: float | None = None

    def opening_messages(self) -> Sequence[str]:
        """The prompt, as a setting of the session (provider docs: the server expects ``updated``)."""
        prompt = self._params.get("prompt")
        return (encode_message("transcription_session.updated", session={"prompt": prompt}),) if prompt else ()

    def closing_messages(self) -> Sequence[str]:
        """The commit, and an echo whose reply shows that the commit was read."""
        self._closed = True
        return encode_message("input_audio_buffer.commit"), encode_message("echo", echo_id="committed")

    def can_send(self) -> bool:
        """False while the server reports that it is far behind; one that reports nothing may start at the commit."""
        return not self._processed_seconds or self._sent_seconds - self._processed_seconds <= self._socket.ahead

    def receive(self, message: str) -> MessageFlags:
        """Process a message; unknown types are skipped."""
        received = decode_message(message)
        turn = self._handle_message(received)
        return turn | MessageFlags.OVER if self.is_complete() else turn

    def is_complete(self) -> bool:
        """True when the transcripts reach the end of the audio."""
        return self._closed and self._completed_after_commit and self._has_reached_end() and not self._open_items

    def max_silence_seconds(self) -> float | None:
        """Seconds to wait: a short time after a transcript, a longer time if there was none."""
        if not self._closed or self._open_items:
            return None
        if self._completed_after_commit or (self._echo_received and self._has_reached_end()):
            return self._socket.settle
        return self._socket.quiet if self._echo_received else None

    def _has_reached_end(self) -> bool:
        end = max(self._audio_seconds - _END_TOLERANCE_SECONDS, self._audio_seconds / 2)
        return self._transcribed_seconds >= end or (self._processed_seconds or 0.0) >= end

    def _handle_message(self, received: Mapping[str, Any]) -> MessageFlags:
        message_type, item = received.get("type"), str(received.get("item_id") or "")
        if message_type == "session.created":
            return MessageFlags.READY
        if message_type == _DELTA:
            self._open_items.add(item)
        elif message_type == _COMPLETED:
            self._close_item(item)
            self._completed_after_commit = self._completed_after_commit or self._closed
            start, duration = (
                _parse_bounded_number(received.get("start")),
                _parse_bounded_number(received.get("duration")),
            )
            self._transcribed_seconds = max(self._transcribed_seconds, (start or 0.0) + (duration or 0.0))
            return MessageFlags.KEEP
        elif message_type == _FAILED:
            return (
                MessageFlags.SKIP
                if received.get("event_type") == _PARTIAL_EVENT
                else MessageFlags.KEEP | MessageFlags.OVER
            )
        elif reports_failure(received, ("error",)):
            return MessageFlags.KEEP | MessageFlags.OVER
        elif message_type == "input_audio_buffer.processed":
            processed_ms = _parse_bounded_number(received.get("processed_ms"))
            self._processed_seconds = self._processed_seconds if processed_ms is None else processed_ms / 1000
        elif message_type == "echo.response":
            self._echo_received = self._closed
        return MessageFlags.SKIP

    def _close_item(self, item: str) -> None:
        """Mark an item as finished; all of them if the message names none, as some do."""
        if item in self._open_items:
            self._open_items.discard(item)
        else:
            self._open_items.clear()


class VllmSession(TranscriptionSession):
    """vLLM's session: a commit starts it, a final commit ends it, ``transcription.done`` has the text (its docs)."""

    def opening_messages(self) -> Sequence[str]:
        """The model, and the commit that starts the session."""
        return encode_message("session.update", model=self._params["model"]), encode_message(
            "input_audio_buffer.commit"
        )

    def closing_messages(self) -> Sequence[str]:
        """The final commit."""
        return (encode_message("input_audio_buffer.commit", final=True),)

    def receive(self, message: str) -> MessageFlags:
        """Process a message; deltas are skipped, because the last message has the full text."""
        received = decode_message(message)
        if received.get("type") == "session.created":
            return MessageFlags.READY
        return (
            MessageFlags.KEEP | MessageFlags.OVER
            if received.get("type") == "transcription.done" or reports_failure(received, FAILURE_TYPES)
            else MessageFlags.SKIP
        )


class XaiSession(TranscriptionSession):
    """xAI's session: bytes are sent, utterances come back, ``transcript.done`` ends it (provider docs)."""

    def encode_chunk(self, audio: bytes) -> str | bytes:
        """The audio as a binary message."""
        return audio

    def closing_messages(self) -> Sequence[str]:
        """The message that ends the audio."""
        return (encode_message("audio.done"),)

    def receive(self, message: str) -> MessageFlags:
        """Process a message; of the utterances only the final ones are kept."""
        received = decode_message(message)
        message_type = received.get("type")
        if message_type == "transcript.created":
            return MessageFlags.READY
        if message_type == "transcript.done" or reports_failure(received, FAILURE_TYPES):
            return MessageFlags.KEEP | MessageFlags.OVER
        return (
            MessageFlags.KEEP
            if message_type == "transcript.partial" and received.get("speech_final") is True
            else MessageFlags.SKIP
        )


SESSIONS: Mapping[str, type[TogetherSession | VllmSession | XaiSession]] = {
    "together": TogetherSession,
    "vllm": VllmSession,
    "xai": XaiSession,
}


def build_session_params(
    provider: str, ask: Ask, socket: SocketConfig, language: str | None, *, takes_prompt: bool
) -> dict[str, JSON]:
    """The parameters of a session.

    Args:
        provider: its name, for messages.
        ask: the Ask to send.
        socket: the operation's socket.
        language: as the endpoint accepts it; None to detect it.
        takes_prompt: whether the model accepts a prompt.

    Raises:
        BadInput: when a session does not accept a parameter.
    """
    params, style = ask.params, socket.api_style
    if params.get("diarize") and style != "xai":
        raise BadInput(
            f"{provider} cannot label speakers with {ask.model} on a socket",
            kind="bad_request",
            hint="leave out --diarize or choose another provider or model",
        )
    if params.get("temperature"):
        raise _unsupported_on_socket(ask.model, "temperature")
    fields: dict[str, JSON] = {"model": ask.model}
    if language is not None and style != "vllm":
        fields["language"] = language
    if style == "xai":
        fields.update(sample_rate=SAMPLE_RATE_HZ, encoding="pcm", interim_results=False)
        if params.get("diarize"):
            fields["diarize"] = True
    elif style == "together":
        fields.update(input_audio_format=f"pcm_s16le_{SAMPLE_RATE_HZ}", turn_detection="none")
    if params.get("prompt"):
        if style != "together" or not takes_prompt:
            raise _unsupported_on_socket(ask.model, "prompt")
        fields["prompt"] = params["prompt"]
    return fields


def to_transcript(frames: Sequence[Mapping[str, Any]], ask: Ask) -> dict[str, Any]:
    """A session's transcript in the shape of a reply over HTTP.

    Together's utterances have a start and a duration by the server's own clock; times after the end of the audio are
    ignored. A single utterance without times spans the whole audio; several become segments only if all have times.
    """
    audio_seconds = float(ask.ceiling.audio_seconds or 0)
    done = next((f for f in frames if f.get("type") in ("transcription.done", "transcript.done")), {})
    utterances: list[dict[str, Any]] = []
    words: list[Any] = []
    for frame in frames:
        if frame.get("type") not in (_COMPLETED, "transcript.partial"):
            continue
        text = frame.get("transcript", frame.get("text"))
        start, duration = _parse_bounded_number(frame.get("start")), _parse_bounded_number(frame.get("duration"))
        has_times = start is not None and duration is not None and start + duration <= audio_seconds + 1
        end = start + duration if has_times and start is not None and duration is not None else None
        utterance = {"text": str(text or "").strip(), "start": start if has_times else None, "end": end}
        utterances += [utterance] if utterance["text"] else []
        words += frame["words"] if isinstance(frame.get("words"), list) else []
    if len(utterances) == 1 and utterances[0]["start"] is None:
        utterances[0] |= {"start": 0.0, "end": audio_seconds}
    full_text = done.get("text")
    text = full_text if isinstance(full_text, str) and full_text else " ".join(str(p["text"]) for p in utterances)
    all_timed = all(part["start"] is not None for part in utterances)
    return {
        "duration": audio_seconds or None,
        "language": ask.params.get("language"),
        "text": text,
        "segments": utterances if all_timed else [],
        "words": words,
    }


def _parse_bounded_number(value: Any) -> float | None:
    """A number of seconds or milliseconds within [0, 1e9); None for anything else."""
    valid = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e9  # noqa: PLR2004
    return float(value) if valid else None


def _unsupported_on_socket(model: str, what: str) -> BadInput:
    return BadInput(f"{model} takes no {what} on a socket", kind="bad_request", hint=f"leave out --{what}")
