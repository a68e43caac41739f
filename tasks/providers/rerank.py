"""Rerank requests in every spelling, and their replies in one (wire facts: provider docs).

All documents' scores are asked for, never the best few: that costs the same, and another choice of the best is free.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import orjson

from mediamill.tasks.domain import JSON, Ask, Usage
from mediamill.tasks.errors import BadInput, BadReply
from mediamill.tasks.providers.ranking import Ranks, RankWire, Spelling
from mediamill.tasks.providers.shape import Shape
from mediamill.tasks.wire import Parsed, Reply, Request, Wire

_OBJECTS = frozenset({"together", "cohere-v1"})
_DEADLINE = 120.0


@runtime_checkable
class RanksDocuments(Protocol):
    """A provider that ranks documents."""

    def ranks(self, model: str) -> Ranks:
        """What a model that ranks can do.

        Raises:
            UsageError: when the provider ranks nothing.
        """
        ...


class Rerank(Shape):
    """``POST /rerank``. An Ask's params hold ``query``, ``documents``, ``rank_fields`` and ``spelling``."""

    def wire(self, ask: Ask) -> Wire:
        """The endpoint and the request's fields; objects become text where the endpoint takes only text.

        Raises:
            BadInput: when the endpoint cannot be spoken to as is asked.
        """
        spelling, documents, fields = self._spelling(ask), ask.params["documents"], ask.params.get("rank_fields")
        assert isinstance(documents, list)
        body: dict[str, JSON] = {"model": ask.model, "query": ask.params["query"]}
        if spelling in _OBJECTS:
            body["documents"] = documents
            if fields is not None and any(isinstance(document, dict) for document in documents):
                body["rank_fields"] = fields
            body["return_documents"] = False
        else:
            texts: list[JSON] = [flattened(document, fields) for document in documents]
            body["texts" if spelling == "tei" else "documents"] = texts
        if spelling == "tei":  # it serves one model and knows no name for it
            del body["model"]
        return Wire(self.provider.key_origin(ask.model), self._path(spelling), body, deadline=_DEADLINE)

    def request(self, wire: Wire, asks: Sequence[Ask]) -> Request:
        """The body as it is."""
        return Request("POST", wire.path, json=dict(wire.params))

    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """``scores``: one number a document, in the order the documents were sent.

        Raises:
            BadReply: when a document has no score, two, or one that is no number.
        """
        documents = asks[0].params["documents"]
        assert isinstance(documents, list)
        told = _json(reply.body)
        results = told if isinstance(told, list) else told.get("results") if isinstance(told, dict) else None
        if not isinstance(results, list):
            raise BadReply("the reply holds no results")
        scores = _scores(results, len(documents))
        usage = _usage(told if isinstance(told, dict) else {})
        return [
            Parsed(
                {"scores": scores},
                usage,
                engine=reply.headers.get("x-mediamill-engine"),
                simulated=reply.headers.get("x-mediamill-simulated") == "true",
            )
        ]

    def _spelling(self, ask: Ask) -> Spelling:
        known, asked = self.facts.rank or RankWire(), ask.params.get("spelling")
        if asked is None or asked == known.spelling:
            return known.spelling
        for other in known.others:
            if other == asked:
                return other
        able = ", ".join(sorted({known.spelling, *known.others}))
        raise BadInput(
            f"{self.provider.name} does not speak {asked}", kind="bad_request", hint=f"it speaks {able}; leave it out"
        )

    def _path(self, spelling: Spelling) -> str:
        api = self.provider.endpoint.api
        if spelling == "cohere":
            return api.removesuffix("/v1") + "/v2/rerank"
        return (api.removesuffix("/v1") if spelling == "tei" else api) + self.facts.path


def flattened(document: Any, fields: Any) -> str:
    """A document as text: itself, or of an object one ``key: value`` a line in the order of ``fields``."""
    if not isinstance(document, Mapping):
        return str(document)
    chosen = fields if isinstance(fields, list) else list(document)
    lines = ((name, document[name]) for name in chosen if document.get(name) is not None)
    return "\n".join(
        f"{name}: {value if isinstance(value, str) else orjson.dumps(value).decode()}" for name, value in lines
    )


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except ValueError:
        raise BadReply("the reply is not JSON") from None


def _scores(results: Sequence[Any], count: int) -> list[float]:
    """Scores by the documents' own places, whatever the order of the results."""
    scores: list[float | None] = [None] * count
    for result in results:
        told: Mapping[str, Any] = result if isinstance(result, dict) else {}
        place: Any
        place, score = told.get("index"), told.get("relevance_score", told.get("score"))
        if not _fits(place, score, count):
            raise BadReply(f"a result names no document and score: {orjson.dumps(result).decode()[:80]}")
        if scores[place] is not None:
            raise BadReply(f"the document {place} is in the reply twice")
        scores[place] = float(score)
    missing = [place for place, score in enumerate(scores) if score is None]
    if missing:
        raise BadReply(f"{len(missing)} of {count} documents have no score, the first is {missing[0]}")
    return [score for score in scores if score is not None]


def _fits(place: Any, score: Any, count: int) -> bool:
    numbers = isinstance(place, int) and isinstance(score, int | float) and not isinstance(score, bool)
    return numbers and 0 <= place < count and math.isfinite(score)


def _usage(told: Mapping[str, Any]) -> Usage:
    """Tokens or searches, whichever the reply tells."""
    meta = told.get("meta")
    billed = meta.get("billed_units") if isinstance(meta, dict) else None
    billed = billed if isinstance(billed, dict) else {}
    usage = told.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    searches = billed.get("search_units")
    tokens = billed.get("input_tokens", usage.get("prompt_tokens", usage.get("total_tokens")))
    return Usage(
        input_tokens=_count(tokens),
        output_tokens=None if _count(tokens) is None else 0,
        searches=_count(searches),
        requests=1,
    )


def _count(told: Any) -> int | None:
    number = isinstance(told, int | float) and not isinstance(told, bool)
    return int(told) if number and math.isfinite(told) and told >= 0 else None
