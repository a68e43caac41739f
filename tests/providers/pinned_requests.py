"""Asks for every provider, operation and model, and what they come to: request key, wire and request.

What an answer was bought under must not change, or it is bought again. ``pinned_requests.json`` holds what every Ask
came to when it was written; ``python -m tests.providers.pinned_requests`` writes it anew, which is right only for Asks
that are new.
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
"""The end of a hint that names the providers there are."""
UNLISTED = "any/model"
PROXY = "https://proxy.example/team/v1"

RECORDING = Input("ab" * 32, payload=Payload("a b.wav", "audio/wav", 4, data=b"RIFF"))
SAMPLES = Input("ac" * 32, "pcm-16000", payload=Payload("a.pcm", "audio/pcm", 40_000, data=bytes(40_000)))
LINKED = Input("ad" * 32, "url", payload=Payload("", "", 0, url="https://media.example/a.mp3"))
PICTURE = Input("ae" * 32, payload=Payload("a.png", "image/png", 3, data=b"png"))
PICTURE_LINK = Input("af" * 32, "url", payload=Payload("", "", 0, url="https://media.example/a.png"))
SCHEMA = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
DOCUMENTS = ["a river", {"title": "b", "body": "c", "n": 3}, {"body": "d", "title": None}]

Variant = tuple[Mapping[str, Any], Sequence[Input], Usage]


def cases() -> Iterator[tuple[str, str, str | None, str, str, str]]:
    """Name, provider, base URL, operation, model and variant of every Ask; of an operation without variants none."""
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
def provider_of(name: str, base_url: str | None) -> Provider:
    """A provider; the one that needs an address gets one."""
    if name == "compatible" and base_url is None:
        base_url = "http://localhost:8000/v1"
    return make_provider(name, base_url=base_url, api_key_env=None, environ=ENVIRON)


def outcome(provider: str, base_url: str | None, operation: str, model: str, variant: str) -> dict[str, Any] | None:
    """The request key, the wire and the request of an Ask; or why it is refused."""
    params, inputs, ceiling = _VARIANTS[operation][variant]
    ask = Ask(f"pin-{operation}", operation, model, params, tuple(inputs), ceiling)
    made = provider_of(provider, base_url)
    try:
        wire = made.to_wire(ask)
        request = made.build_request(wire, [ask])
    except KeyError:
        return None  # a format that no capability asks this model for
    except (BadInput, UsageError) as error:
        return {
            "refused": type(error).__name__,
            "message": error.message,
            "kind": getattr(error, "kind", None),
            "hint": error.hint,
        }
    wire = replace(wire, origin=re.sub(r"^(local:.*?)-\d[\w.]*$", r"\1", wire.origin))  # whatever is installed
    return {"key": request_key(provider, ask, wire), "wire": _wire(wire), "request": _request(request, wire.params)}


def limits_of(provider: str, operation: str, model: str) -> dict[str, Any]:
    """How fast an operation goes, what audio it takes, and which model is chosen."""
    made = provider_of(provider, None)
    told: dict[str, Any] = {"quota": repr(made.quota(operation, model))}
    told["models"] = [_chosen(made, operation, asked) for asked in (None, model, "whisper-large-v3-turbo")]
    if operation in ("transcription", "translation"):
        audio = [_limits(made, operation, model, transport) for transport in (None, "http", "socket")]
        told["audio"] = audio
    return told


def digest(told: Any) -> str:
    """A short name for what an Ask came to."""
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()[:20]


def fixture() -> dict[str, Any]:
    """What every Ask comes to: a digest, and in full for the first model of each operation."""
    full: dict[str, Any] = {}
    digests: dict[str, str] = {}
    seen: dict[tuple[str, str], str] = {}
    limits = {}
    for name, provider, base_url, operation, model, variant in cases():
        told = outcome(provider, base_url, operation, model, variant)
        if told is None:
            continue
        digests[name] = digest(told)
        whole = seen.setdefault((provider, operation), model) == model and base_url is None
        if whole and len(orjson.dumps(told)) < _LONG:
            full[name] = told
        if base_url is None:
            limits[f"{provider} {operation} {model}"] = digest(limits_of(provider, operation, model))
    return {"full": full, "digests": digests, "limits": limits}


def _chosen(made: Provider, operation: str, asked: str | None) -> list[str | None]:
    if made.name == "local" and asked is None and operation == "tts":
        return []  # whatever is installed
    try:
        return [made.choose_model(operation, asked)]
    except UsageError as error:
        return [error.message, error.hint and _PROVIDER_LIST.sub("", error.hint)]


def _limits(made: Provider, operation: str, model: str, transport: str | None) -> Any:
    try:
        limits = made.audio_limits(operation, model, transport)
    except BadInput as error:
        return error.message
    return [sorted(limits.formats), limits.max_bytes, limits.max_seconds, limits.takes_urls]


def _wire(wire: Wire) -> dict[str, Any]:
    pack = wire.batching
    return _stated(
        {
            "origin": wire.origin,
            "path": wire.path,
            "params": wire.params,
            "encoding": wire.encoding,
            "repeatable": wire.repeatable,
            "job": wire.job,
            "job_deadline": wire.job_timeout,
            "pack": None if pack is None else [pack.group, pack.max_asks, str(pack.max_weight), pack.weight],
            "deadline": wire.timeout,
            "stream": wire.stream,
        }
    )


def _request(request: Request, params: Mapping[str, Any]) -> dict[str, Any]:
    talk = request.session
    said = None
    if talk is not None:
        wrapped = talk.encode_chunk(b"\x01\x00" * 8) if talk.audio is not None else None
        wrapped = wrapped.hex() if isinstance(wrapped, bytes) else wrapped
        said = [
            list(talk.opening_messages()),
            wrapped,
            list(talk.closing_messages()),
            talk.chunk_bytes,
            talk.waits_for_ready,
        ]
    return _stated(
        {
            "method": request.method,
            "path": request.path,
            "headers": dict(request.headers),
            "json": "the wire's params" if request.json == params else request.json,
            "fields": [list(field) for field in request.fields],
            "files": [[name, payload.filename, payload.mime, payload.url] for name, payload in request.files],
            "idle": request.max_idle_seconds,
            "awaited": request.is_first_token is not None,
            "said": said,
        }
    )


def _stated(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if value not in (None, False, [], {})}


def _hearing(**params: Any) -> Variant:
    recording = SAMPLES if params.get("transport") == "socket" else RECORDING
    return params, [recording], Usage(audio_seconds=Decimal(30), requests=1)


def _translation(**params: Any) -> Variant:
    return {"to": "en", **params}, [RECORDING], Usage(audio_seconds=Decimal(30), requests=1)


def _speech(form: str = "mp3", **params: Any) -> Variant:
    return {"text": "Hello there.", "format": form, **params}, (), Usage(characters=12, requests=1)


def _prompt(**params: Any) -> Variant:
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hello"}]
    return {"messages": messages, "max_tokens": 200, **params}, (), Usage(requests=1)


def _shown(*inputs: Input, detail: str | None = None, kind: str = "picture", **params: Any) -> Variant:
    more = {} if detail is None else {"detail": detail}
    parts: list[Any] = [{"type": kind, "input": n, **more} for n in range(len(inputs))]
    messages = [{"role": "user", "content": [*parts, {"type": "text", "text": "What is it?"}]}]
    return {"messages": messages, "max_tokens": 200, **params}, inputs, Usage(requests=1)


def _plain(**params: Any) -> Variant:
    return params, (), Usage(requests=1)


def _drawn(*inputs: Input, **params: Any) -> Variant:
    return {"prompt": "a fox", "response_format": "base64", **params}, inputs, Usage(requests=1)


def _filmed(*inputs: Input, **params: Any) -> Variant:
    return {"prompt": "a boat", **params}, inputs, Usage(videos=1, requests=1)


_TRANSCRIPTIONS = {
    "plain": _hearing(),
    "as usual": _hearing(language="auto", segments=True, words=True, diarize=False),
    "German": _hearing(language="de"),
    "Brazilian": _hearing(language="pt-BR"),
    "English by its long code": _hearing(language="eng"),
    "no language": _hearing(language="xx"),
    "words only": _hearing(words=True, segments=False),
    "segments only": _hearing(words=False, segments=True),
    "text only": _hearing(words=False, segments=False),
    "speakers": _hearing(diarize=True),
    "so many speakers": _hearing(diarize=True, min_speakers=2, max_speakers=4, language="en"),
    "speakers not asked for": _hearing(diarize=False, min_speakers=2),
    "prompt": _hearing(prompt="Ada, Bob; Carl\nDora"),
    "cold": _hearing(temperature=0.0),
    "warm": _hearing(temperature=0.3),
    "link": ({"language": "en"}, [LINKED], Usage(requests=1)),
    "three hours": ({}, [RECORDING], Usage(audio_seconds=Decimal(10_800), requests=1)),
    "http": _hearing(transport="http", language="en"),
    "socket": _hearing(transport="socket"),
    "socket, German, prompt": _hearing(transport="socket", language="de", prompt="Ada"),
    "socket, speakers": _hearing(transport="socket", diarize=True),
    "socket, warm": _hearing(transport="socket", temperature=0.3),
}
_TRANSLATIONS = {
    "plain": _translation(),
    "from German": _translation(language="de"),
    "from Brazilian": _translation(language="pt-BR", segments=True, words=True),
    "from any": _translation(language="auto", words=False),
    "to German": _translation(to="de"),
    "to Brazilian": _translation(to="pt-BR", language="en"),
    "prompt": _translation(prompt="Ada", temperature=0.2),
    "speakers": _translation(diarize=True),
    "link": ({"to": "en"}, [LINKED], Usage(requests=1)),
    "socket": _translation(transport="socket"),
}
_SPEECH = {
    "plain": _speech("wav"),
    **{f"as {form}": _speech(form) for form in ("mp3", "wav", "flac", "opus", "pcm") if form in ("mp3", "wav", "pcm")},
    "voice": _speech("wav", voice="v"),
    "speed": _speech("wav", speed=1.5),
    "usual speed": _speech("wav", speed=1.0),
    "too fast": _speech("wav", speed=9.0),
    "language": _speech("wav", language="de"),
    "instructions": _speech("wav", instructions="softly"),
    "sample rate": _speech("wav", sample_rate=8000),
    "stream": _speech("pcm", stream=True, language="en"),
    "socket": _speech("pcm", transport="socket"),
    "socket, all": _speech("pcm", transport="socket", voice="v", language="en", sample_rate=16_000, speed=1.0),
    "http": _speech("wav", transport="http"),
    "long": ({"text": "Hello.", "format": "wav"}, (), Usage(characters=14_000, requests=1)),
}
_CHATS = {
    "plain": _prompt(),
    "no limit": _prompt(max_tokens=None),
    "long": _prompt(max_tokens=20_000),
    "too long": _prompt(max_tokens=100_000),
    **{
        name: _prompt(**{name: value})
        for name, value in {
            "temperature": 0.2, "top_p": 0.9, "top_k": 40, "min_p": 0.1, "repetition_penalty": 1.1,
            "presence_penalty": 0.5, "frequency_penalty": 0.5, "seed": 7, "stop": ["\n"], "n": 2, "logprobs": 3,
            "reasoning_effort": "low",
        }.items()
    },
    "schema": _prompt(schema=SCHEMA),
    "named schema": _prompt(schema=SCHEMA, schema_name="product"),
    "tools": _prompt(tools=TOOLS),
    "tool choice": _prompt(tools=TOOLS, tool_choice="auto"),
    "tools and schema": _prompt(tools=TOOLS, schema=SCHEMA),
    "stream": _prompt(stream=True, temperature=0.0),
}  # fmt: skip
_VISION = {
    "picture": _shown(PICTURE),
    "high": _shown(PICTURE, detail="high", temperature=0.0),
    "two, one by its address": _shown(PICTURE, PICTURE_LINK, schema=SCHEMA),
    "video": _shown(PICTURE, kind="video"),
    "stream": _shown(PICTURE, stream=True, n=2),
}
_RANKS = {
    "texts": _plain(query="q", documents=["a river", "a lake"]),
    "objects": _plain(query="q", documents=DOCUMENTS),
    "fields": _plain(query="q", documents=DOCUMENTS, rank_fields=["body", "title"]),
    "texts with fields": _plain(query="q", documents=["a"], rank_fields=["body"]),
    **{
        spelling: _plain(query="q", documents=DOCUMENTS, spelling=spelling)
        for spelling in ("together", "cohere", "cohere-v1", "vllm", "tei", "other")
    },
}
_EMBEDDINGS = {
    "text": _plain(text="a river"),
    "longer": _plain(text="ein Fluß " * 5),
    "short vector": _plain(text="a river", dimensions=64),
    "own size": _plain(text="a river", dimensions=1536),
    "its size": _plain(text="a river", dimensions=1024),
}
_CODE = {
    "code": _plain(code="1 + 1", language="python"),
    "no language": _plain(code="1 + 1"),
    "session": _plain(code="1", session_id="s-1"),
    "group and files": _plain(code="1", group="g", files=[{"name": "a", "encoding": "base64", "content": "AA=="}]),
}
_IMAGES = {
    "plain": _drawn(),
    "link": _drawn(response_format="url"),
    "no form": ({"prompt": "a fox"}, (), Usage(requests=1)),
    "one reference": _drawn(PICTURE),
    "references": _drawn(PICTURE, PICTURE_LINK),
    **{
        "+".join(f"{k}={v}" for k, v in params.items()): _drawn(**params)
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
    "LoRAs": _drawn(image_loras=[{"path": "x", "scale": 1}]),
    "long prompt": _drawn(prompt="a fox " * 6000),
}  # fmt: skip
_VIDEOS = {
    "plain": _filmed(),
    "keyframe": _filmed(PICTURE, frames=["first"]),
    "keyframes": _filmed(PICTURE, PICTURE_LINK, frames=["first", "last"]),
    "keyframe and references": _filmed(PICTURE, PICTURE_LINK, PICTURE, frames=["first"]),
    "references": _filmed(PICTURE, PICTURE_LINK),
    "all": _filmed(
        size="1280x720", resolution="720p", fps=24, steps=20, seed=5, guidance_scale=4.0, negative_prompt="rain",
        output_quality=10, generate_audio=True, aspect_ratio="16:9", seconds=8, output_format="mp4",
    ),
    "guidance": _filmed(guidance_scale=4.5, seconds=4),
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
        for table, rows in fixture().items()
    ]
    lines = ",\n".join(f'"{table}": {{\n' + ",\n".join(sorted(rows)) + "\n}" for table, rows in tables)
    FIXTURE.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
