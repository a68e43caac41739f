"""The interface of text-to-speech engines: a text in, audio out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PcmAudio:
    """16-bit little-endian mono samples, and their rate in Hz."""

    pcm: bytes = field(repr=False)
    sample_rate: int


class TtsEngine(Protocol):
    """Speaks. ``identity`` is name and version; ``simulated``: the audio is not speech; ``voices``: their names."""

    identity: str
    simulated: bool
    voices: tuple[str, ...]

    async def speak(self, text: str, voice: str | None, speed: float) -> PcmAudio:
        """Speak a text.

        Args:
            text: the text.
            voice: one of ``voices``; None for the first.
            speed: 1 is the voice's own pace.

        Raises:
            RuntimeError: when the text-to-speech program fails.
        """
        ...
