"""``POST rerank`` in the spellings of Together, Cohere, vLLM and text-embeddings-inference (provider docs)."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cache, partial
from importlib.metadata import version
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import orjson
from aiohttp import web

from mediamill.tasks.local.billing.bill import Call
from mediamill.tasks.local.endpoints.json_endpoint import Made, Told, model_of, refuse_others, serve, text_of, tokens_of
from mediamill.tasks.local.server.api_error import Refusal
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.server_state import Desk, Exchange

if TYPE_CHECKING:
    from bm25s import BM25

Form = Literal["together", "cohere", "cohere-v1", "vllm", "tei"]

_INPUTS = frozenset({"query", "documents", "texts"})
_MOST_COHERE = 10_000
_UNIT_TOKENS, _UNIT = 500, 100
_FIELDS: Mapping[Form, frozenset[str]] = {
    "together": frozenset({"model", "query", "documents", "top_n", "return_documents", "rank_fields"}),
    "cohere": frozenset({"model", "query", "documents", "top_n", "max_tokens_per_doc", "priority"}),
    "cohere-v1": frozenset(
        {"model", "query", "documents", "top_n", "rank_fields", "return_documents", "max_chunks_per_doc"}
    ),
}
_KEPT = 16


class Indexes:
    """BM25 over lists of documents; the last few lists stay indexed, for queries that share theirs."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, BM25] = OrderedDict()
        self._lock = Lock()

    def scores(self, query: str, documents: Sequence[str]) -> list[float]:
        """Each document's score; those that share no word with the query have zero."""
        import bm25s

        key = hashlib.sha256(orjson.dumps(documents)).hexdigest()
        with self._lock:
            index = self._known.get(key)
        if index is None:
            index = bm25s.BM25()
            words = bm25s.tokenize(list(documents), stopwords="english", show_progress=False)
            if not any(words.ids):  # stop words and single letters alone; bm25s has no index of nothing
                return [0.0] * len(documents)
            index.index(words, show_progress=False)
            with self._lock:
                self._known[key] = index
                while len(self._known) > _KEPT:
                    self._known.popitem(last=False)
        asked = bm25s.tokenize([query], stopwords="english", return_ids=False, show_progress=False)
        known = [word for word in asked[0] if word in index.vocab_dict]
        if not known:
            return [0.0] * len(documents)
        return [float(score) for score in index.get_scores(known)]


_INDEXES = Indexes()


async def rank(desk: Desk, request: web.BaseRequest, dialect: Dialect, form: Form) -> web.StreamResponse:
    """Answer one request to rank documents, whatever it holds."""
    reply: web.StreamResponse = await serve(desk, request, dialect, _INPUTS, partial(_ranked, form=form))
    return reply


async def _ranked(desk: Desk, exchange: Exchange, told: Told, *, form: Form) -> Made:
    if form in _FIELDS:
        refuse_others(told, _FIELDS[form])
    known = frozenset([*desk.settings.model, *desk.settings.price, *desk.settings.token_price])
    model = model_of(told, exchange.dialect, known, needed=form in ("together", "cohere"))
    query, documents = text_of(told, "query"), _documents(told, form)
    top = _top(told, len(documents), form)
    texts = [_text(document, told.get("rank_fields")) for document in documents]
    scores = await asyncio.to_thread(_INDEXES.scores, query, texts)
    order = sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:top]
    tokens = sum(map(tokens_of, texts)) + tokens_of(query) * len(texts)
    searches = _searches(texts, query) if form.startswith("cohere") and model not in desk.settings.token_price else 0
    body = _body(form, model, [(n, scores[n]) for n in order], documents, told, tokens, searches)
    return Made(body, _engine(), partial(_charge, desk, searches, tokens))


@cache
def _engine() -> str:
    return f"bm25s-{version('bm25s')}"


def _charge(desk: Desk, searches: int, tokens: int, call: Call) -> None:
    if searches:
        desk.bill.charge_pieces(call, "searches", searches)
    else:
        desk.bill.charge_tokens(call, tokens, 0)


def _documents(told: Told, form: Form) -> list[Any]:
    name = "texts" if form == "tei" else "documents"
    documents = told.get(name)
    if not isinstance(documents, list) or not documents:
        raise Refusal("missing_field" if documents is None else "bad_value", f"{name} must be a list", param=name)
    objects = form in ("together", "cohere-v1")
    if not all(isinstance(one, str) or (objects and isinstance(one, dict)) for one in documents):
        raise Refusal("bad_value", f"{name} must be texts" + " or objects" * objects, param=name)
    if form.startswith("cohere") and len(documents) > _MOST_COHERE:
        raise Refusal("bad_value", f"too many documents: at most {_MOST_COHERE}", param=name)
    return documents


def _top(told: Told, count: int, form: Form) -> int:
    """How many of the best are told; nothing means all of them, and 0 does for vLLM alone."""
    top = told.get("top_n")
    if top is None or (top == 0 and form == "vllm"):
        return count
    if not isinstance(top, int) or isinstance(top, bool) or top < 1:
        raise Refusal("bad_value", "top_n must be a whole number above 0", param="top_n")
    return min(top, count)


def _text(document: Any, fields: Any) -> str:
    if isinstance(document, str):
        return document
    names = fields if isinstance(fields, list) and fields else list(document)
    return "\n".join(f"{name}: {document[name]}" for name in names if name in document)


def _searches(texts: Sequence[str], query: str) -> int:
    room = max(_UNIT_TOKENS - tokens_of(query), 1)
    return -(-sum(-(-tokens_of(text) // room) for text in texts) // _UNIT)


def _body(
    form: Form,
    model: str,
    ranked: Sequence[tuple[int, float]],
    documents: Sequence[Any],
    told: Told,
    tokens: int,
    searches: int,
) -> Any:
    if form == "tei":
        return [{"index": n, "score": score} for n, score in ranked]
    results: list[dict[str, Any]] = [{"index": n, "relevance_score": score} for n, score in ranked]
    if form == "vllm" or (form != "cohere" and told.get("return_documents")):
        for result in results:
            document = documents[result["index"]]
            text = document if isinstance(document, str) else orjson.dumps(document).decode()
            result["document"] = {"text": text}
    if form.startswith("cohere"):
        units = {"search_units": searches} if searches else {"input_tokens": tokens}
        return {
            "id": str(uuid.uuid4()),
            "results": results,
            "meta": {"api_version": {"version": "2"}, "billed_units": units},
        }
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    if form == "together":
        usage["completion_tokens"] = 0
        return {"object": "rerank", "id": uuid.uuid4().hex, "model": model, "results": results, "usage": usage}
    return {"id": f"rerank-{uuid.uuid4().hex}", "model": model, "usage": usage, "results": results}
