"""What every engine that speaks answers: a text to audio."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PcmAudio:
    """16-bit little-endian mono samples, and how many there are a second."""

    pcm: bytes = field(repr=False)
    sample_rate: int


class TtsEngine(Protocol):
    """Speaks. ``identity`` is name and version; ``simulated`` tells that nothing is said; ``voices`` are its own."""

    identity: str
    simulated: bool
    voices: tuple[str, ...]

    async def speak(self, text: str, voice: str | None, speed: float) -> PcmAudio:
        """Say a text.

        Args:
            text: what to say.
            voice: one of ``voices``; None for the first.
            speed: 1 is the voice's own pace.

        Raises:
            RuntimeError: when the program that speaks failed.
        """
        ...
