"""embed: texts to vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mediamill.tasks.capabilities.base import Call, CapabilityContext, Estimate
from mediamill.tasks.capabilities.text.prompts import check_template, render_row
from mediamill.tasks.domain import Ask, Item, Usage
from mediamill.tasks.errors import BadInput, BadReply
from mediamill.tasks.providers.operations.embeddings import EMBEDDINGS, EmbeddingModel
from mediamill.tasks.wire import Provider

if TYPE_CHECKING:
    import pyarrow as pa

_BYTES_PER_TOKEN = 4
"""Bytes of usual text that make a token (estimate); a token is at least one byte, which bounds what it can cost."""
_SPECIAL_TOKENS = 8
"""Tokens a model may put around a text of its own accord (estimate)."""


class EmbedParams(BaseModel):
    """What can be asked of vectors. What is unset is not sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    template: str | None = Field(
        None, min_length=1, description="what is embedded, e.g. 'Query: {{ text }}' where a model wants that; the text"
    )
    dimensions: int | None = Field(
        None, ge=1, le=65_536, description="numbers of a vector: fewer where the model can, or what an unlisted one has"
    )

    _check_template = field_validator("template")(check_template)


class Embed:
    """Embed every text of SOURCE.

    SOURCE is a manifest (.csv .tsv .jsonl .parquet) with a column of texts, a folder of .txt files, a file, a URL,
    or - for a text on each line of stdin. Texts share requests as far as the provider allows. The built-in provider
    hashes words into vectors: texts with the same words are near each other, texts of the same meaning are not.
    """

    name = "embed"
    operation = EMBEDDINGS
    kinds = frozenset({"text"})
    params: type[BaseModel] = EmbedParams
    request_version = 1

    def schema(self, params: EmbedParams, provider: Provider, model: str) -> pa.Schema:
        """``vector`` is a fixed-size list of float32 where its size is known beforehand.

        ``truncated`` is null where a text may have been too long but its tokens are not told.
        """
        import pyarrow as pa

        from mediamill.tasks.sinks.vectors import vector_field

        size = params.dimensions or _get_embedding_model(provider, model).dimensions
        return pa.schema(
            [
                vector_field("vector", size),
                pa.field("dimensions", pa.int32()),
                pa.field("truncated", pa.bool_()),
            ]
        )

    async def run(self, item: Item, params: EmbedParams, call: Call, context: CapabilityContext) -> Mapping[str, Any]:
        """One text to its vector."""
        if "dimensions" in item.params:
            raise BadInput(
                f"{item.source}: vectors of one OUT are of one size",
                kind="bad_row",
                hint="rename the column 'dimensions'; say --dimensions for all rows",
            )
        text = await self._read_text(item, params, context)
        facts = _get_embedding_model(context.provider, context.model)
        answer = await call(_build_embed_ask(item, text, params, context))
        size, wanted = answer.data["dimensions"], params.dimensions or facts.dimensions
        if wanted is not None and size != wanted:
            raise BadReply(
                f"{context.model} answered with a vector of {size} numbers instead of {wanted}",
                kind="bad_dimensions",
                hint=f"say --dimensions {size}, in another --out",
            )
        return {
            "content_sha256": hashlib.sha256(text.encode("utf-8", "replace")).hexdigest(),
            "vector": answer.data["vector"],
            "dimensions": size,
            "truncated": is_truncated(text, facts),
        }

    async def estimate(self, item: Item, params: EmbedParams, context: CapabilityContext) -> Estimate:
        """What the text would need."""
        most = _build_embed_ask(item, await self._read_text(item, params, context), params, context).ceiling
        likely = -(-(most.input_tokens or 0) // _BYTES_PER_TOKEN)
        return Estimate(1, Usage(input_tokens=likely, output_tokens=0), most)

    async def _read_text(self, item: Item, params: EmbedParams, context: CapabilityContext) -> str:
        text = await context.read_text(item)
        if params.template is not None:
            text = render_row(item, "template", params.template, text=text)
        if not text.strip():
            raise BadInput(f"{item.source}: there is no text in it", kind="empty", hint="write one, or leave it out")
        return text


def is_truncated(text: str, facts: EmbeddingModel) -> bool | None:
    """Whether a text was cut off: a token is at least a byte, and a word at least a token; between them unknown."""
    if facts.cuts is None:
        return None
    if not facts.cuts or facts.max_tokens is None:
        return False
    if len(text.encode("utf-8", "replace")) + _SPECIAL_TOKENS <= facts.max_tokens:
        return False
    return True if len(text.split()) > facts.max_tokens else None


def _get_embedding_model(provider: Provider, model: str) -> EmbeddingModel:
    return provider.model_facts(EMBEDDINGS, model, EmbeddingModel)


def _build_embed_ask(item: Item, text: str, params: EmbedParams, context: CapabilityContext) -> Ask:
    size = params.dimensions
    return Ask(
        capability="embed",
        operation=EMBEDDINGS,
        model=context.model,
        params={"text": text} if size is None else {"text": text, "dimensions": size},
        ceiling=Usage(input_tokens=len(text.encode("utf-8", "replace")) + _SPECIAL_TOKENS, output_tokens=0),
        sample=item.sample,
        version=Embed.request_version,
        item_id=item.item_id,
    )
