"""Simulated speech: a tone for every word, the same for the same word."""

from __future__ import annotations

import asyncio
import zlib

from mediamill.tasks.local.tts_engines.base import PcmAudio

_SAMPLE_RATE = 24_000
_CHARACTER_SECONDS = 0.06
_PAUSE_SECONDS = 0.04
_AMPLITUDE = 8_000
_LONG_CHARS = 1_000
_MAX_WORD_CHARS = 100
_MIN_PITCH_HZ, _PITCH_RANGE_HZ = 200, 600


class ToneEngine:
    """Tones instead of speech: instant, deterministic, about as long as speech."""

    identity = "tones-1"
    simulated = True
    voices: tuple[str, ...] = ()

    async def speak(self, text: str, voice: str | None, speed: float) -> PcmAudio:
        """A tone for every word, in length by its letters, with a short pause after each."""
        if len(text) < _LONG_CHARS:
            return _play_words(text, voice, speed)
        return await asyncio.to_thread(_play_words, text, voice, speed)


def _play_words(text: str, voice: str | None, speed: float) -> PcmAudio:
    import numpy as np

    parts = []
    for word in _split_words(text):
        pitch = _MIN_PITCH_HZ + zlib.crc32(f"{voice or ''}:{word}".encode("utf-8", "replace")) % _PITCH_RANGE_HZ
        length = round(_SAMPLE_RATE * _CHARACTER_SECONDS * len(word) / speed)
        wave = np.sin(2 * np.pi * pitch * np.arange(length) / _SAMPLE_RATE) * _AMPLITUDE
        parts += [wave.astype("<i2"), np.zeros(round(_SAMPLE_RATE * _PAUSE_SECONDS / speed), "<i2")]
    return PcmAudio(np.concatenate(parts).tobytes() if parts else b"", _SAMPLE_RATE)


def _split_words(text: str) -> list[str]:
    """The words, none of them so long that its tone alone fills the memory."""
    return [
        word[start : start + _MAX_WORD_CHARS] for word in text.split() for start in range(0, len(word), _MAX_WORD_CHARS)
    ]
