"""Providers made as the command line makes them, every model they list, and Asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from mediamill.tasks.domain import Ask, Input, Payload, Usage
from mediamill.tasks.providers.base import BaseProvider
from mediamill.tasks.providers.operations.transcription import TranscriptionConfig, TranscriptionModel
from mediamill.tasks.providers.registry import load_config, make_provider, provider_names
from mediamill.tasks.wire import Request, Wire

NAMES = tuple(name for name in provider_names() if "transcription" in load_config(name).operations)
"""Those that hear."""
KEY = "tgp_v1_SENTINEL-0123456789abcdefghijkl"
KEYS = {env: KEY for name in NAMES if (env := load_config(name).key_env)}
OWN_FIELDS = ("xai",)
"""Providers whose fields are their own; their wires have tests of their own."""

MODELS = [
    (name, model)
    for name in NAMES
    if name not in OWN_FIELDS and "transcription" in load_config(name).operations
    for model, facts in load_config(name).operations["transcription"].models.items()
    if facts.transport == "http"
]
MODELS.append(("compatible", "any/model"))

UPLOAD = Payload("clip.flac", "audio/flac", 4, data=b"fLaC")
FILE = Payload("clip.flac", "audio/flac", 4, path=Path("clip.flac"))
LINK = Payload("", "", 0, url="https://example.org/a.mp3")


def made(name: str, base_url: str | None = None, environ: Mapping[str, str] = KEYS) -> BaseProvider:
    """A provider; the one without an address of its own gets one."""
    if name == "compatible" and base_url is None:
        base_url = "http://localhost:8000"
    provider = make_provider(name, base_url=base_url, api_key_env=None, environ=environ)
    assert isinstance(provider, BaseProvider)
    return provider


def facts_of(name: str, model: str) -> TranscriptionModel:
    """What the configuration says of a model."""
    operation = load_config(name).operations["transcription"]
    assert isinstance(operation, TranscriptionConfig)
    facts = operation.models.get(model) or operation.any_model
    assert facts is not None
    return facts


def ask(model: str, payload: Payload = UPLOAD, seconds: str = "30", **params: Any) -> Ask:
    """A transcription of one recording."""
    source = Input("a" * 64, payload=payload)
    ceiling = Usage(audio_seconds=Decimal(seconds), requests=1)
    return Ask("transcribe", "transcription", model, params, (source,), ceiling)


def wired(name: str, model: str, **params: Any) -> Wire:
    """The wire of an Ask with those parameters."""
    return made(name).to_wire(ask(model, **params))


def requested(name: str, asked: Ask) -> Request:
    """The request of an Ask."""
    provider = made(name)
    return provider.build_request(provider.to_wire(asked), [asked])
