"""Embeddings: many texts in one request, one vector for each text in the reply (provider docs)."""

from __future__ import annotations

import array
import base64
import hashlib
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
from pydantic import Field

from mediamill.tasks.domain import JSON, Ask, Usage
from mediamill.tasks.errors import BadInput, BadReply
from mediamill.tasks.money.tokens import TokenMeter
from mediamill.tasks.providers.operations.answer_forms import unwrap
from mediamill.tasks.providers.operations.base import ModelFacts, Operation, OperationConfig, to_parsed
from mediamill.tasks.providers.operations.reply_json import decode_reply, to_mapping
from mediamill.tasks.wire import Batching, Parsed, Quota, Reply, Request, Wire

EMBEDDINGS = "embeddings"
"""The operation's name, also in price lists."""

_TIMEOUT_SECONDS = 300.0


class EmbeddingModel(ModelFacts):
    """An embedding model, and how many texts a request may hold (provider docs)."""

    dimensions: int | None = Field(default=None, gt=0, description="length of a vector; null if not known")
    shortens: bool = Field(default=False, description="accepts `dimensions` for shorter vectors")
    base64: bool = Field(default=False, description="accepts encoding_format base64: little-endian float32")
    max_texts: int = Field(default=64, gt=0, description="maximum number of texts in one request")
    max_tokens: int | None = Field(
        default=None, gt=0, description="maximum number of tokens in a text; a longer one is refused or truncated"
    )
    cuts: bool | None = Field(default=None, description="a longer text is truncated without notice; null if not known")
    max_request_tokens: int | None = Field(
        default=None, gt=0, description="maximum number of tokens in one request, all texts together"
    )

    def abilities(self) -> tuple[str, ...]:
        """The length of its vectors, and how many texts one request may hold."""
        size = [f"{self.dimensions} dimensions"] if self.dimensions else []
        return ("embeddings", *size, f"{self.max_texts} texts per request")


class EmbeddingConfig(OperationConfig[EmbeddingModel]):
    """An embeddings endpoint."""


class EmbeddingOperation(Operation[EmbeddingConfig, EmbeddingModel]):
    """``POST /embeddings``. An Ask's params hold ``text``, and ``dimensions`` if it differs from the model's own."""

    config_model = EmbeddingConfig
    facts_model = EmbeddingModel
    meter = TokenMeter()

    def quota(self, model: str) -> Quota:
        """The rates and the concurrency to start with, and how many texts share a request."""
        return replace(super().quota(model), per_request=self.model_facts(model).max_texts)

    def to_wire(self, ask: Ask) -> Wire:
        """The endpoint and the text; texts for the same model and dimensions share requests.

        Raises:
            BadInput: when the model has no vectors of the requested length.
        """
        facts = self.model_facts(ask.model)
        text, dimensions = ask.params["text"], ask.params.get("dimensions")
        body: dict[str, JSON] = {"model": ask.model, "input": text}
        if isinstance(dimensions, int) and dimensions != facts.dimensions:
            if facts.shortens:
                body["dimensions"] = dimensions
            elif facts.dimensions is not None:
                raise BadInput(
                    f"{ask.model} has vectors of {facts.dimensions} numbers, not {dimensions}",
                    kind="bad_request",
                    hint="leave --dimensions out",
                )
        if facts.base64:
            body["encoding_format"] = "base64"
        path = self.path
        group = hashlib.sha256(orjson.dumps([path, {**body, "input": None}, ask.sample])).hexdigest()
        limit = facts.max_request_tokens
        weight = len(str(text).encode("utf-8", "replace")) + 8  # a token is at least a byte, and a model adds some
        return Wire(
            self.provider.key_origin(ask.model),
            path,
            body,
            batching=Batching(
                group, facts.max_texts, float("inf") if limit is None else limit, min(weight, limit or weight)
            ),
            timeout=_TIMEOUT_SECONDS,
        )

    def build_request(self, wire: Wire, asks: Sequence[Ask]) -> Request:
        """One body for all texts."""
        return Request("POST", wire.path, json={**wire.params, "input": [ask.params["text"] for ask in asks]})

    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """For each text, ``vector``: base64 of little-endian float32, and ``dimensions``: its length.

        Raises:
            BadReply: when a text has no vector, or its vector holds anything but finite numbers.
        """
        whole = decode_reply(reply.body)
        content = to_mapping(whole)
        data = _find_vectors(unwrap(whole, lambda value: _find_vectors(value) is not None))
        if not isinstance(data, list) or len(data) != len(asks):
            found = len(data) if isinstance(data, list) else "none"
            raise BadReply(f"the reply to {len(asks)} texts has the wrong number of vectors: {found}")
        vectors = _order_vectors(data)
        usage = _split_usage(content.get("usage"), len(asks))
        return [
            to_parsed(reply, {"vector": vector, "dimensions": size}, share)
            for (vector, size), share in zip(vectors, usage, strict=True)
        ]


