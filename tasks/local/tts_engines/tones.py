"""A stand-in for a voice: a tone for every word, the same for the same word. Nothing is said."""

from __future__ import annotations

import zlib

from mediamill.tasks.local.tts_engines.base import PcmAudio

_RATE = 24_000
_A_CHARACTER = 0.06
_PAUSE = 0.04
_LOUD = 8_000
_LOW, _RANGE = 200, 600


class ToneEngine:
    """Simulated speech: at once, deterministic, about as long as the real thing."""

    identity = "tones-1"
    simulated = True
    voices: tuple[str, ...] = ()

    async def speak(self, text: str, voice: str | None, speed: float) -> PcmAudio:
        """A tone for every word, as long as it has letters, with a short pause behind each."""
        import numpy as np

        parts = []
        for word in text.split():
            pitch = _LOW + zlib.crc32(f"{voice or ''}:{word}".encode("utf-8", "replace")) % _RANGE
            length = round(_RATE * _A_CHARACTER * len(word) / speed)
            wave = np.sin(2 * np.pi * pitch * np.arange(length) / _RATE) * _LOUD
            parts += [wave.astype("<i2"), np.zeros(round(_RATE * _PAUSE / speed), "<i2")]
        return PcmAudio(np.concatenate(parts).tobytes() if parts else b"", _RATE)
