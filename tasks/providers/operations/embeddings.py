"""Embeddings: many texts in one request, vectors back in the order of the texts (wire facts: provider docs)."""

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
from mediamill.tasks.providers.operations.base import ModelFacts, Operation, OperationConfig, parsed
from mediamill.tasks.wire import Batching, Parsed, Quota, Reply, Request, Wire

EMBEDDINGS = "embeddings"
"""The operation, as the price list names it."""

_DEADLINE_SECONDS = 300.0


class EmbeddingModel(ModelFacts):
    """A model that embeds, and how many texts a request may hold (provider docs)."""

    dimensions: int | None = Field(default=None, gt=0, description="numbers of a vector; null where not known")
    shortens: bool = Field(default=False, description="takes `dimensions` for shorter vectors")
    base64: bool = Field(default=False, description="takes encoding_format base64: little-endian float32")
    max_texts: int = Field(default=64, gt=0, description="most texts of one request")
    max_tokens: int | None = Field(default=None, gt=0, description="longest text; more is refused or cut off")
    cuts: bool | None = Field(
        default=None, description="a longer text is cut off without a word; null where that is not known"
    )
    max_request_tokens: int | None = Field(
        default=None, gt=0, description="most tokens of one request, all texts together"
    )

    def abilities(self) -> tuple[str, ...]:
        """How long its vectors are, and how many texts it takes at once."""
        size = [f"{self.dimensions} numbers"] if self.dimensions else []
        return ("embeds", *size, f"{self.max_texts} texts a request")


class EmbeddingConfig(OperationConfig[EmbeddingModel]):
    """An endpoint that embeds."""


class EmbeddingOperation(Operation[EmbeddingConfig, EmbeddingModel]):
    """``POST /embeddings``. An Ask's params hold ``text``, and ``dimensions`` where other than the model's own."""

    config_model = EmbeddingConfig
    facts_model = EmbeddingModel
    meter = TokenMeter()

    def quota(self, model: str) -> Quota:
        """Rates and concurrency to begin with, and how many texts share a request."""
        return replace(super().quota(model), per_request=self.model_facts(model).max_texts)

    def to_wire(self, ask: Ask) -> Wire:
        """The endpoint and the text; texts for the same model and dimensions share requests.

        Raises:
            BadInput: when the model has no vectors of that size.
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
            timeout=_DEADLINE_SECONDS,
        )

    def build_request(self, wire: Wire, asks: Sequence[Ask]) -> Request:
        """One body for all texts."""
        return Request("POST", wire.path, json={**wire.params, "input": [ask.params["text"] for ask in asks]})

    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """``vector``: base64 of little-endian float32, one a text; ``dimensions``: how many numbers it has.

        Raises:
            BadReply: when a text has no vector, or one that is not of finite numbers.
        """
        try:
            content = orjson.loads(reply.body)
        except ValueError:
            raise BadReply("the reply is not JSON") from None
        data = content.get("data") if isinstance(content, dict) else None
        if not isinstance(data, list) or len(data) != len(asks):
            raise BadReply(f"asked for {len(asks)} vectors, got {len(data) if isinstance(data, list) else 'none'}")
        vectors = _order_vectors(data)
        usage = _split_usage(content.get("usage"), len(asks))
        return [
            parsed(reply, {"vector": vector, "dimensions": size}, share)
            for (vector, size), share in zip(vectors, usage, strict=True)
        ]


def _order_vectors(data: Sequence[Any]) -> list[tuple[str, int]]:
    """Vectors by their ``index``; the order of the reply where there is none."""
    vectors: list[tuple[str, int] | None] = [None] * len(data)
    for n, entry in enumerate(data):
        fields = entry if isinstance(entry, dict) else {}
        index = fields.get("index", n)
        if not isinstance(index, int) or not 0 <= index < len(data) or vectors[index] is not None:
            raise BadReply(f"a vector names no text of its own: index {index!r}")
        vectors[index] = encode_vector(fields.get("embedding"))
    return [vector for vector in vectors if vector is not None]


def encode_vector(vector: Any) -> tuple[str, int]:
    """A vector as base64 of little-endian float32, and how many numbers it has.

    Args:
        vector: as a provider tells it: a list of numbers, or base64 of the same bytes.

    Raises:
        BadReply: when it is neither, is empty, or holds what is no finite number.
    """
    numbers = array.array("f")
    try:
        if isinstance(vector, str):
            numbers.frombytes(base64.b64decode(vector, validate=True))
            if sys.byteorder == "big":
                numbers.byteswap()
        elif isinstance(vector, list):
            numbers.extend(vector)
    except (ValueError, TypeError, OverflowError):
        raise BadReply("a vector is neither numbers nor base64 of float32") from None
    if not numbers or not math.isfinite(sum(numbers)):
        raise BadReply("a vector is empty or holds what is no number")
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode(), len(numbers)


def _split_usage(usage: Any, parts: int) -> list[Usage]:
    """The request's tokens, shared out so that the parts add up; not stated where the reply does not."""
    total = usage.get("prompt_tokens", usage.get("total_tokens")) if isinstance(usage, dict) else None
    if not isinstance(total, int) or isinstance(total, bool) or total < 0:
        return [Usage()] * parts
    each, rest = divmod(total, parts)
    return [Usage(input_tokens=each + (n < rest), output_tokens=0) for n in range(parts)]