def _find_vectors(value: Any) -> list[Any] | None:
    """The vectors of a reply: OpenAI's ``data``, or ``embeddings`` or a bare list as other servers send them."""
    if isinstance(value, dict):
        if "embedding" in value and "index" not in value:
            return [value]
        value = value.get("data", value.get("embeddings"))
        value = value.get("float") if isinstance(value, dict) else value
    return value if isinstance(value, list) and value and all(map(_is_vector_entry, value)) else None


def _is_vector_entry(entry: Any) -> bool:
    return (isinstance(entry, dict) and "embedding" in entry) or (isinstance(entry, list) and bool(entry))


def _order_vectors(data: Sequence[Any]) -> list[tuple[str, int]]:
    """The vectors in the order of the texts: by their ``index``, or in the order of the reply if they have none."""
    vectors: list[tuple[str, int] | None] = [None] * len(data)
    for n, entry in enumerate(data):
        fields = entry if isinstance(entry, dict) else {"embedding": entry}
        index = fields.get("index", n)
        if not isinstance(index, int) or not 0 <= index < len(data) or vectors[index] is not None:
            raise BadReply(f"a vector has a wrong or repeated index: {index!r}")
        vectors[index] = encode_vector(fields.get("embedding"))
    return [vector for vector in vectors if vector is not None]


def encode_vector(vector: Any) -> tuple[str, int]:
    """A vector as base64 of little-endian float32, and its length.

    Args:
        vector: as the provider sends it: a list of numbers, or base64 of the same bytes.

    Raises:
        BadReply: when it is neither, is empty, or holds a value that is not a finite number.
    """
    numbers = array.array("f")
    if isinstance(vector, list) and len(vector) == 1 and isinstance(vector[0], list):  # llama.cpp's
        vector = vector[0]
    if isinstance(vector, str) and vector.lstrip().startswith("["):
        vector = decode_reply(vector.encode())
    try:
        if isinstance(vector, str):
            numbers.frombytes(base64.b64decode(vector, validate=True))
            if sys.byteorder == "big":
                numbers.byteswap()
        elif isinstance(vector, list):
            numbers.extend(vector)
    except (ValueError, TypeError, OverflowError):
        raise BadReply("a vector is neither a list of numbers nor base64 of float32") from None
    if not numbers or not math.isfinite(sum(numbers)):
        raise BadReply("a vector is empty or holds a value that is not a finite number")
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode(), len(numbers)


def _split_usage(usage: Any, parts: int) -> list[Usage]:
    """The request's tokens, divided so that the parts add up; empty usages if the reply does not state them."""
    total = usage.get("prompt_tokens", usage.get("total_tokens")) if isinstance(usage, dict) else None
    if not isinstance(total, int) or isinstance(total, bool) or total < 0:
        return [Usage()] * parts
    quotient, remainder = divmod(total, parts)
    return [Usage(input_tokens=quotient + (n < remainder), output_tokens=0) for n in range(parts)]
