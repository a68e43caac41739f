"""Reranking: requests in every API style, and their replies in one shape (provider docs).

The scores of all documents are requested, not only the best: that costs the same, and a later change of ``top_n`` is
free.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import orjson
from pydantic import Field

from mediamill.tasks.domain import JSON, Ask, Usage
from mediamill.tasks.errors import BadInput, BadReply
from mediamill.tasks.money.per_unit import UnitMeter
from mediamill.tasks.providers.operations.answer_forms import unwrap
from mediamill.tasks.providers.operations.base import API_STYLE, ModelFacts, Operation, OperationConfig, to_parsed
from mediamill.tasks.providers.operations.reply_json import decode_reply
from mediamill.tasks.wire import Parsed, Reply, Request, Wire

RERANK = "rerank"
"""The operation's name, also in price lists."""

RerankStyle = Literal["together", "cohere", "cohere-v1", "vllm", "tei"]
"""Request formats: Cohere v2 and v1, Together (like v1), vLLM and llama.cpp, text-embeddings-inference."""

_OBJECT_STYLES = frozenset({"together", "cohere-v1"})
_NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,30})?(e[+-]?[0-9]{1,2})?", re.IGNORECASE)
_TIMEOUT_SECONDS = 120.0


class RerankModel(ModelFacts):
    """A reranking model (provider docs)."""

    max_documents: int = Field(default=1000, gt=0, description="maximum number of documents in one request")
    comparable: bool | None = Field(
        default=None, description="a document's score does not depend on the other documents; null if not known"
    )
    calibrated: bool = Field(default=False, description="scores are from 0 to 1 and mean the same for every query")
    unit_documents: int | None = Field(default=None, gt=0, description="documents that are billed as one search")
    unit_tokens: int = Field(
        default=500, gt=0, description="number of tokens above which a document is billed as several"
    )

    def abilities(self) -> tuple[str, ...]:
        """How many documents one request may hold."""
        return ("rerank", f"{self.max_documents} documents per request")


class RerankConfig(OperationConfig[RerankModel]):
    """A reranking endpoint and its API style."""

    api_style: RerankStyle = Field(default="vllm", validation_alias=API_STYLE)
    other_styles: frozenset[RerankStyle] = Field(
        default=frozenset(), description="API styles that a job may choose instead"
    )


_RESULT_FIELDS = ("results", "data", "rankings", "scores")
_SCORE_FIELDS = ("relevance_score", "score", "logit")


class RerankOperation(Operation[RerankConfig, RerankModel]):
    """``POST /rerank``. The params of an Ask: ``query``, ``documents``, ``rank_fields``, ``spelling`` (API style)."""

    config_model = RerankConfig
    facts_model = RerankModel
    meter = UnitMeter()

    def to_wire(self, ask: Ask) -> Wire:
        """The endpoint and the request's fields; objects become text if the endpoint accepts only text.

        Raises:
            BadInput: when the endpoint does not have the requested API style.
        """
        style, documents, fields = self._choose_style(ask), ask.params["documents"], ask.params.get("rank_fields")
        assert isinstance(documents, list)
        body: dict[str, JSON] = {"model": ask.model, "query": ask.params["query"]}
        if style in _OBJECT_STYLES:
            body["documents"] = documents
            if fields is not None and any(isinstance(document, dict) for document in documents):
                body["rank_fields"] = fields
            body["return_documents"] = False
        else:
            texts: list[JSON] = [flatten_document(document, fields) for document in documents]
            body["texts" if style == "tei" else "documents"] = texts
        if style == "tei":  # it serves one model, which has no name there
            del body["model"]
        return Wire(self.provider.key_origin(ask.model), self._resolve_path(style), body, timeout=_TIMEOUT_SECONDS)

    def build_request(self, wire: Wire, asks: Sequence[Ask]) -> Request:
        """The parameters are the body."""
        return Request("POST", wire.path, json=dict(wire.params))

    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """``scores``: one number per document, in the order in which the documents were sent.

        Raises:
            BadReply: when a document has no score, two scores, or one that is not a finite number.
        """
        documents = asks[0].params["documents"]
        assert isinstance(documents, list)
        content = decode_reply(reply.body)
        results = _find_results(unwrap(content, lambda value: _find_results(value) is not None))
        if results is None:
            raise BadReply("the reply holds no results")
        scores = _parse_scores(results, len(documents))
        usage = _parse_rerank_usage(content if isinstance(content, dict) else {})
        return [to_parsed(reply, {"scores": scores}, usage)]

    def _choose_style(self, ask: Ask) -> RerankStyle:
        config, requested = self.config, ask.params.get("spelling")
        if requested is None or requested == config.api_style:
            return config.api_style
        for other in config.other_styles:
            if other == requested:
                return other
        supported = ", ".join(sorted({config.api_style, *config.other_styles}))
        raise BadInput(
            f"{self.provider.name} has no api_style {requested}",
            kind="bad_request",
            hint=f"it takes {supported}; leave it out",
        )

    def _resolve_path(self, style: RerankStyle) -> str:
        api = self.provider.endpoint.api
        if style == "cohere":
            return api.removesuffix("/v1") + "/v2/rerank"
        return (api.removesuffix("/v1") if style == "tei" else api) + self.config.path


