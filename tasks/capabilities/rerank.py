"""rerank: documents ordered by how well they answer a query."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator

from mediamill.tasks.capabilities.base import Call, CapabilityContext, Estimate
from mediamill.tasks.capabilities.parameters import Option
from mediamill.tasks.capabilities.text.documents import Corpus, Document, parse_corpus, parse_documents, read_corpus
from mediamill.tasks.capabilities.text.prompts import check_template, render_text
from mediamill.tasks.domain import Ask, Item, Usage
from mediamill.tasks.errors import BadInput, UsageError
from mediamill.tasks.providers.operations.rerank import RERANK, RerankModel, RerankStyle, flatten_document
from mediamill.tasks.renamed_options import RenamedFields, get_renamed_params
from mediamill.tasks.wire import Provider

if TYPE_CHECKING:
    import pyarrow as pa

_BYTES_PER_TOKEN = 4
"""Bytes of usual text that make a token (estimate); a token is at least one byte, which bounds what it can cost."""
_SPECIAL_TOKENS = 8
"""Tokens a model may put around a query and a document of its own accord (estimate)."""
_MIN_PART_TOKENS = 100
"""Tokens of a part of a long document that are left beside a long query, at least (estimate)."""

_BANDS = (
    (0.85, "highly relevant"),
    (0.65, "relevant"),
    (0.45, "somewhat relevant"),
    (0.25, "marginally relevant"),
    (0.05, "slightly relevant"),
)
"""What calibrated scores mean, rounded to a tenth (provider docs: LlamaRank)."""


class RerankParams(RenamedFields):
    """What can be asked of a ranking. The query is the row's text unless it is given here."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    renamed: ClassVar[Mapping[str, str]] = get_renamed_params("rerank")

    query: str | None = Field(None, min_length=1, description="what is looked for; {{ column }} stands for the row's")
    documents: Annotated[list[str | dict[str, Any]] | None, Option(offered=False)] = Field(
        None, description="what is ranked: a column with a list of texts or objects, or one as JSON"
    )
    corpus: Annotated[Corpus | None, Option(metavar="FILE")] = Field(
        None, description="a file of documents that every query ranks: .txt .jsonl .csv ..."
    )
    rank_fields: list[str] | None = Field(
        None, min_length=1, description="fields of documents that are objects, in order; all of them where unset"
    )
    top_n: int | None = Field(
        None, ge=1, description="how many of the best to keep; all where unset, for the same price"
    )
    min_score: float | None = Field(None, allow_inf_nan=False, description="least score of a document that is kept")
    return_documents: bool = Field(default=True, description="tell the documents' text beside their scores")
    comparable: bool | None = Field(
        None, description="scores of separate requests may be merged; by default where that is known of the model"
    )
    calibrated: bool | None = Field(
        None, description="scores from 0 to 1 mean the same for every query, so bands are told; by default where known"
    )
    api_style: RerankStyle | None = Field(
        None, description="whose rerank API a compatible server speaks, e.g. tei; default the provider's"
    )

    @field_validator("documents", mode="before", json_schema_input_type=list[str | dict[str, Any]] | str | None)
    @classmethod
    def _parse_documents(cls, value: Any) -> Any:
        return None if value is None else parse_documents(value)

    @field_validator("corpus", mode="before", json_schema_input_type=str | None)
    @classmethod
    def _parse_corpus(cls, value: Any) -> Any:
        return parse_corpus(value)

    @field_validator("rank_fields", mode="before", json_schema_input_type=list[str] | str | None)
    @classmethod
    def _parse_rank_fields(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value

    _check_template = field_validator("query")(check_template)


class Rerank:
    """Rank documents for every query of SOURCE.

    SOURCE is a manifest (.csv .tsv .jsonl .parquet) with a column of queries and one of documents: lists of texts or
    of objects, or those as JSON. With --corpus all queries rank the same file. Results have one row a query, best
    document first; `mediamill export OUT --to FILE --long` makes it one row a document.
    """

    name = "rerank"
    operation = RERANK
    kinds = frozenset({"text"})
    params: type[BaseModel] = RerankParams
    request_version = 1

    def __init__(self) -> None:
        self._corpora: dict[str, list[Document]] = {}

    def schema(self, params: RerankParams, provider: Provider, model: str) -> pa.Schema:
        """``ranking`` is best first; ``index`` is the document's place in its list, from 0."""
        import pyarrow as pa

        ranked = [
            ("rank", pa.int32()),
            ("index", pa.int64()),
            ("relevance_score", pa.float64()),
            ("band", pa.string()),
            ("document", pa.string()),
        ]
        return pa.schema(
            [
                ("query", pa.string()),
                ("documents", pa.int64()),
                ("top_score", pa.float64()),
                ("top_document", pa.string()),
                ("ranking", pa.list_(pa.struct(ranked))),
            ]
        )

    async def run(self, item: Item, params: RerankParams, call: Call, context: CapabilityContext) -> Mapping[str, Any]:
        """One query with its documents."""
        ranks = _get_rerank_model(context)
        query, documents = await self._read_query_and_documents(item, params, context)
        asks = _build_rerank_asks(item, query, documents, params, ranks, context)
        answers = await asyncio.gather(*map(call, asks))
        scores = [score for answer in answers for score in answer.data["scores"]]
        order = sorted(range(len(scores)), key=lambda place: (-scores[place], place))
        kept = [p for p in order if params.min_score is None or scores[p] >= params.min_score][: params.top_n]
        calibrated = ranks.calibrated if params.calibrated is None else params.calibrated
        best = order[0]
        return {
            "content_sha256": hashlib.sha256(orjson.dumps([query, documents])).hexdigest(),
            "query": query,
            "documents": len(documents),
            "top_score": scores[best],
            "top_document": _format_document(documents[best]) if params.return_documents else None,
            "ranking": [
                {
                    "rank": rank,
                    "index": place,
                    "relevance_score": scores[place],
                    "band": find_band(scores[place]) if calibrated else None,
                    "document": _format_document(documents[place]) if params.return_documents else None,
                }
                for rank, place in enumerate(kept, 1)
            ],
        }

    async def estimate(self, item: Item, params: RerankParams, context: CapabilityContext) -> Estimate:
        """What the query would need."""
        query, documents = await self._read_query_and_documents(item, params, context)
        asks = _build_rerank_asks(item, query, documents, params, _get_rerank_model(context), context)
        most = [ask.ceiling for ask in asks]
        tokens = sum(one.input_tokens or 0 for one in most)
        searches = None if most[0].searches is None else sum(one.searches or 0 for one in most)
        likely = Usage(
            input_tokens=-(-tokens // _BYTES_PER_TOKEN), output_tokens=0, searches=searches, requests=len(asks)
        )
        ceiling = Usage(input_tokens=tokens, output_tokens=0, searches=searches, requests=len(asks))
        return Estimate(len(asks), likely, ceiling)

    async def _read_query_and_documents(
        self, item: Item, params: RerankParams, context: CapabilityContext
    ) -> tuple[str, list[Document]]:
        query = await render_text(item, "query", params.query, context)
        documents = params.documents if params.documents is not None else await self._load_corpus(params, context)
        if documents is None:
            raise BadInput(
                f"{item.source}: there are no documents to rank",
                kind="bad_row",
                hint="name a column of lists 'documents', or give --corpus",
            )
        if not documents:
            raise BadInput(f"{item.source}: its list of documents is empty", kind="empty")
        for place, document in enumerate(documents):
            if not flatten_document(document, params.rank_fields).strip():
                raise BadInput(
                    f"{item.source}: the document {place} has none of the fields {', '.join(params.rank_fields or ())}",
                    kind="bad_row",
                    hint="name fields that every document has in rank_fields",
                )
        return query, documents

    async def _load_corpus(self, params: RerankParams, context: CapabilityContext) -> list[Document] | None:
        corpus = params.corpus
        if corpus is None:
            return None
        if corpus.sha256 not in self._corpora:
            try:
                self._corpora[corpus.sha256] = await context.run_in_thread(read_corpus, corpus)
            except (ValueError, UnicodeDecodeError) as error:
                raise UsageError(f"corpus: {error}") from None
        return self._corpora[corpus.sha256]


def find_band(score: float) -> str:
    """What a calibrated score means in words."""
    return next((words for least, words in _BANDS if score >= least), "irrelevant")


def _get_rerank_model(context: CapabilityContext) -> RerankModel:
    return context.provider.model_facts(RERANK, context.model, RerankModel)


def _build_rerank_asks(
    item: Item,
    query: str,
    documents: Sequence[Document],
    params: RerankParams,
    ranks: RerankModel,
    context: CapabilityContext,
) -> list[Ask]:
    """One request, or several whose scores can be merged.

    Raises:
        BadInput: when they cannot be and there are too many documents for one.
    """
    most = ranks.max_documents
    comparable = ranks.comparable if params.comparable is None else params.comparable
    if len(documents) > most and not comparable:
        why = "are not comparable" if comparable is False else "are not known to be comparable"
        raise BadInput(
            f"{item.source}: {len(documents)} documents are more than the {most} of one request, and scores of "
            f"several requests to {context.model} {why}",
            kind="too_many_documents",
            hint="rank fewer, or set comparable=true if a document's score does not depend on the others",
        )
    parts = [list(documents[start : start + most]) for start in range(0, len(documents), most)]
    return [_build_rerank_ask(item, query, part, params, ranks, context) for part in parts]


def _build_rerank_ask(
    item: Item,
    query: str,
    documents: list[Document],
    params: RerankParams,
    ranks: RerankModel,
    context: CapabilityContext,
) -> Ask:
    asked: dict[str, Any] = {
        "query": query,
        "documents": documents,
        "rank_fields": params.rank_fields,
        "spelling": params.api_style,  # the name that request keys have known it by
    }
    lengths = [len(flatten_document(one, params.rank_fields).encode("utf-8", "replace")) for one in documents]
    asking = len(query.encode("utf-8", "replace"))
    return Ask(
        capability="rerank",
        operation=RERANK,
        model=context.model,
        params={name: value for name, value in asked.items() if value is not None},
        ceiling=Usage(
            input_tokens=sum(lengths) + (asking + _SPECIAL_TOKENS) * len(lengths),
            output_tokens=0,
            searches=_count_max_searches(lengths, asking, ranks),
            requests=1,
        ),
        sample=item.sample,
        version=Rerank.request_version,
        item_id=item.item_id,
    )


def _count_max_searches(lengths: Sequence[int], asking: int, ranks: RerankModel) -> int | None:
    """Searches that are billed at most: long documents count as several, cut beside the query (provider docs)."""
    if ranks.unit_documents is None:
        return None
    room = max(ranks.unit_tokens - asking, _MIN_PART_TOKENS)
    return -(-sum(max(1, -(-length // room)) for length in lengths) // ranks.unit_documents)


def _format_document(document: Document) -> str:
    return document if isinstance(document, str) else orjson.dumps(document).decode()
