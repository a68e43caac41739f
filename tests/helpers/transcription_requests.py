"""Small recordings and requests for the tests of the built-in server."""

from __future__ import annotations

import io
import wave
from typing import Any

import httpx
import numpy as np

from tests.helpers import loopback

PATHS = {
    "local": "/v1",
    "together": "/together/v1",
    "openai": "/openai-api/v1",
    "groq": "/groq/openai/v1",
    "compatible": "/compatible/v1",
}
MODELS = {
    "local": "any",
    "together": "openai/whisper-large-v3",
    "openai": "whisper-1",
    "groq": "whisper-large-v3",
    "compatible": "any",
}


def tone_wav(seconds: float = 0.5, pitch: float = 440.0, rate: int = 16_000) -> bytes:
    """A WAV file with a tone, mono, 16 bit."""
    times = np.arange(round(seconds * rate)) / rate
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.sin(times * pitch * 2 * np.pi) * 8000).astype("<i2").tobytes())
    return buffer.getvalue()


def post_transcription(
    origin: str,
    dialect: str = "local",
    *,
    audio: bytes | None = None,
    filename: str = "tone.wav",
    headers: dict[str, str] | None = None,
    operation: str = "transcriptions",
    **fields: Any,
) -> httpx.Response:
    """One request of a transcription or of ``translations``; ``None`` leaves a field out."""
    form = {"model": MODELS[dialect], **fields}
    return loopback.post(
        f"{origin}{PATHS[dialect]}/audio/{operation}",
        data={name: value for name, value in form.items() if value is not None},
        files={"file": (filename, tone_wav() if audio is None else audio)},
        headers=headers,
        timeout=60,
    )


def read_error(reply: httpx.Response) -> dict[str, Any]:
    """The error inside a reply's envelope."""
    envelope: dict[str, Any] = reply.json()["error"]
    return envelope
