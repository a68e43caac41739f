"""Provider configuration: configs/providers/NAME.yaml, checked strictly. Model names live there and nowhere else."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Literal
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mediamill.configs import FOLDER
from mediamill.tasks.errors import UsageError
from mediamill.tasks.providers.chatting import ChatWire, Talk
from mediamill.tasks.providers.embedding import Embeds
from mediamill.tasks.providers.filming import Films, FilmWire
from mediamill.tasks.providers.imaging import Images, ImageWire
from mediamill.tasks.providers.interpreter import Interprets
from mediamill.tasks.providers.ranking import Ranks, RankWire
from mediamill.tasks.providers.vision import Vision
from mediamill.tasks.providers.voices import Voice
from mediamill.tasks.wire import Endpoint

_PORTS = {"http": 80, "https": 443}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Socket(_Strict):
    """A provider's socket for an operation: where it is and how it is talked to."""

    path: str
    shape: Literal["together", "vllm", "xai"] = Field(default="together", description="whose messages it speaks")
    max_seconds: float | None = Field(default=None, description="longest recording of one conversation")
    least_deadline: float = Field(default=120.0, description="seconds a conversation may take at least")
    deadline_share: float = Field(default=1.5, description="seconds more for each second of audio: some only keep up")
    ahead: float = Field(default=30.0, description="seconds of audio sent beyond what the server says it has processed")
    quiet: float = Field(default=30.0, description="seconds without a word after which nothing was said")
    settle: float = Field(default=2.0, description="seconds without a message after which an answer is complete")
    rate: int = Field(default=24_000, description="Hz of the speech it answers with")


class ModelFacts(_Strict):
    """What a model can do: its words where it hears, ``voice`` where it speaks."""

    verbose: bool = Field(default=False, description="takes response_format verbose_json")
    words: bool = False
    times: bool = Field(default=True, description="takes timestamp_granularities with verbose_json")
    diarize: bool = False
    prompt: bool = False
    diarized_format: bool = Field(default=False, description="answers speakers in response_format diarized_json")
    languages: frozenset[str] | None = Field(default=None, description="ISO-639-1 codes it hears; None for many")
    targets: frozenset[str] | None = Field(default=None, description="codes it translates to; None for many")
    voice: Voice | None = Field(default=None, description="how it speaks; None for models that hear")
    vision: Vision | None = Field(default=None, description="how it sees; None for models that do not")
    talk: Talk | None = Field(default=None, description="how it answers prompts; None for models that hear or speak")
    ranks: Ranks | None = Field(default=None, description="how it ranks documents")
    embeds: Embeds | None = Field(default=None, description="how it embeds texts")
    films: Films | None = Field(default=None, description="how it makes videos")
    images: Images | None = Field(default=None, description="how it makes pictures")
    interprets: Interprets | None = Field(default=None, description="how it runs code")
    transport: Literal["http", "socket"] = Field(
        default="http", description="how it is reached where none is asked for"
    )


class Operation(_Strict):
    """One of a provider's endpoints: where it is, what it takes, and how fast to begin."""

    path: str
    chat: ChatWire | None = Field(default=None, description="how it spells the fields of a prompt")
    film: FilmWire | None = Field(default=None, description="how it is asked for videos")
    images: ImageWire | None = Field(default=None, description="how it spells a request for pictures")
    rank: RankWire | None = Field(default=None, description="how it spells a request to rank")
    socket: Socket | None = Field(default=None, description="its socket, for transport=socket")
    default_model: str | None = None
    formats: frozenset[str] = frozenset()
    max_bytes: int = 25_000_000
    max_seconds: float | None = None
    takes_urls: bool = False
    rpm: float | None = None
    tpm: float | None = None
    audio_seconds_per_hour: float | None = None
    least_deadline: float = Field(default=120.0, description="seconds an attempt may take at least")
    deadline_share: float = Field(default=0.1, description="seconds more for each second of audio")
    concurrency: int = 64
    start: int | None = None
    models: Mapping[str, ModelFacts] = Field(default_factory=dict)
    any_model: ModelFacts | None = Field(default=None, description="what to expect of a model not listed")

    @model_validator(mode="after")
    def _default_is_listed(self) -> Operation:
        if self.default_model is not None and self.default_model not in self.models:
            raise ValueError(f"default_model {self.default_model!r} is not among its models")
        return self


class ProviderConfig(_Strict):
    """A provider: where it is reached, the name of its key, its billing rules, its operations."""

    base_url: str | None = None
    base_url_env: str | None = None
    key_env: str | None = None
    key_optional: bool = False
    free: bool = False
    least_seconds: Decimal = Decimal(0)
    whole_seconds: bool = False
    voices_path: str | None = Field(default=None, description="where the voices can be asked for, below the API path")
    operations: Mapping[str, Operation]


@functools.cache
def load_config(name: str) -> ProviderConfig:
    """The configuration of a provider."""
    path = FOLDER / "providers" / f"{name}.yaml"
    return ProviderConfig.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def endpoint_of(base_url: str, api: str, key_env: str | None) -> Endpoint:
    """Origin and API path of a base URL, given with or without the API path or a trailing ``/v1``.

    The same variable meant ``https://host/v1`` for some SDKs and ``https://host`` for others (provider docs), so
    both are understood; a longer path of the user's own is kept.

    Args:
        base_url: as the user gave it.
        api: the provider's own API path, e.g. ``/v1`` or ``/openai/v1``.
        key_env: the NAME of the key's variable.

    Raises:
        UsageError: when it is no http(s) URL.
    """
    origin, path = _split(base_url)
    path = path.rstrip("/")
    path = path[:-3] if path.endswith(("/v1", "/v2")) else path
    stem = api.removesuffix("/v1")
    path = path if stem and path.endswith(stem) else path + stem
    return Endpoint(origin, f"{path}/v1", key_env)


def _split(base_url: str) -> tuple[str, str]:
    """Origin and path; the origin is spelled in one way only, for it is part of every request key."""
    hint = "write http(s)://host[:port][/path]"
    try:
        parts = urlsplit(base_url.strip())
        host, port = (None, None) if re.search(r"[\x00-\x20]", base_url.strip()) else (parts.hostname, parts.port)
    except ValueError:
        host, port = None, None
    if not host or not re.fullmatch(r"[A-Za-z0-9._:-]+", host) or parts.scheme not in _PORTS:
        raise UsageError("the base URL is not one", hint=hint)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise UsageError(f"the base URL for {host} holds more than host and path", hint=hint)
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, _PORTS[parts.scheme]) else ""), parts.path
