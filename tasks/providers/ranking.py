"""Rerank: what the configuration tells of an endpoint and its models."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

RERANK = "rerank"
"""The operation, as the price list names it."""

Spelling = Literal["together", "cohere", "cohere-v1", "vllm", "tei"]
"""Whose request it is: Cohere's v2 and v1, Together's (as v1), vLLM's and llama.cpp's, text-embeddings-inference's."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RankWire(_Strict):
    """How an endpoint is spoken to."""

    spelling: Spelling = "vllm"
    others: frozenset[Spelling] = Field(default=frozenset(), description="what it may be told to be instead")


class Ranks(_Strict):
    """A model that ranks (provider docs)."""

    max_documents: int = Field(default=1000, gt=0, description="most documents of one request")
    comparable: bool | None = Field(
        default=None, description="a document's score does not depend on the others; null where that is not known"
    )
    calibrated: bool = Field(default=False, description="scores are from 0 to 1 and mean the same for every query")
    unit_documents: int | None = Field(default=None, gt=0, description="documents that are billed as one search")
    unit_tokens: int = Field(default=500, gt=0, description="tokens from which a document is billed as several")
