"""What a request to speak asks for: its JSON, checked as the dialect's provider would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from mediamill.tasks.local.server.api_error import Refusal
from mediamill.tasks.local.server.dialects import Dialect

_RATES = range(8_000, 48_001)
_SPEEDS = (0.25, 5.0)
_LIMITS = {"openai": 4096, "groq": 200, "xai": 15_000}
"""Most characters of a text (provider docs); others state none."""

_MOST = 1_000_000
_ALL = frozenset({"mp3", "wav", "flac", "opus", "aac", "pcm", "raw"})
_ORDINARY = {"together": "wav", "openai": "mp3", "groq": "wav", "xai": "mp3", "local": "wav", "compatible": "mp3"}


@dataclass(frozen=True, slots=True)
class SpeechModel:
    """A model that speaks: formats by the provider's names, Hz, and whether another rate can be asked for."""

    formats: frozenset[str] = _ALL
    rate: int | None = None
    any_rate: bool = True


@dataclass(frozen=True, slots=True)
class Saying:
    """A valid request. ``rate`` None is the voice's own."""

    model: str
    text: str
    voice: str | None
    form: str
    speed: float
    rate: int | None
    stream: bool


def read_saying(told: Any, dialect: Dialect, models: Mapping[str, SpeechModel]) -> Saying:
    """Check a request.

    Raises:
        Refusal: naming the first field at fault.
    """
    if not isinstance(told, dict):
        raise Refusal("bad_value", "the body must be a JSON object")
    xai = dialect.name == "xai"
    model = next(iter(models), "tts") if xai else _text(told, "model")
    known = models.get(model)
    if known is None:
        if dialect.strict:
            raise Refusal("unknown_model", f"The model `{model}` does not exist or does not speak.", param="model")
        known = SpeechModel()
    text = _text(told, "text" if xai else "input")
    most = _LIMITS.get(dialect.name, _MOST)
    if len(text) > most:
        raise Refusal("bad_value", f"the text has {len(text)} characters, more than {most}", param="input")
    if xai:
        _text(told, "language")
    stream = told.get("stream") is True or told.get("stream_format") == "sse"
    output = told.get("output_format") if xai else told
    output = output if isinstance(output, dict) else {}
    form = output.get("codec" if xai else "response_format") or _ORDINARY[dialect.name]
    if form not in known.formats or (stream and dialect.name == "together" and form not in ("raw", "pcm")):
        raise Refusal("bad_value", f"must be one of {sorted(known.formats)}", param="response_format")
    asked = _rate(output)
    return Saying(
        model,
        text,
        _voice(told, dialect),
        form,
        _speed(told),
        (asked or known.rate) if known.any_rate else known.rate,
        stream,
    )


def parse_json(body: bytes | memoryview) -> Any:
    """The body's JSON.

    Raises:
        Refusal: when it is none.
    """
    try:
        return orjson.loads(body)
    except ValueError:
        raise Refusal("bad_value", "We could not parse the JSON body of your request.") from None


def _text(told: Mapping[str, Any], name: str) -> str:
    value = told.get(name)
    if value is None or value == "":
        raise Refusal("missing_field", f"you must provide {name}", param=name)
    if not isinstance(value, str):
        raise Refusal("bad_value", f"{name} must be a string", param=name)
    return value


def _voice(told: Mapping[str, Any], dialect: Dialect) -> str | None:
    if dialect.name in ("together", "openai", "groq"):
        value = told.get("voice")
        if isinstance(value, dict) and isinstance(value.get("id"), str):
            return str(value["id"])
        return _text(told, "voice")
    value = told.get("voice_id" if dialect.name == "xai" else "voice")
    return value if isinstance(value, str) and value else None


def _speed(told: Mapping[str, Any]) -> float:
    speed = told.get("speed", 1.0)
    if not isinstance(speed, int | float) or not _SPEEDS[0] <= speed <= _SPEEDS[1]:
        raise Refusal("bad_value", f"must be between {_SPEEDS[0]} and {_SPEEDS[1]}", param="speed")
    return float(speed)


def _rate(told: Mapping[str, Any]) -> int | None:
    rate = told.get("sample_rate")
    if rate is None:
        return None
    if not isinstance(rate, int) or rate not in _RATES:
        raise Refusal("bad_value", "must be between 8000 and 48000", param="sample_rate")
    return rate
