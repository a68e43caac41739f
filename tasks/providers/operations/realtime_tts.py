"""Speech over a websocket: a text is sent, its audio comes back."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence

from mediamill.tasks.domain import Payload
from mediamill.tasks.providers.operations.realtime import (
    SocketConfig,
    decode_message,
    encode_message,
    read_json_message,
    reports_failure,
)
from mediamill.tasks.websocket_session import MessageFlags

_AUDIO_DELTA = "conversation.item.audio_output.delta"
_AUDIO_DONE = "conversation.item.audio_output.done"
BILLABLE_TYPES = frozenset({_AUDIO_DELTA})
"""Types of messages after which speech was generated and may be billed."""
FAILURE_TYPES = frozenset({"conversation.item.tts.failed", "error"})
"""Types of messages that report a failure."""


class TtsSession:
    """Together's speech session: a text, a commit, then audio item by item (provider docs).

    A text may become several items, and no message marks the last. The session is complete when every item with audio
    is done and no message comes for a while.
    """

    waits_for_ready = True
    chunk_bytes = 0
    audio: Payload | None = None

    def __init__(self, text: str, socket: SocketConfig) -> None:
        self._text = text
        self._socket = socket
        self._open_items: set[str] = set()
        self._any_done = False

    def opening_messages(self) -> Sequence[str]:
        """The full text."""
        return (encode_message("input_text_buffer.append", text=self._text),)

    def encode_chunk(self, audio: bytes) -> str | bytes:
        """The chunk as it is; never called, because ``audio`` is None."""
        return audio

    def closing_messages(self) -> Sequence[str]:
        """The commit."""
        return (encode_message("input_text_buffer.commit"),)

    def receive(self, message: str) -> MessageFlags:
        """Process a message; unknown types are skipped."""
        received = decode_message(message)
        message_type, item = str(received.get("type")), str(received.get("item_id") or "")
        if message_type == "session.created":
            return MessageFlags.READY
        if message_type == _AUDIO_DELTA:
            self._open_items.add(item)
            return MessageFlags.KEEP
        if message_type == _AUDIO_DONE:
            if item in self._open_items:
                self._open_items.discard(item)
            else:
                self._open_items.clear()
            self._any_done = True
            return MessageFlags.KEEP
        failed = reports_failure(received, FAILURE_TYPES)
        return MessageFlags.KEEP | MessageFlags.OVER if failed else MessageFlags.SKIP

    def read_binary(self, message: bytes) -> str | None:
        """Audio that comes as bytes, or a message that does."""
        audio = b64encode(message).decode()
        return read_json_message(message) or encode_message(_AUDIO_DELTA, delta=audio)

    def can_send(self) -> bool:
        """Always true: a text is short."""
        return True

    def max_silence_seconds(self) -> float | None:
        """The configured seconds while every item is done; otherwise None."""
        return self._socket.settle if self.is_complete() else None

    def is_complete(self) -> bool:
        """True when every item with audio is done."""
        return self._any_done and not self._open_items
