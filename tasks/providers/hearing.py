"""Conversations in which sound goes out and a transcript comes back."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from mediamill.tasks.websocket_session import Turn, Unreadable

if TYPE_CHECKING:
    from mediamill.tasks.domain import Payload
    from mediamill.tasks.providers.config import Socket

RATE = 16_000
BYTES_A_SECOND = 2 * RATE
"""Of 16-bit mono samples: what every conversation here sends."""

_END = 0.25
"""Seconds before the end of the sound that count as its end."""

_ITEM = "conversation.item.input_audio_transcription."
HEARD = _ITEM + "completed"
LOST = _ITEM + "failed"
_DELTA = _ITEM + "delta"
_PARTIAL = "delta"


def told_in(message: str) -> dict[str, Any]:
    """A message's JSON object.

    Raises:
        Unreadable: when it is none.
    """
    try:
        told = orjson.loads(message)
    except ValueError:
        raise Unreadable("a message that is not JSON") from None
    if not isinstance(told, dict):
        raise Unreadable("a message that is no JSON object")
    return told


def say(kind: str, **more: Any) -> str:
    """A message of the client's."""
    return orjson.dumps({"type": kind, **more}).decode()


def number(value: Any) -> float | None:
    """A sane count of seconds or milliseconds."""
    fine = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e9  # noqa: PLR2004
    return float(value) if fine else None


class Hearing:
    """What the three wires share: sound in slices of a second, and nothing said before the session is there."""

    waits = True
    slice_bytes = BYTES_A_SECOND

    def __init__(self, sound: Payload, socket: Socket, params: Mapping[str, Any]) -> None:
        self.sound = sound
        self._socket = socket
        self._params = params
        self._seconds = sound.size / BYTES_A_SECOND
        self._sent = 0.0
        self._closed = False

    def opening(self) -> Sequence[str]:
        """Nothing, unless the wire wants something."""
        return ()

    def wrap(self, sound: bytes) -> str | bytes:
        """Sound in base64 (provider docs)."""
        self._sent += len(sound) / BYTES_A_SECOND
        return say("input_audio_buffer.append", audio=b64encode(sound).decode())

    def room(self) -> bool:
        """Always, where the server does not say how far it is."""
        return True

    def patience(self) -> float | None:
        """For ever, where a message says that it is over."""
        return None

    def whole(self) -> bool:
        """Never, where a message says that it is over."""
        return False


class TogetherHearing(Hearing):
    """Together's session with turn detection off: one commit, after which what was heard is told (provider docs).

    Nothing says that all is told: a commit may bring one transcript, several, or, of silence, none. It is over
    when a transcript or the server's own progress reaches the end of the sound, or, after the server has shown
    by an echo that it has read the commit, when it stays silent. A delta replaces the one before; with one
    under way silence proves nothing.
    """

    def __init__(self, sound: Payload, socket: Socket, params: Mapping[str, Any]) -> None:
        super().__init__(sound, socket, params)
        self._open: set[str] = set()
        self._answered = self._alive = False
        self._reached = 0.0
        self._processed: float | None = None

    def opening(self) -> Sequence[str]:
        """The prompt belongs to the session (provider docs: the server listens for ``updated``)."""
        prompt = self._params.get("prompt")
        return (say("transcription_session.updated", session={"prompt": prompt}),) if prompt else ()

    def closing(self) -> Sequence[str]:
        """The commit, and an echo that tells when it was read."""
        self._closed = True
        return say("input_audio_buffer.commit"), say("echo", echo_id="committed")

    def room(self) -> bool:
        """Not while the server says that it is far behind; one that has not begun may begin with the commit."""
        return not self._processed or self._sent - self._processed <= self._socket.ahead

    def hear(self, message: str) -> Turn:
        """Take a message in; kinds that are not known are passed over."""
        told = told_in(message)
        turn = self._taken(told)
        return turn | Turn.OVER if self.whole() else turn

    def whole(self) -> bool:
        """What was told reaches the end of the sound."""
        return self._closed and self._answered and self._there() and not self._open

    def patience(self) -> float | None:
        """Short after a transcript, longer after none."""
        if not self._closed or self._open:
            return None
        if self._answered or (self._alive and self._there()):
            return self._socket.settle
        return self._socket.quiet if self._alive else None

    def _there(self) -> bool:
        end = max(self._seconds - _END, self._seconds / 2)
        return self._reached >= end or (self._processed or 0.0) >= end

    def _taken(self, told: Mapping[str, Any]) -> Turn:
        kind, item = told.get("type"), str(told.get("item_id") or "")
        if kind == "session.created":
            return Turn.READY
        if kind == _DELTA:
            self._open.add(item)
        elif kind == HEARD:
            self._settled(item)
            self._answered = self._answered or self._closed
            start, duration = number(told.get("start")), number(told.get("duration"))
            self._reached = max(self._reached, (start or 0.0) + (duration or 0.0))
            return Turn.KEEP
        elif kind == LOST:
            return Turn.SKIP if told.get("event_type") == _PARTIAL else Turn.KEEP | Turn.OVER
        elif kind == "error":
            return Turn.KEEP | Turn.OVER
        elif kind == "input_audio_buffer.processed":
            processed = number(told.get("processed_ms"))
            self._processed = self._processed if processed is None else processed / 1000
        elif kind == "echo.response":
            self._alive = self._closed
        return Turn.SKIP

    def _settled(self, item: str) -> None:
        """An utterance is over. Some replies leave out whose it was; then it was all of them."""
        if item in self._open:
            self._open.discard(item)
        else:
            self._open.clear()


class VllmHearing(Hearing):
    """The session of vLLM: a commit starts it, a final one ends it, ``transcription.done`` tells all (its docs)."""

    def opening(self) -> Sequence[str]:
        """The model, and the start."""
        return say("session.update", model=self._params["model"]), say("input_audio_buffer.commit")

    def closing(self) -> Sequence[str]:
        """The end."""
        return (say("input_audio_buffer.commit", final=True),)

    def hear(self, message: str) -> Turn:
        """Take a message in; deltas are told again in the end."""
        kind = told_in(message).get("type")
        if kind == "session.created":
            return Turn.READY
        return Turn.KEEP | Turn.OVER if kind in ("transcription.done", "error") else Turn.SKIP


class XaiHearing(Hearing):
    """The session of xAI: bytes go out, utterances come back, ``transcript.done`` ends it (provider docs)."""

    def wrap(self, sound: bytes) -> str | bytes:
        """Sound as it is."""
        return sound

    def closing(self) -> Sequence[str]:
        """No more is to come."""
        return (say("audio.done"),)

    def hear(self, message: str) -> Turn:
        """Take a message in; of the utterances only those that are final."""
        told = told_in(message)
        kind = told.get("type")
        if kind == "transcript.created":
            return Turn.READY
        if kind in ("transcript.done", "error"):
            return Turn.KEEP | Turn.OVER
        return Turn.KEEP if kind == "transcript.partial" and told.get("speech_final") is True else Turn.SKIP


HEARINGS: Mapping[str, type[TogetherHearing | VllmHearing | XaiHearing]] = {
    "together": TogetherHearing,
    "vllm": VllmHearing,
    "xai": XaiHearing,
}
