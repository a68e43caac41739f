"""The messages of a WebSocket session: the part of a request that a provider plans and the call path carries out.

A session is a state machine without I/O. The call path opens the WebSocket, sends the session's messages, hands it
every message it receives, and keeps those that belong to the reply. The raw reply is their JSON, one a line;
:data:`SOCKET_HEADER` among its headers says how the WebSocket ended.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Protocol

from mediamill.tasks.domain import Payload

SOCKET_HEADER = "x-mediamill-socket"
"""Header of replies over a WebSocket, set by the call path: ``over``, ``refused``, ``unsent CODE REASON`` where it was
closed before the first message was sent, or ``closed CODE REASON``."""

OVER, REFUSED, UNSENT, CLOSED = "over", "refused", "unsent", "closed"


class MessageFlags(enum.Flag):
    """What a received message means.

    ``KEEP``: it belongs to the reply; ``SKIP``: it does not; ``READY``: the server is ready for the request; ``OVER``:
    the session has ended.
    """

    SKIP = 0
    KEEP = enum.auto()
    READY = enum.auto()
    OVER = enum.auto()


class UnreadableMessage(ValueError):
    """A message that the protocol does not have."""


class WebsocketSession(Protocol):
    """One WebSocket session, for one attempt.

    Attributes:
        audio: sent in chunks of ``chunk_bytes``; None where no audio is sent.
        waits_for_ready: nothing is sent before a ``READY`` message.
    """

    audio: Payload | None
    chunk_bytes: int
    waits_for_ready: bool

    def opening_messages(self) -> Sequence[str]:
        """Messages to send before the audio."""
        ...

    def encode_chunk(self, audio: bytes) -> str | bytes:
        """A chunk of audio as a message: text or binary."""
        ...

    def closing_messages(self) -> Sequence[str]:
        """Messages to send after the audio."""
        ...

    def receive(self, message: str) -> MessageFlags:
        """Take in a message from the server.

        Raises:
            UnreadableMessage: when the protocol has no such message.
        """
        ...

    def read_binary(self, message: bytes) -> str | None:
        """A binary message from the server as the text that stands for it; None where the protocol has none."""
        ...

    def can_send(self) -> bool:
        """False while the server has enough to work on; sending then waits for its next message."""
        ...

    def max_silence_seconds(self) -> float | None:
        """Seconds without a message after which the session has ended; None where silence means nothing."""
        ...

    def is_complete(self) -> bool:
        """True when the reply is complete if the server now closes the WebSocket in good order."""
        ...
