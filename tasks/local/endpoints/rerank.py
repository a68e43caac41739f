"""``POST rerank`` in the API styles of Together, Cohere, vLLM and text-embeddings-inference (provider docs)."""

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

from mediamill.tasks.local.billing.bill import PaidCall
from mediamill.tasks.local.endpoints.json_endpoint import (
    Fields,
    JsonReply,
    count_byte_tokens,
    make_json_endpoint,
    read_model,
    read_text_field,
    refuse_unknown_fields,
)
from mediamill.tasks.local.server.api_error import ApiError
from mediamill.tasks.local.server.middleware import PaidEndpoint
from mediamill.tasks.local.server.server_state import RequestContext, ServerState

if TYPE_CHECKING:
    from bm25s import BM25

RerankApi = Literal["together", "cohere", "cohere-v1", "vllm", "tei"]

_INPUTS = frozenset({"query", "documents", "texts"})
_MAX_COHERE_DOCUMENTS = 10_000
_CHUNK_TOKENS, _CHUNKS_PER_SEARCH = 500, 100
_FIELDS: Mapping[RerankApi, frozenset[str]] = {
    "together": frozenset({"model", "query", "documents", "top_n", "return_documents", "rank_fields"}),
    "cohere": frozenset({"model", "query", "documents", "top_n", "max_tokens_per_doc", "priority"}),
    "cohere-v1": frozenset(
        {"model", "query", "documents", "top_n", "rank_fields", "return_documents", "max_chunks_per_doc"}
    ),
}
_WITH_MODEL = frozenset({"together", "cohere", "cohere-v1"})
"""Those that refuse a request without a model; the one that Cohere's v1 took has ended (provider docs)."""
_MAX_INDEXES = 16


class Bm25Indexes:
    """BM25 over lists of documents; the last few indexes are kept for further queries of the same documents."""

    def __init__(self) -> None:
        self._indexes: OrderedDict[str, BM25] = OrderedDict()
        self._lock = Lock()

    def compute_scores(self, query: str, documents: Sequence[str]) -> list[float]:
        """Each document's score; 0 for documents that share no word with the query."""
        import bm25s

        key = hashlib.sha256(orjson.dumps(documents)).hexdigest()
        with self._lock:
            index = self._indexes.get(key)
        if index is None:
            index = bm25s.BM25()
            tokens = bm25s.tokenize(list(documents), stopwords="english", show_progress=False)
            if not any(tokens.ids):  # stop words and single letters only; bm25s cannot index an empty vocabulary
                return [0.0] * len(documents)
            index.index(tokens, show_progress=False)
            with self._lock:
                self._indexes[key] = index
                while len(self._indexes) > _MAX_INDEXES:
                    self._indexes.popitem(last=False)
        query_tokens = bm25s.tokenize([query], stopwords="english", return_ids=False, show_progress=False)
        known = [word for word in query_tokens[0] if word in index.vocab_dict]
        if not known:
            return [0.0] * len(documents)
        return [float(score) for score in index.get_scores(known)]


_INDEXES = Bm25Indexes()


def make_rerank_endpoint(api: RerankApi) -> PaidEndpoint[Any]:
    """The endpoint in one of the API styles."""
    return make_json_endpoint(_INPUTS, partial(_rank_documents, api=api))


async def _rank_documents(state: ServerState, context: RequestContext, fields: Fields, *, api: RerankApi) -> JsonReply:
    if api in _FIELDS:
        refuse_unknown_fields(fields, _FIELDS[api])
    known = state.catalog.rerank.get(context.dialect.name, frozenset())
    model = read_model(fields, context.dialect, known, required=api in _WITH_MODEL)
    query, documents = (
        read_text_field(fields, "query"),
        _read_documents(fields, api, takes_objects=api in ("together", "cohere-v1") or context.dialect.name == "local"),
    )
    top_n = _read_top_n(fields, len(documents), api)
    texts = [_to_document_text(document, fields.get("rank_fields")) for document in documents]
    scores = await asyncio.to_thread(_INDEXES.compute_scores, query, texts)
    order = sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:top_n]
    tokens = sum(map(count_byte_tokens, texts)) + count_byte_tokens(query) * len(texts)
    searches = (
        _count_searches(texts, query) if api.startswith("cohere") and model not in state.settings.token_price else 0
    )
    body = _build_rerank_reply(api, model, [(n, scores[n]) for n in order], documents, fields, tokens, searches)
    return JsonReply(body, partial(_charge_rerank, state, searches, tokens), _get_engine_identity())


