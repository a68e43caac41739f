"""The length that a model states as it refuses a longer recording: which are cut for it, and how it is found free."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from mediamill.tasks.capabilities.speech.piece_sender import SendPiece
from mediamill.tasks.domain import Answer
from mediamill.tasks.errors import CallFailed
from mediamill.tasks.media.endpoint_fit import MIN_PIECE_SECONDS
from mediamill.tasks.wire import AudioLimits

if TYPE_CHECKING:
    from mediamill.tasks.media.audio_info import PreparedAudio


def is_usable_limit(error: CallFailed, limits: AudioLimits) -> bool:
    """True when a refusal states a length that pieces can have, and a shorter one than was known."""
    seconds = error.max_seconds
    return seconds is not None and MIN_PIECE_SECONDS + 1 <= seconds < (limits.max_seconds or math.inf)


def mend_hint(error: CallFailed, limits: AudioLimits, piece_seconds: float | None) -> None:
    """Change the hint of a refusal that states a length which no piece was longer than: pieces of it are refused.

    Args:
        error: the refusal.
        limits: those by which the pieces were cut.
        piece_seconds: the maximum length of a piece that was requested; None without one.
    """
    longest = min(limits.max_seconds or math.inf, piece_seconds or math.inf)
    if error.max_seconds is not None and longest <= error.max_seconds:
        half = max(longest // 2, MIN_PIECE_SECONDS)
        error.hint = f"no piece was longer than {longest:g} s: try a lower --piece-seconds, e.g. {half:g}"


def describe_learned_limit(limits: AudioLimits, model: str) -> list[str]:
    """The warning of a row whose recording was cut for a length that the model stated; nothing for others."""
    if not limits.is_learned:
        return []
    return [f"length_limit: {model} takes at most {limits.max_seconds:g} s at once, as its refusal said; it was cut"]


def send_first_alone(send: SendPiece) -> SendPiece:
    """Send pieces so that the first one is answered before others go, for a model whose maximum length is not known.

    Where it refuses the first piece for its length, no other piece was paid for yet, and all are cut anew.
    """
    answered = asyncio.Event()
    first: list[Answer | BaseException] = []
    started = False

    async def send_piece(clip: PreparedAudio) -> Answer:
        nonlocal started
        if started:
            await answered.wait()
            if isinstance(refusal := first[0], CallFailed) and refusal.max_seconds is not None:
                raise refusal
            return await send(clip)
        started = True
        try:
            first.append(await send(clip))
        except BaseException as error:
            first.append(error)
            raise
        finally:
            answered.set()
        assert isinstance(first[0], Answer)
        return first[0]

    return send_piece