def flatten_document(document: Any, fields: Any) -> str:
    """A document as text; an object becomes one ``key: value`` per line, in the order of ``fields``."""
    if not isinstance(document, Mapping):
        return str(document)
    chosen = fields if isinstance(fields, list) else list(document)
    lines = ((name, document[name]) for name in chosen if document.get(name) is not None)
    return "\n".join(
        f"{name}: {value if isinstance(value, str) else orjson.dumps(value).decode()}" for name, value in lines
    )


def _find_results(value: Any) -> list[Any] | None:
    """The results of a reply, under the names that servers give them; scores alone are in the documents' order."""
    if isinstance(value, dict):
        named = (value[name] for name in _RESULT_FIELDS if isinstance(value.get(name), list))
        value = next(named, None)
    if not isinstance(value, list) or not value:
        return None
    if all(isinstance(score, int | float) and not isinstance(score, bool) for score in value):
        return [{"index": index, "score": score} for index, score in enumerate(value)]
    return value if all(isinstance(result, dict) and "index" in result for result in value) else None


def _parse_scores(results: Sequence[Any], count: int) -> list[float]:
    """The scores in the order of the documents, whatever the order of the results."""
    scores: list[float | None] = [None] * count
    for result in results:
        entry: Mapping[str, Any] = result if isinstance(result, dict) else {}
        index: Any
        index, score = (
            _to_number(v)
            for v in (entry.get("index"), next((entry[name] for name in _SCORE_FIELDS if name in entry), None))
        )
        if not _is_valid_score(index, score, count):
            raise BadReply(f"a result has no valid index and score: {orjson.dumps(result).decode()[:80]}")
        if scores[index] is not None:
            raise BadReply(f"the document {index} is in the reply twice")
        scores[index] = float(score)
    missing = [index for index, score in enumerate(scores) if score is None]
    if missing:
        raise BadReply(f"{len(missing)} of {count} documents have no score, the first is {missing[0]}")
    return [score for score in scores if score is not None]


def _to_number(value: Any) -> Any:
    """The number of a text of digits, as some servers send numbers; anything else as it is."""
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        return value
    return int(value) if value.isdigit() else float(value)


def _is_valid_score(index: Any, score: Any, count: int) -> bool:
    numbers = isinstance(index, int) and isinstance(score, int | float) and not isinstance(score, bool)
    return numbers and 0 <= index < count and math.isfinite(score)


def _parse_rerank_usage(content: Mapping[str, Any]) -> Usage:
    """Usage in tokens or searches, whichever the reply states."""
    meta = content.get("meta")
    billed = meta.get("billed_units") if isinstance(meta, dict) else None
    billed = billed if isinstance(billed, dict) else {}
    usage = content.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    searches = billed.get("search_units")
    tokens = billed.get("input_tokens", usage.get("prompt_tokens", usage.get("total_tokens")))
    return Usage(
        input_tokens=_to_whole_count(tokens),
        output_tokens=None if _to_whole_count(tokens) is None else 0,
        searches=_to_whole_count(searches),
        requests=1,
    )


def _to_whole_count(value: Any) -> int | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if number and math.isfinite(value) and value >= 0 else None
