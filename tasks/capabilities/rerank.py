"""rerank: documents ordered by how well they answer a query."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator

from mediamill.tasks.capabilities.base import BYTES_PER_TOKEN, Call, CapabilityContext, Estimate
from mediamill.tasks.capabilities.parameters import NamesFiles, Option, RowsOnly, Template
from mediamill.tasks.capabilities.text.documents import Corpus, Document, parse_corpus, parse_documents, read_corpus
from mediamill.tasks.capabilities.text.prompts import check_template, render_text
from mediamill.tasks.domain import Ask, Item, Usage
from mediamill.tasks.errors import BadInput, UsageError
from mediamill.tasks.providers.operations.rerank import RERANK, RerankModel, RerankStyle, flatten_document
from mediamill.tasks.renamed_options import RenamedFields, get_renamed_params
from mediamill.tasks.wire import Provider

if TYPE_CHECKING:
    import pyarrow as pa


_SPECIAL_TOKENS = 8
"""Tokens that a model may add to a query and a document (estimate)."""
_MIN_PART_TOKENS = 100
"""Minimum tokens of a part of a long document beside a long query (estimate)."""

_BANDS = (
    (0.85, "highly relevant"),
    (0.65, "relevant"),
    (0.45, "somewhat relevant"),
    (0.25, "marginally relevant"),
    (0.05, "slightly relevant"),
)
"""What calibrated scores mean, rounded to a tenth (provider docs: LlamaRank)."""


class RerankParams(RenamedFields):
    """Parameters of a ranking. The query is the row's text unless it is given here."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    renamed: ClassVar[Mapping[str, str]] = get_renamed_params("rerank")

    query: Annotated[str | None, Template()] = Field(
        None,
        min_length=1,
        description="the query, a template: {{ column }} becomes the row's value; default: the row's text",
    )
    documents: Annotated[list[str | dict[str, Any]] | None, Option(offered=False)] = Field(
        None, description="what to rank: a column with a list of texts or objects, or a list as JSON"
    )
    corpus: Annotated[Corpus | None, Option(metavar="FILE"), NamesFiles(several=False)] = Field(
        None, description="a file of documents to rank for every query: .txt .jsonl .csv ..."
    )
    rank_fields: list[str] | None = Field(
        None, min_length=1, description="fields of documents that are objects, in order; default: all fields"
    )
    top_n: Annotated[int | None, RowsOnly()] = Field(
        None, ge=1, description="how many of the best documents to keep, for the same price; default: all"
    )
    min_score: Annotated[float | None, RowsOnly()] = Field(
        None, allow_inf_nan=False, description="minimum score of the documents to keep; another value buys nothing"
    )
    return_documents: Annotated[bool, RowsOnly()] = Field(
        default=True, description="return the documents' text with their scores; on by default"
    )
    comparable: bool | None = Field(
        None, description="scores of separate requests can be merged; default: when that is known of the model"
    )
    calibrated: Annotated[bool | None, RowsOnly()] = Field(
        None,
        description="a score from 0 to 1 means the same for every query, so rows name its band; default: when known",
    )
    api_style: RerankStyle | None = Field(
        None, description="whose rerank API a compatible server speaks, e.g. tei; default: the provider's"
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
    of objects, or those as JSON. With --corpus all queries rank the same file. Results have one row per query, with
    the best document first; `mediamill export OUT --to FILE --long` writes one row per document.
    """

    name = "rerank"
    operation = RERANK
    kinds = frozenset({"text"})
    params: type[BaseModel] = RerankParams
    request_version = 1

    def __init__(self) -> None:
        self._corpora: dict[str, list[Document]] = {}

    def schema(self, params: RerankParams, provider: Provider, model: str) -> pa.Schema:
        """``ranking`` has the best document first; ``index`` is the document's position in its list, from 0."""
        import pyarrow as pa

        from mediamill.tasks.sinks.schema import make_field

        ranked = [
            make_field("rank", pa.int32(), "rank of the document, from 1"),
            make_field("index", pa.int64(), "position of the document in its list, from 0"),
            make_field("relevance_score", pa.float64(), "the model's score"),
            make_field("band", pa.string(), "meaning of the score in words, where scores are calibrated"),
            make_field("document", pa.string(), "the document; an object as JSON"),
        ]
        return pa.schema(
            [
                make_field("query", pa.string(), "the query"),
                make_field("documents", pa.int64(), "number of documents that were ranked"),
                make_field("top_score", pa.float64(), "score of the best document"),
                make_field("top_document", pa.string(), "the best document"),
                make_field("ranking", pa.list_(pa.struct(ranked)), "the documents, best first"),
            ]
        )

    async def run(self, item: Item, params: RerankParams, call: Call, context: CapabilityContext) -> Mapping[str, Any]:
        """Rank the documents of one query."""
        rerank_model = _get_rerank_model(context)
        query, documents = await self._read_query_and_documents(item, params, context)
        asks = _build_rerank_asks(item, query, documents, params, rerank_model, context)
        answers = await asyncio.gather(*map(call, asks))
        scores = [score for answer in answers for score in answer.data["scores"]]
        order = sorted(range(len(scores)), key=lambda position: (-scores[position], position))
        kept = [n for n in order if params.min_score is None or scores[n] >= params.min_score][: params.top_n]
        calibrated = rerank_model.calibrated if params.calibrated is None else params.calibrated
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
                    "index": position,
                    "relevance_score": scores[position],
                    "band": find_band(scores[position]) if calibrated else None,
                    "document": _format_document(documents[position]) if params.return_documents else None,
                }
                for rank, position in enumerate(kept, 1)
            ],
        }

    async def estimate(self, item: Item, params: RerankParams, context: CapabilityContext) -> Estimate:
        """What the query would need."""
        query, documents = await self._read_query_and_documents(item, params, context)
        asks = _build_rerank_asks(item, query, documents, params, _get_rerank_model(context), context)
        ceilings = [ask.ceiling for ask in asks]
        tokens = sum(usage.input_tokens or 0 for usage in ceilings)
        searches = None if ceilings[0].searches is None else sum(usage.searches or 0 for usage in ceilings)
        likely = Usage(
            input_tokens=-(-tokens // BYTES_PER_TOKEN), output_tokens=0, searches=searches, requests=len(asks)
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
                kind="wrong_row",
                hint="name the column of lists 'documents', or give --corpus",
            )
        if not documents:
            raise BadInput(
                f"{item.source}: its list of documents is empty", kind="empty", hint="add some, or leave it out"
            )
        for position, document in enumerate(documents):
            if not flatten_document(document, params.rank_fields).strip():
                raise BadInput(
                    f"{item.source}: document {position} has none of the fields {', '.join(params.rank_fields or ())}",
                    kind="wrong_row",
                    hint="name fields in rank_fields that every document has",
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
    """The meaning of a calibrated score in words."""
    return next((words for min_score, words in _BANDS if score >= min_score), "irrelevant")


def _get_rerank_model(context: CapabilityContext) -> RerankModel:
    return context.provider.model_facts(RERANK, context.model, RerankModel)


def _build_rerank_asks(
    item: Item,
    query: str,
    documents: Sequence[Document],
    params: RerankParams,
    rerank_model: RerankModel,
    context: CapabilityContext,
) -> list[Ask]:
    """One Ask, or several when the scores of several requests can be merged.

    Raises:
        BadInput: when they cannot be merged and there are too many documents for one request.
    """
    max_documents = rerank_model.max_documents
    comparable = rerank_model.comparable if params.comparable is None else params.comparable
    if len(documents) > max_documents and not comparable:
        reason = "are not comparable" if comparable is False else "are not known to be comparable"
        raise BadInput(
            f"{item.source}: {len(documents)} documents are more than the {max_documents} of one request, and scores "
            f"of several requests to {context.model} {reason}",
            kind="too_many_documents",
            hint="rank fewer, or set comparable=true if a document's score does not depend on the others",
        )
    parts = [list(documents[start : start + max_documents]) for start in range(0, len(documents), max_documents)]
    return [_build_rerank_ask(item, query, part, params, rerank_model, context) for part in parts]


def _build_rerank_ask(
    item: Item,
    query: str,
    documents: list[Document],
    params: RerankParams,
    rerank_model: RerankModel,
    context: CapabilityContext,
) -> Ask:
    request_params: dict[str, Any] = {
        "query": query,
        "documents": documents,
        "rank_fields": params.rank_fields,
        "spelling": params.api_style,  # the name that request keys have known it by
    }
    document_bytes = [
        len(flatten_document(document, params.rank_fields).encode("utf-8", "replace")) for document in documents
    ]
    query_bytes = len(query.encode("utf-8", "replace"))
    return Ask(
        capability="rerank",
        operation=RERANK,
        model=context.model,
        params={name: value for name, value in request_params.items() if value is not None},
        ceiling=Usage(
            input_tokens=sum(document_bytes) + (query_bytes + _SPECIAL_TOKENS) * len(document_bytes),
            output_tokens=0,
            searches=_count_max_searches(document_bytes, query_bytes, rerank_model),
            requests=1,
        ),
        sample=item.sample,
        version=Rerank.request_version,
        item_id=item.item_id,
    )


def _count_max_searches(document_bytes: Sequence[int], query_bytes: int, rerank_model: RerankModel) -> int | None:
    """Maximum of billed searches: a long document counts as several, cut to fit beside the query (provider docs)."""
    if rerank_model.unit_documents is None:
        return None
    part_tokens = max(rerank_model.unit_tokens - query_bytes, _MIN_PART_TOKENS)
    return -(-sum(max(1, -(-length // part_tokens)) for length in document_bytes) // rerank_model.unit_documents)


def _format_document(document: Document) -> str:
    return document if isinstance(document, str) else orjson.dumps(document).decode()
