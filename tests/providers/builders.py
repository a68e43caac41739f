"""Providers, Asks, requests and replies for tests, for every provider and operation in the registry.

A new provider or model is tested as soon as its YAML lists it. A new operation needs an entry in ``SAMPLES``: the
params of an Ask and a simple reply. ``test_contract.py`` names the operation whose entry is missing.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
from PIL import Image

from mediamill.tasks.domain import Ask, Input, Payload, Usage
from mediamill.tasks.providers.base import BaseProvider
from mediamill.tasks.providers.registry import load_config, make_provider, provider_names
from mediamill.tasks.wire import Parsed, Reply, Request
from tests.helpers.audio_files import to_wav, tone
from tests.helpers.integration import require_integration

SECRET_KEY = "tgp_v1_SENTINEL-0123456789abcdefghijkl"
"""Every provider's key; no wire, request, message or result may hold it."""
PROVIDERS = provider_names()
ENVIRON = {config.key_env: SECRET_KEY for config in map(load_config, PROVIDERS) if config.key_env}
"""An environment in which every provider's key is set."""
UNLISTED_MODEL = "any/model"

RECORDING = Payload("a b.wav", "audio/wav", 4, data=b"RIFF")
RECORDING_ON_DISK = Payload("a b.wav", "audio/wav", 4, path=Path("a b.wav"))
RECORDING_URL = Payload("", "", 0, url="https://media.example/a.mp3")
IMAGE_FILE = Payload("a.png", "image/png", 3, data=b"png")
IMAGE_URL = Payload("", "", 0, url="https://media.example/a.png")


def encode_png(width: int, height: int) -> str:
    """A black PNG in base64."""
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@dataclass(frozen=True)
class Sample:
    """A simple Ask of one operation, and a reply to it that every provider of the operation may send.

    Attributes:
        capability: the capability that sends such Asks.
        params: the params of the Ask.
        payload: the payload of its input.
        ceiling: the maximum usage.
        reply: the reply's body; None for an operation whose replies differ between providers.
        content_type: the media type of the reply.
    """

    capability: str
    params: Mapping[str, Any] = field(default_factory=dict)
    payload: Payload | None = None
    ceiling: Usage = field(default_factory=lambda: Usage(requests=1))
    reply: Any = None
    content_type: str = "application/json"


