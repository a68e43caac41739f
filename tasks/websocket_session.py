"""What is said on a socket: the part of a request that a provider plans and the call path carries out.

A conversation is a state machine without I/O. The call path opens the socket, sends what the conversation
says, tells it every message that comes, and keeps those that belong to the reply. The raw reply is their
JSON, a line each; :data:`SOCKET` among its headers says how it ended.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Protocol

from mediamill.tasks.domain import Payload

SOCKET_HEADER = "x-mediamill-socket"
"""Header of replies from sockets, set by the call path: ``over``, ``refused``, ``unsent CODE REASON`` where it was
closed before anything was said, or ``closed CODE REASON``."""

OVER, REFUSED, UNSENT, CLOSED = "over", "refused", "unsent", "closed"


class MessageFlags(enum.Flag):
    """What a message means for the conversation."""

    SKIP = 0
    KEEP = enum.auto()
    READY = enum.auto()
    OVER = enum.auto()


class UnreadableMessage(ValueError):
    """A message that is not what the wire speaks."""


class WebsocketSession(Protocol):
    """One conversation, made for one attempt.

    Attributes:
        sound: what is sent in slices of ``slice_bytes``; None where no sound is sent.
        waits: nothing is sent before a message that is ``READY``.
    """

    audio: Payload | None
    chunk_bytes: int
    waits_for_ready: bool

    def opening_messages(self) -> Sequence[str]:
        """Messages that go before the sound."""
        ...

    def encode_chunk(self, audio: bytes) -> str | bytes:
        """A slice of sound as a message: text, or a binary one."""
        ...

    def closing_messages(self) -> Sequence[str]:
        """Messages that go after the sound."""
        ...

    def receive(self, message: str) -> MessageFlags:
        """Take a message in.

        Raises:
            Unreadable: when it is not what the wire speaks.
        """
        ...

    def can_send(self) -> bool:
        """False while the server says that it has enough to work on; then more waits for its next word."""
        ...

    def max_silence_seconds(self) -> float | None:
        """Seconds of silence after which the conversation is over; None where silence proves nothing."""
        ...

    def is_complete(self) -> bool:
        """True when nothing is missing should the server end the conversation in good order now."""
        ...
