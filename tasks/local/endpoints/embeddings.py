"""``POST embeddings`` in OpenAI's and Together's form (provider docs): by meaning, or words hashed into vectors."""

from __future__ import annotations

import asyncio
import base64
import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from mediamill.tasks.local.asr_engines.worker_pool import WorkerDied
from mediamill.tasks.local.endpoints.json_endpoint import (
    Fields,
    JsonReply,
    count_byte_tokens,
    make_json_endpoint,
    read_model,
    refuse_unknown_fields,
)
from mediamill.tasks.local.endpoints.sentence_encoder import DIMENSIONS
from mediamill.tasks.local.server.api_error import ApiError
from mediamill.tasks.local.server.server_state import RequestContext, ServerState
from mediamill.tasks.system.embedding_model import USE

_INPUTS = frozenset({"input"})
_WORD = re.compile(r"\w+")
_MAX_TEXTS = 2048
_MAX_TEXT_TOKENS = 8192
_MAX_REQUEST_TOKENS = 300_000
_MAX_DIMENSIONS = 65_536
_MAX_NUMBERS = _MAX_TEXTS * 4096
_DEFAULT_DIMENSIONS = 256
_FIELDS: Mapping[str, frozenset[str]] = {
    "together": frozenset({"model", "input", "encoding_format"}),
    "openai": frozenset({"model", "input", "dimensions", "encoding_format", "user"}),
}


async def _embed_texts(state: ServerState, context: RequestContext, fields: Fields) -> JsonReply:
    dialect = context.dialect
    if dialect.name in _FIELDS:
        refuse_unknown_fields(fields, _FIELDS[dialect.name])
    known = state.catalog.embedding[dialect.name]
    model = read_model(fields, dialect, frozenset(known))
    texts = _read_texts(fields, dialect.name)
    if dialect.name == "local" and model == USE:
        return await _embed_by_meaning(state, fields, texts)
    dimensions = _read_dimensions(fields, known.get(model, _DEFAULT_DIMENSIONS))
    if len(texts) * dimensions > _MAX_NUMBERS:
        raise ApiError("bad_value", f"at most {_MAX_NUMBERS} numbers a request: texts x dimensions", param="dimensions")
    encoding = _read_encoding(fields)
    data = await asyncio.to_thread(_build_embeddings, texts, dimensions, encoding)
    return _build_reply(state, texts, data, model, "hashing-1", with_usage=dialect.name != "together")


async def _embed_by_meaning(state: ServerState, fields: Fields, texts: list[str]) -> JsonReply:
    encoding, encoder = _read_encoding(fields), state.sentence_encoder
    if encoder is None:
        raise ApiError("unsupported", "this server has no model for meaning: install mediamill[embed]", param="model")
    if _read_dimensions(fields, DIMENSIONS) != DIMENSIONS:
        raise ApiError("bad_value", f"the vectors of {USE} have {DIMENSIONS} numbers", param="dimensions")
    try:
        vectors = await encoder.embed(texts)
    except WorkerDied as error:
        raise ApiError("failed", f"Processing failed: {error}") from None
    data = await asyncio.to_thread(_format_vectors, vectors, encoding)
    return _build_reply(state, texts, data, USE, encoder.identity, with_usage=True)


def _build_reply(
    state: ServerState, texts: Sequence[str], data: list[dict[str, Any]], model: str, identity: str, *, with_usage: bool
) -> JsonReply:
    """The reply; Together's has no usage (provider docs)."""
    tokens = sum(map(count_byte_tokens, texts))
    body: dict[str, Any] = {"object": "list", "model": model, "data": data}
    if with_usage:
        body["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return JsonReply(body, lambda call: state.prices.charge_tokens(call, tokens, 0, "embeddings"), identity)


def _read_encoding(fields: Fields) -> str:
    encoding = fields.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise ApiError("bad_value", "encoding_format must be float or base64", param="encoding_format")
    return str(encoding)


def embed_text(text: str, dimensions: int) -> np.ndarray[Any, Any]:
    """Feature hashing: each word adds to a hashed dimension, with a hashed sign and 1 + log(count); norm 1."""
    values = np.zeros(dimensions, dtype="<f4")
    for word, count in Counter(found[0] for found in _WORD.finditer(text.lower())).items():
        hashed = zlib.crc32(word.encode("utf-8", "replace"))
        values[(hashed >> 1) % dimensions] += (1.0 if hashed & 1 else -1.0) * (1.0 + np.log(count))
    length = float(np.linalg.norm(values))
    if length:
        values /= length
    return values


def _build_embeddings(texts: Sequence[str], dimensions: int, encoding: str) -> list[dict[str, Any]]:
    return _format_vectors([embed_text(text, dimensions) for text in texts], encoding)


def _format_vectors(vectors: Sequence[np.ndarray[Any, Any]], encoding: str) -> list[dict[str, Any]]:
    """The vectors, each as JSON already: writing them all at once would hold up everybody else."""
    return [
        {
            "object": "embedding",
            "index": n,
            "embedding": base64.b64encode(one.tobytes()).decode()
            if encoding == "base64"
            else orjson.Fragment(orjson.dumps(one.tolist())),
        }
        for n, one in enumerate(vectors)
    ]


def _read_texts(fields: Fields, dialect: str) -> list[str]:
    given = fields.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        raise ApiError(
            "missing_field" if given is None else "bad_value", "input must be a text or a list of texts", param="input"
        )
    if len(texts) > _MAX_TEXTS:
        raise ApiError("bad_value", f"at most {_MAX_TEXTS} texts a request", param="input")
    if dialect == "openai":
        longest = max(map(count_byte_tokens, texts))
        if longest > _MAX_TEXT_TOKENS or sum(map(count_byte_tokens, texts)) > _MAX_REQUEST_TOKENS:
            raise ApiError(
                "too_long", f"This model's maximum context length is {_MAX_TEXT_TOKENS} tokens, however you requested "
                f"{longest} tokens.", param="input",
            )  # fmt: skip
    return texts


def _read_dimensions(fields: Fields, default: int) -> int:
    dimensions = fields.get("dimensions", default)
    if not isinstance(dimensions, int) or isinstance(dimensions, bool) or not 0 < dimensions <= _MAX_DIMENSIONS:
        raise ApiError("bad_value", "dimensions must be a whole number above 0", param="dimensions")
    return dimensions


EMBEDDINGS = make_json_endpoint(_INPUTS, _embed_texts)
