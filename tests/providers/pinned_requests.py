"""Asks for every provider, operation and model, with their request key, wire and request.

A request key must not change, or its answer is bought again. ``pinned_requests.json`` holds the result of every Ask;
``python -m tests.providers.pinned_requests`` writes it again, which is right only for new Asks.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import yaml

from mediamill.tasks.calls.request_key import request_key
from mediamill.tasks.domain import Ask, Input, Payload, Usage
from mediamill.tasks.errors import BadInput, UsageError
from mediamill.tasks.providers.registry import load_config, make_provider, provider_names
from mediamill.tasks.wire import Provider, Request, Wire
from tests.helpers.paths import ROOT

FIXTURE = Path(__file__).with_name("pinned_requests.json")
CONFIGS = ROOT / "configs" / "providers"
ENVIRON = {env: "k" for name in provider_names() if (env := load_config(name).key_env)}
_LONG = 4000
_PROVIDER_LIST = re.compile(r"(?<=--provider) \w.*")
"""The end of a hint that lists providers."""
UNLISTED = "any/model"
PROXY = "https://proxy.example/team/v1"

RECORDING = Input("ab" * 32, payload=Payload("a b.wav", "audio/wav", 4, data=b"RIFF"))
PCM_SAMPLES = Input("ac" * 32, "pcm-16000", payload=Payload("a.pcm", "audio/pcm", 40_000, data=bytes(40_000)))
RECORDING_LINK = Input("ad" * 32, "url", payload=Payload("", "", 0, url="https://media.example/a.mp3"))
IMAGE = Input("ae" * 32, payload=Payload("a.png", "image/png", 3, data=b"png"))
IMAGE_LINK = Input("af" * 32, "url", payload=Payload("", "", 0, url="https://media.example/a.png"))
SCHEMA = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
DOCUMENTS = ["a river", {"title": "b", "body": "c", "n": 3}, {"body": "d", "title": None}]

Variant = tuple[Mapping[str, Any], Sequence[Input], Usage]


def iter_cases() -> Iterator[tuple[str, str, str | None, str, str, str]]:
    """Name, provider, base URL, operation, model and variant of every Ask; operations without variants are skipped."""
    for path in sorted(CONFIGS.glob("*.yaml")):
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        for operation, facts in config["operations"].items():
            for model in (*(facts.get("models") or ()), UNLISTED):
                for variant in _VARIANTS.get(operation, ()):
                    name = f"{path.stem} {operation} {model} {variant}"
                    yield name, path.stem, None, operation, model, variant
            first = next(iter(facts.get("models") or ()), UNLISTED)
            for variant in list(_VARIANTS.get(operation, ()))[:2]:
                yield f"{path.stem} by {PROXY} {operation} {variant}", path.stem, PROXY, operation, first, variant


@cache
def get_provider(name: str, base_url: str | None) -> Provider:
    """A provider; the one that needs a base URL gets one."""
    if name == "compatible" and base_url is None:
        base_url = "http://localhost:8000/v1"
    return make_provider(name, base_url=base_url, api_key_env=None, environ=ENVIRON)


def describe_ask(
    provider: str, base_url: str | None, operation: str, model: str, variant: str
) -> dict[str, Any] | None:
    """The request key, the wire and the request of an Ask, or why it is refused."""
    params, inputs, ceiling = _VARIANTS[operation][variant]
    ask = Ask(f"pin-{operation}", operation, model, params, tuple(inputs), ceiling)
    adapter = get_provider(provider, base_url)
    try:
        wire = adapter.to_wire(ask)
        request = adapter.build_request(wire, [ask])
    except KeyError:
        return None  # a format that no capability asks this model for
    except (BadInput, UsageError) as error:
        return {
            "refused": type(error).__name__,
            "message": error.message,
            "kind": getattr(error, "kind", None),
            "hint": error.hint,
        }
    wire = replace(wire, origin=re.sub(r"^(local:.*?)-\d[\w.+]*$", r"\1", wire.origin))  # whatever is installed
    return {
        "key": request_key(provider, ask, wire),
        "wire": describe_wire(wire),
        "request": describe_request(request, wire.params),
    }


def describe_limits(provider: str, operation: str, model: str) -> dict[str, Any]:
    """The quota of an operation, the audio it accepts, and the models it chooses."""
    adapter = get_provider(provider, None)
    limits: dict[str, Any] = {"quota": repr(adapter.quota(operation, model))}
    limits["models"] = [
        choose_model(adapter, operation, requested) for requested in (None, model, "whisper-large-v3-turbo")
    ]
    if operation in ("transcription", "translation"):
        audio = [list_audio_limits(adapter, operation, model, transport) for transport in (None, "http", "socket")]
        limits["audio"] = audio
    return limits


def digest(content: Any) -> str:
    """A short digest of a result."""
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()[:20]


def build_fixture() -> dict[str, Any]:
    """The result of every Ask: as a digest, and in full for the first model of each operation."""
    full: dict[str, Any] = {}
    digests: dict[str, str] = {}
    first_models: dict[tuple[str, str], str] = {}
    limits = {}
    for name, provider, base_url, operation, model, variant in iter_cases():
        found = describe_ask(provider, base_url, operation, model, variant)
        if found is None:
            continue
        digests[name] = digest(found)
        in_full = first_models.setdefault((provider, operation), model) == model and base_url is None
        if in_full and len(orjson.dumps(found)) < _LONG:
            full[name] = found
        if base_url is None:
            limits[f"{provider} {operation} {model}"] = digest(describe_limits(provider, operation, model))
    return {"full": full, "digests": digests, "limits": limits}


def choose_model(provider: Provider, operation: str, requested: str | None) -> list[str | None]:
    if provider.name == "local" and requested is None and operation == "tts":
        return []  # whatever is installed
    try:
        return [provider.choose_model(operation, requested)]
    except UsageError as error:
        return [error.message, error.hint and _PROVIDER_LIST.sub("", error.hint)]


def list_audio_limits(provider: Provider, operation: str, model: str, transport: str | None) -> Any:
    try:
        limits = provider.audio_limits(operation, model, transport)
    except BadInput as error:
        return error.message
    return [sorted(limits.formats), limits.max_bytes, limits.max_seconds, limits.takes_urls]


def describe_wire(wire: Wire) -> dict[str, Any]:
    batching = wire.batching
    return drop_empty(
        {
            "origin": wire.origin,
            "path": wire.path,
            "params": wire.params,
            "encoding": wire.encoding,
            "repeatable": wire.repeatable,
            "job": wire.job,
            "job_deadline": wire.job_timeout,
            "pack": None
            if batching is None
            else [batching.group, batching.max_asks, str(batching.max_weight), batching.weight],
            "deadline": wire.timeout,
            "stream": wire.stream,
        }
    )


def describe_request(request: Request, params: Mapping[str, Any]) -> dict[str, Any]:
    session = request.session
    messages = None
    if session is not None:
        chunk = session.encode_chunk(b"\x01\x00" * 8) if session.audio is not None else None
        chunk = chunk.hex() if isinstance(chunk, bytes) else chunk
        messages = [
            list(session.opening_messages()),
            chunk,
            list(session.closing_messages()),
            session.chunk_bytes,
            session.waits_for_ready,
        ]
    return drop_empty(
        {
            "method": request.method,
            "path": request.path,
            "headers": dict(request.headers),
            "json": "the wire's params" if request.json == params else request.json,
            "fields": [list(field) for field in request.fields],
            "files": [[name, payload.filename, payload.mime, payload.url] for name, payload in request.files],
            "idle": request.max_idle_seconds,
            "awaited": request.is_first_token is not None,
            "said": messages,
        }
    )


def drop_empty(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, False, [], {})}


def transcription(**params: Any) -> Variant:
    recording = PCM_SAMPLES if params.get("transport") == "socket" else RECORDING
    return params, [recording], Usage(audio_seconds=Decimal(30), requests=1)


def translation(**params: Any) -> Variant:
    return {"to": "en", **params}, [RECORDING], Usage(audio_seconds=Decimal(30), requests=1)


def speech(form: str = "mp3", **params: Any) -> Variant:
    return {"text": "Hello there.", "format": form, **params}, (), Usage(characters=12, requests=1)


def prompt(**params: Any) -> Variant:
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hello"}]
    return {"messages": messages, "max_tokens": 200, **params}, (), Usage(requests=1)


def image_prompt(*inputs: Input, detail: str | None = None, kind: str = "picture", **params: Any) -> Variant:
    more = {} if detail is None else {"detail": detail}
    parts: list[Any] = [{"type": kind, "input": n, **more} for n in range(len(inputs))]
    messages = [{"role": "user", "content": [*parts, {"type": "text", "text": "What is it?"}]}]
    return {"messages": messages, "max_tokens": 200, **params}, inputs, Usage(requests=1)


def text_operation(**params: Any) -> Variant:
    return params, (), Usage(requests=1)


def image(*inputs: Input, **params: Any) -> Variant:
    return {"prompt": "a fox", "response_format": "base64", **params}, inputs, Usage(requests=1)


def video(*inputs: Input, **params: Any) -> Variant:
    return {"prompt": "a boat", **params}, inputs, Usage(videos=1, requests=1)


_TRANSCRIPTIONS = {
    "plain": transcription(),
    "as usual": transcription(language="auto", segments=True, words=True, diarize=False),
    "German": transcription(language="de"),
    "Brazilian": transcription(language="pt-BR"),
    "English by its long code": transcription(language="eng"),
    "no language": transcription(language="xx"),
    "words only": transcription(words=True, segments=False),
    "segments only": transcription(words=False, segments=True),
    "text only": transcription(words=False, segments=False),
    "speakers": transcription(diarize=True),
    "so many speakers": transcription(diarize=True, min_speakers=2, max_speakers=4, language="en"),
    "speakers not asked for": transcription(diarize=False, min_speakers=2),
    "prompt": transcription(prompt="Ada, Bob; Carl\nDora"),
    "cold": transcription(temperature=0.0),
    "warm": transcription(temperature=0.3),
    "link": ({"language": "en"}, [RECORDING_LINK], Usage(requests=1)),
    "three hours": ({}, [RECORDING], Usage(audio_seconds=Decimal(10_800), requests=1)),
    "http": transcription(transport="http", language="en"),
    "socket": transcription(transport="socket"),
    "socket, German, prompt": transcription(transport="socket", language="de", prompt="Ada"),
    "socket, speakers": transcription(transport="socket", diarize=True),
    "socket, warm": transcription(transport="socket", temperature=0.3),
}
_TRANSLATIONS = {
    "plain": translation(),
    "from German": translation(language="de"),
    "from Brazilian": translation(language="pt-BR", segments=True, words=True),
    "from any": translation(language="auto", words=False),
    "to German": translation(to="de"),
    "to Brazilian": translation(to="pt-BR", language="en"),
    "prompt": translation(prompt="Ada", temperature=0.2),
    "speakers": translation(diarize=True),
    "link": ({"to": "en"}, [RECORDING_LINK], Usage(requests=1)),
    "socket": translation(transport="socket"),
}
_SPEECH = {
    "plain": speech("wav"),
    **{f"as {form}": speech(form) for form in ("mp3", "wav", "flac", "opus", "pcm") if form in ("mp3", "wav", "pcm")},
    "voice": speech("wav", voice="v"),
    "speed": speech("wav", speed=1.5),
    "usual speed": speech("wav", speed=1.0),
    "too fast": speech("wav", speed=9.0),
    "language": speech("wav", language="de"),
    "instructions": speech("wav", instructions="softly"),
    "sample rate": speech("wav", sample_rate=8000),
    "stream": speech("pcm", stream=True, language="en"),
    "socket": speech("pcm", transport="socket"),
    "socket, all": speech("pcm", transport="socket", voice="v", language="en", sample_rate=16_000, speed=1.0),
    "http": speech("wav", transport="http"),
    "long": ({"text": "Hello.", "format": "wav"}, (), Usage(characters=14_000, requests=1)),
}
_CHATS = {
    "plain": prompt(),
    "no limit": prompt(max_tokens=None),
    "long": prompt(max_tokens=20_000),
    "too long": prompt(max_tokens=100_000),
    **{
        name: prompt(**{name: value})
        for name, value in {
            "temperature": 0.2, "top_p": 0.9, "top_k": 40, "min_p": 0.1, "repetition_penalty": 1.1,
            "presence_penalty": 0.5, "frequency_penalty": 0.5, "seed": 7, "stop": ["\n"], "n": 2, "logprobs": 3,
            "reasoning_effort": "low",
        }.items()
    },
    "schema": prompt(schema=SCHEMA),
    "named schema": prompt(schema=SCHEMA, schema_name="product"),
    "tools": prompt(tools=TOOLS),
    "tool choice": prompt(tools=TOOLS, tool_choice="auto"),
    "tools and schema": prompt(tools=TOOLS, schema=SCHEMA),
    "stream": prompt(stream=True, temperature=0.0),
}  # fmt: skip
_VISION = {
    "picture": image_prompt(IMAGE),
    "high": image_prompt(IMAGE, detail="high", temperature=0.0),
    "two, one by its address": image_prompt(IMAGE, IMAGE_LINK, schema=SCHEMA),
    "video": image_prompt(IMAGE, kind="video"),
    "stream": image_prompt(IMAGE, stream=True, n=2),
}
_RANKS = {
    "texts": text_operation(query="q", documents=["a river", "a lake"]),
    "objects": text_operation(query="q", documents=DOCUMENTS),
    "fields": text_operation(query="q", documents=DOCUMENTS, rank_fields=["body", "title"]),
    "texts with fields": text_operation(query="q", documents=["a"], rank_fields=["body"]),
    **{
        spelling: text_operation(query="q", documents=DOCUMENTS, spelling=spelling)
        for spelling in ("together", "cohere", "cohere-v1", "vllm", "tei", "other")
    },
}
_EMBEDDINGS = {
    "text": text_operation(text="a river"),
    "longer": text_operation(text="ein Fluß " * 5),
    "short vector": text_operation(text="a river", dimensions=64),
    "own size": text_operation(text="a river", dimensions=1536),
    "its size": text_operation(text="a river", dimensions=1024),
}
_CODE = {
    "code": text_operation(code="1 + 1", language="python"),
    "no language": text_operation(code="1 + 1"),
    "session": text_operation(code="1", session_id="s-1"),
    "group and files": text_operation(
        code="1", group="g", files=[{"name": "a", "encoding": "base64", "content": "AA=="}]
    ),
}
_IMAGES = {
    "plain": image(),
    "link": image(response_format="url"),
    "no form": ({"prompt": "a fox"}, (), Usage(requests=1)),
    "one reference": image(IMAGE),
    "references": image(IMAGE, IMAGE_LINK),
    **{
        "+".join(f"{k}={v}" for k, v in params.items()): image(**params)
        for params in (
            {"size": "1024x1024"}, {"size": "auto"}, {"size": "1536x1024"}, {"size": "100x100"}, {"size": "large"},
            {"width": 1024, "height": 768}, {"width": 1024}, {"size": "1024x1024", "width": 512}, {"n": 2},
            {"steps": 8}, {"steps": 200}, {"seed": 3}, {"guidance_scale": 3.5}, {"negative_prompt": "dogs"},
            {"output_format": "png"}, {"output_format": "webp"}, {"quality": "high"}, {"quality": "max"},
            {"aspect_ratio": "16:9"}, {"aspect_ratio": "5:9"}, {"resolution": "2k"}, {"background": "transparent"},
            {"output_compression": 80}, {"moderation": "low"}, {"prompt_upsampling": True},
            {"disable_safety_checker": True},
        )
    },
    "LoRAs": image(image_loras=[{"path": "x", "scale": 1}]),
    "long prompt": image(prompt="a fox " * 6000),
}  # fmt: skip
_VIDEOS = {
    "plain": video(),
    "keyframe": video(IMAGE, frames=["first"]),
    "keyframes": video(IMAGE, IMAGE_LINK, frames=["first", "last"]),
    "keyframe and references": video(IMAGE, IMAGE_LINK, IMAGE, frames=["first"]),
    "references": video(IMAGE, IMAGE_LINK),
    "all": video(
        size="1280x720", resolution="720p", fps=24, steps=20, seed=5, guidance_scale=4.0, negative_prompt="rain",
        output_quality=10, generate_audio=True, aspect_ratio="16:9", seconds=8, output_format="mp4",
    ),
    "guidance": video(guidance_scale=4.5, seconds=4),
}  # fmt: skip
_VARIANTS: Mapping[str, Mapping[str, Variant]] = {
    "transcription": _TRANSCRIPTIONS,
    "translation": _TRANSLATIONS,
    "tts": _SPEECH,
    "chat": _CHATS,
    "vision_chat": _VISION,
    "rerank": _RANKS,
    "embeddings": _EMBEDDINGS,
    "code_interpreter": _CODE,
    "image": _IMAGES,
    "video": _VIDEOS,
}


if __name__ == "__main__":
    tables = [
        (table, [orjson.dumps({name: row}, option=orjson.OPT_SORT_KEYS).decode()[1:-1] for name, row in rows.items()])
        for table, rows in build_fixture().items()
    ]
    lines = ",\n".join(f'"{table}": {{\n' + ",\n".join(sorted(rows)) + "\n}" for table, rows in tables)
    FIXTURE.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