@cache
def _get_engine_identity() -> str:
    return f"bm25s-{version('bm25s')}"


def _charge_rerank(state: ServerState, searches: int, tokens: int, call: PaidCall) -> None:
    if searches:
        state.prices.charge_units(call, "searches", searches)
    else:
        state.prices.charge_tokens(call, tokens, 0, "rerank")


def _read_documents(fields: Fields, api: RerankApi, *, takes_objects: bool) -> list[Any]:
    name = "texts" if api == "tei" else "documents"
    documents = fields.get(name)
    if not isinstance(documents, list) or not documents:
        raise ApiError("missing_field" if documents is None else "bad_value", f"{name} must be a list", param=name)
    if not all(isinstance(one, str) or (takes_objects and isinstance(one, dict)) for one in documents):
        raise ApiError("bad_value", f"{name} must be texts" + " or objects" * takes_objects, param=name)
    if api.startswith("cohere") and len(documents) > _MAX_COHERE_DOCUMENTS:
        raise ApiError("bad_value", f"too many documents: at most {_MAX_COHERE_DOCUMENTS}", param=name)
    return documents


def _read_top_n(fields: Fields, count: int, api: RerankApi) -> int:
    """How many of the best results are returned: all without ``top_n``, and for vLLM also with 0."""
    top_n = fields.get("top_n")
    if top_n is None or (top_n == 0 and api == "vllm"):
        return count
    if not isinstance(top_n, int) or isinstance(top_n, bool) or top_n < 1:
        raise ApiError("bad_value", "top_n must be a whole number above 0", param="top_n")
    return min(top_n, count)


def _to_document_text(document: Any, fields: Any) -> str:
    if isinstance(document, str):
        return document
    names = fields if isinstance(fields, list) and fields else list(document)
    return "\n".join(f"{name}: {document[name]}" for name in names if name in document)


def _count_searches(texts: Sequence[str], query: str) -> int:
    chunk_tokens = max(_CHUNK_TOKENS - count_byte_tokens(query), 1)
    return -(-sum(-(-count_byte_tokens(text) // chunk_tokens) for text in texts) // _CHUNKS_PER_SEARCH)


def _build_rerank_reply(
    api: RerankApi,
    model: str,
    ranked: Sequence[tuple[int, float]],
    documents: Sequence[Any],
    fields: Fields,
    tokens: int,
    searches: int,
) -> Any:
    if api == "tei":
        return [{"index": n, "score": score} for n, score in ranked]
    results: list[dict[str, Any]] = [{"index": n, "relevance_score": score} for n, score in ranked]
    always = api in ("vllm", "together")  # Together's specification requires the document
    if always or (api != "cohere" and fields.get("return_documents")):
        for result in results:
            document = documents[result["index"]]
            text = document if isinstance(document, str) else orjson.dumps(document).decode()
            result["document"] = {"text": text}
    if api.startswith("cohere"):
        units = {"search_units": searches} if searches else {"input_tokens": tokens}
        return {
            "id": str(uuid.uuid4()),
            "results": results,
            "meta": {"api_version": {"version": "2"}, "billed_units": units},
        }
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    if api == "together":
        usage["completion_tokens"] = 0
        return {"object": "rerank", "id": uuid.uuid4().hex, "model": model, "results": results, "usage": usage}
    return {"id": f"rerank-{uuid.uuid4().hex}", "model": model, "usage": usage, "results": results}
