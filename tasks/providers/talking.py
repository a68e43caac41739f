"""A conversation in which a text goes out and its sound comes back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mediamill.tasks.providers.hearing import say, told_in
from mediamill.tasks.websocket_session import Turn

if TYPE_CHECKING:
    from mediamill.tasks.domain import Payload
    from mediamill.tasks.providers.config import Socket

SPOKEN = "conversation.item.audio_output.delta"
_DONE = "conversation.item.audio_output.done"
_FAILED = frozenset({"conversation.item.tts.failed", "error"})


class Talking:
    """Together's speech session: a text, a commit, sound an item at a time (provider docs).

    A text may become several items and nothing says which is the last. It is over when every item that sounded is
    done and nothing more comes for a while.
    """

    waits = True
    slice_bytes = 0
    sound: Payload | None = None

    def __init__(self, text: str, socket: Socket) -> None:
        self._text = text
        self._socket = socket
        self._open: set[str] = set()
        self._done = False

    def opening(self) -> Sequence[str]:
        """The whole text."""
        return (say("input_text_buffer.append", text=self._text),)

    def wrap(self, sound: bytes) -> str | bytes:
        """No sound is sent."""
        raise NotImplementedError

    def closing(self) -> Sequence[str]:
        """No more is to come."""
        return (say("input_text_buffer.commit"),)

    def hear(self, message: str) -> Turn:
        """Take a message in; kinds that are not known are passed over."""
        told = told_in(message)
        kind, item = told.get("type"), str(told.get("item_id") or "")
        if kind == "session.created":
            return Turn.READY
        if kind == SPOKEN:
            self._open.add(item)
            return Turn.KEEP
        if kind == _DONE:
            if item in self._open:
                self._open.discard(item)
            else:
                self._open.clear()
            self._done = True
            return Turn.KEEP
        return Turn.KEEP | Turn.OVER if kind in _FAILED else Turn.SKIP

    def room(self) -> bool:
        """A text is short."""
        return True

    def patience(self) -> float | None:
        """Only between items."""
        return self._socket.settle if self.whole() else None

    def whole(self) -> bool:
        """Every item that sounded is done."""
        return self._done and not self._open
