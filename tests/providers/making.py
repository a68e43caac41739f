"""Providers, Asks and replies for the adapters' tests."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson

from mediamill.tasks.domain import Ask, Input, Payload, Usage
from mediamill.tasks.providers import registry
from mediamill.tasks.wire import Parsed, Provider, Reply

KEY = "sk-sentinel-5d41402abc4b2a76"
NAMES = tuple(name for name in registry.provider_names() if "transcription" in registry.load_config(name).operations)
"""Those that hear."""
ENVIRON = {env: KEY for name in NAMES if (env := registry.load_config(name).key_env)}
WAV = Payload("a b.wav", "audio/wav", 4, data=b"RIFF")
BY_URL = Payload("", "", 0, url="https://media.example/a.mp3")


def make(name: str, base_url: str | None = None) -> Provider:
    """A provider with its key set; ``compatible`` is a server on this machine."""
    base_url = base_url or ("http://localhost:8000/v1" if name == "compatible" else None)
    return registry.make_provider(name, base_url=base_url, api_key_env=None, environ=ENVIRON)


def model_of(provider: Provider) -> str:
    """Its default model; any will do where there is none."""
    return provider.choose_model("transcription", "whisper-large" if provider.name == "compatible" else None)


def ask(
    provider: Provider, model: str | None = None, *, seconds: str = "60", payload: Payload = WAV, **params: Any
) -> Ask:
    """An Ask for one recording."""
    return Ask(
        capability="transcribe",
        operation="transcription",
        model=model or model_of(provider),
        params=params,
        inputs=(Input("ab" * 32, payload=payload),),
        ceiling=Usage(audio_seconds=Decimal(seconds), requests=1),
        item_id="a b.wav",
    )


def fields(name: str, model: str | None = None, *, payload: Payload = WAV, **params: Any) -> dict[str, list[str]]:
    """The form a provider sends, by field."""
    provider = make(name)
    made = ask(provider, model, payload=payload, **params)
    request = provider.build_request(provider.to_wire(made), [made])
    form: dict[str, list[str]] = {}
    for field, value in request.fields:
        form.setdefault(field, []).append(value)
    return form


def reply(body: Any, status: int = 200, **headers: str) -> Reply:
    """A reply with JSON, or with bytes as they are."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


def parsed(body: Any, name: str = "together", **headers: str) -> Parsed:
    """What a provider makes of an answer."""
    provider = make(name)
    answer = replace(reply(body), headers={k.replace("_", "-"): v for k, v in headers.items()})
    assert provider.classify(answer) is None
    (only,) = provider.parse(answer, [ask(provider)])
    return only
