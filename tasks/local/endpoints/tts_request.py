"""Text-to-speech requests: their JSON, checked as the dialect's provider checks it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mediamill.tasks.local.server.api_error import ApiError
from mediamill.tasks.local.server.dialects import Dialect

_RATES = range(8_000, 48_001)
_SPEEDS = (0.25, 5.0)
_MAX_CHARS = {"openai": 4096, "groq": 200, "xai": 15_000}
"""Maximum characters of a text (provider docs); the other providers state none."""

_DEFAULT_MAX_CHARS = 30_000
"""About half an hour of speech; slower speech may have fewer characters."""
_ALL_FORMATS = frozenset({"mp3", "wav", "flac", "opus", "aac", "pcm", "raw"})
_DEFAULT_FORMATS = {
    "together": "wav",
    "openai": "mp3",
    "groq": "wav",
    "xai": "mp3",
    "local": "wav",
    "compatible": "mp3",
}


@dataclass(frozen=True, slots=True)
class ServedTtsModel:
    """A text-to-speech model: formats by the provider's names, Hz, and whether requests may set another rate."""

    formats: frozenset[str] = _ALL_FORMATS
    sample_rate: int | None = None
    takes_any_rate: bool = True


@dataclass(frozen=True, slots=True)
class TtsRequest:
    """A valid request. ``sample_rate`` is in Hz; None is the voice's own."""

    model: str
    text: str
    voice: str | None
    audio_format: str
    speed: float
    sample_rate: int | None
    stream: bool


def read_tts_request(fields: Any, dialect: Dialect, models: Mapping[str, ServedTtsModel]) -> TtsRequest:
    """Check a request.

    Raises:
        ApiError: for the first invalid field, which it names.
    """
    if not isinstance(fields, dict):
        raise ApiError("bad_value", "the body must be a JSON object")
    xai = dialect.name == "xai"
    model = next(iter(models), "tts") if xai else _read_tts_text(fields, "model")
    served_model = models.get(model)
    if served_model is None:
        if dialect.strict:
            raise ApiError("unknown_model", f"The model `{model}` does not exist or does not speak.", param="model")
        served_model = ServedTtsModel()
    text = _read_tts_text(fields, "text" if xai else "input")
    speed = _read_speed(fields)
    maximum = _MAX_CHARS.get(dialect.name, int(_DEFAULT_MAX_CHARS * min(speed, 1.0)))
    if len(text) > maximum:
        raise ApiError("bad_value", f"the text has {len(text)} characters, more than {maximum}", param="input")
    if xai:
        _read_tts_text(fields, "language")
    stream = fields.get("stream") is True or fields.get("stream_format") == "sse"
    output = fields.get("output_format") if xai else fields
    output = output if isinstance(output, dict) else {}
    default_format = "raw" if stream and dialect.name == "together" else _DEFAULT_FORMATS[dialect.name]
    audio_format = output.get("codec" if xai else "response_format") or default_format
    if audio_format not in served_model.formats or (
        stream and dialect.name == "together" and audio_format not in ("raw", "pcm")
    ):
        raise ApiError("bad_value", f"must be one of {sorted(served_model.formats)}", param="response_format")
    sample_rate = _read_sample_rate(output)
    return TtsRequest(
        model,
        text,
        _read_voice(fields, dialect),
        audio_format,
        speed,
        (sample_rate or served_model.sample_rate) if served_model.takes_any_rate else served_model.sample_rate,
        stream,
    )


def _read_tts_text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None or value == "":
        raise ApiError("missing_field", f"you must provide {name}", param=name)
    if not isinstance(value, str):
        raise ApiError("bad_value", f"{name} must be a string", param=name)
    return value


def _read_voice(fields: Mapping[str, Any], dialect: Dialect) -> str | None:
    if dialect.name in ("together", "openai", "groq"):
        value = fields.get("voice")
        if isinstance(value, dict) and isinstance(value.get("id"), str):
            return str(value["id"])
        return _read_tts_text(fields, "voice")
    value = fields.get("voice_id" if dialect.name == "xai" else "voice")
    return value if isinstance(value, str) and value else None


def _read_speed(fields: Mapping[str, Any]) -> float:
    speed = fields.get("speed", 1.0)
    if not isinstance(speed, int | float) or not _SPEEDS[0] <= speed <= _SPEEDS[1]:
        raise ApiError("bad_value", f"must be between {_SPEEDS[0]} and {_SPEEDS[1]}", param="speed")
    return float(speed)


def _read_sample_rate(fields: Mapping[str, Any]) -> int | None:
    rate = fields.get("sample_rate")
    if rate is None:
        return None
    if not isinstance(rate, int) or rate not in _RATES:
        raise ApiError("bad_value", "must be between 8000 and 48000", param="sample_rate")
    return rate