_HALF_A_MINUTE = Usage(audio_seconds=Decimal(30), requests=1)
_TRANSCRIPT = {"text": "Hello there", "duration": 1.5, "language": "en"}
_MESSAGES = [{"role": "user", "content": "hello"}]
_IMAGE_MESSAGES = [
    {"role": "user", "content": [{"type": "picture", "input": 0}, {"type": "text", "text": "What is it?"}]}
]
_COMPLETION = {"choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]}

SAMPLES: Mapping[str, Sample] = {
    "transcription": Sample("transcribe", {}, RECORDING, _HALF_A_MINUTE, _TRANSCRIPT),
    "translation": Sample("translate", {"to": "en"}, RECORDING, _HALF_A_MINUTE, _TRANSCRIPT),
    "tts": Sample(
        "speak",
        {"text": "Hello there.", "format": "wav"},
        ceiling=Usage(characters=12, requests=1),
        reply=to_wav(tone(0.5)),
        content_type="audio/wav",
    ),
    "chat": Sample("complete", {"messages": _MESSAGES, "max_tokens": 50}, reply=_COMPLETION),
    "vision_chat": Sample("caption", {"messages": _IMAGE_MESSAGES, "max_tokens": 50}, IMAGE_FILE, reply=_COMPLETION),
    "ocr": Sample(
        "ocr",
        payload=IMAGE_FILE,
        reply={"pages": [{"index": 0, "markdown": "Exit", "dimensions": {"width": 20, "height": 10, "dpi": 72}}]},
    ),
    "rerank": Sample(
        "rerank",
        {"query": "q", "documents": ["a river", {"title": "b", "body": "c"}, {"body": "d", "title": "e"}]},
        reply={"results": [{"index": n, "relevance_score": 0.5 - n} for n in (2, 0, 1)]},
    ),
    "embeddings": Sample("embed", {"text": "a river"}, reply={"data": [{"index": 0, "embedding": [0.5, -1]}]}),
    "code_interpreter": Sample(
        "execute",
        {"code": "1 + 1", "language": "python"},
        reply={"data": {"session_id": "s", "outputs": []}, "errors": None},
    ),
    "image": Sample(
        "generate-image",
        {"prompt": "a fox", "response_format": "base64"},
        reply={"data": [{"index": 0, "b64_json": encode_png(2, 2)}]},
    ),
    "video": Sample("generate-video", {"prompt": "a boat"}, ceiling=Usage(videos=1, requests=1)),
}


def list_models(*operations: str) -> list[tuple[str, str, str]]:
    """Provider, operation and model: every listed one, and an unlisted one if the operation accepts any.

    Args:
        *operations: the operations to list; without any, all of them.
    """
    return [
        (name, operation, model)
        for name in PROVIDERS
        for operation, config in load_config(name).operations.items()
        if not operations or operation in operations
        for model in (*config.models, *([UNLISTED_MODEL] if config.any_model else []))
    ]


def build_provider(name: str, base_url: str | None = None, environ: Mapping[str, str] = ENVIRON) -> BaseProvider:
    """A provider as the command line makes it; one without a base URL gets one on this machine."""
    if base_url is None and load_config(name).base_url is None and name != "local":
        base_url = "http://localhost:8000/v1"
    provider = make_provider(name, base_url=base_url, api_key_env=None, environ=environ)
    assert isinstance(provider, BaseProvider)
    return provider


def choose_model(provider: BaseProvider, operation: str) -> str:
    """The operation's default model; an unlisted one if it has none. Skips where its package is not installed."""
    if (provider.name, operation) == ("local", "ocr"):
        require_integration("rapidocr")
    default = load_config(provider.name).operations[operation].default_model
    return provider.choose_model(operation, default or UNLISTED_MODEL)


def build_ask(
    operation: str,
    model: str = "m",
    *,
    inputs: Iterable[Input] | None = None,
    payload: Payload | None = None,
    ceiling: Usage | None = None,
    **params: Any,
) -> Ask:
    """The operation's sample Ask, with changes.

    Args:
        operation: a key of ``SAMPLES``.
        model: its model.
        inputs: replace the sample's inputs.
        payload: replaces the payload of the sample's input.
        ceiling: replaces the sample's ceiling.
        **params: are added to the sample's, or replace them.
    """
    sample = SAMPLES[operation]
    sent = payload or sample.payload
    if inputs is None:
        inputs = () if sent is None else (Input("ab" * 32, payload=sent),)
    all_params = {**sample.params, **params}
    used = ceiling or sample.ceiling
    return Ask(sample.capability, operation, model, all_params, tuple(inputs), used, item_id="a b.wav")


def build_ask_for(provider: BaseProvider, operation: str, **changes: Any) -> Ask:
    """The sample Ask for a provider's default model; ``changes`` are those of :func:`build_ask`."""
    return build_ask(operation, choose_model(provider, operation), **changes)


def build_request(provider: BaseProvider | str, ask: Ask) -> Request:
    """The request of an Ask."""
    provider = build_provider(provider) if isinstance(provider, str) else provider
    return provider.build_request(provider.to_wire(ask), [ask])


def build_body(provider: BaseProvider | str, ask: Ask) -> dict[str, Any]:
    """The JSON body of an Ask's request."""
    body = build_request(provider, ask).json
    assert isinstance(body, Mapping)
    return dict(body)


def build_form(provider: BaseProvider | str, ask: Ask) -> dict[str, list[str]]:
    """The form fields of an Ask's request, by name."""
    form: dict[str, list[str]] = {}
    for name, value in build_request(provider, ask).fields:
        form.setdefault(name, []).append(value)
    return form


def build_reply(body: Any, status: int = 200, headers: Mapping[str, str] | None = None, **more: str) -> Reply:
    """A reply with a JSON body, or with the given bytes.

    Args:
        body: bytes, or a value that becomes JSON.
        status: the HTTP status.
        headers, more: the headers; an underscore in a name stands for a hyphen.
    """
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    named = {name.replace("_", "-"): value for name, value in {**(headers or {}), **more}.items()}
    return Reply(status, named, raw)


def build_event_stream(*events: Any, end: bytes = b"data: [DONE]\n\n") -> Reply:
    """A reply of server-sent events that hold JSON."""
    lines = [b"data: " + orjson.dumps(event) + b"\n\n" for event in events]
    return Reply(200, {"content-type": "text/event-stream; charset=utf-8"}, b"".join(lines) + end)


def parse_reply(provider: BaseProvider | str, ask: Ask, reply: Reply) -> Parsed:
    """A success to one Ask, as the provider parses it."""
    provider = build_provider(provider) if isinstance(provider, str) else provider
    problem = provider.classify(reply, ask.operation)
    assert problem is None, problem
    (parsed,) = provider.parse(reply, [ask])
    return parsed


def parse_body(provider: str, operation: str, body: Any, **headers: str) -> Parsed:
    """A success with this body to the operation's sample Ask, as the provider parses it."""
    adapter = build_provider(provider)
    return parse_reply(adapter, build_ask_for(adapter, operation), build_reply(body, headers=headers))
