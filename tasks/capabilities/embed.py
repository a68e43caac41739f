"""embed: texts to vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mediamill.tasks.capabilities.base import BYTES_PER_TOKEN, Call, CapabilityContext, Estimate
from mediamill.tasks.capabilities.parameters import Template
from mediamill.tasks.capabilities.text.prompts import check_template, render_row
from mediamill.tasks.domain import Ask, Item, Usage
from mediamill.tasks.errors import BadInput, BadReply, UsageError
from mediamill.tasks.providers.operations.embeddings import EMBEDDINGS, EmbeddingModel
from mediamill.tasks.wire import Provider

if TYPE_CHECKING:
    import pyarrow as pa


_SPECIAL_TOKENS = 8
"""Tokens that a model may add to a text (estimate)."""


class EmbedParams(BaseModel):
    """Parameters of embeddings. What is unset is not sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    template: Annotated[str | None, Template()] = Field(
        None,
        min_length=1,
        description="template of the text to embed, e.g. 'Query: {{ text }}' for models that need it; default: text",
    )
    dimensions: int | None = Field(
        None,
        ge=1,
        le=65_536,
        description="size of the vectors: a smaller one where the model supports it, or that of an unlisted model",
    )

    _check_template = field_validator("template")(check_template)


class Embed:
    """Embed every text of SOURCE.

    SOURCE is a manifest (.csv .tsv .jsonl .parquet) with a column of texts, a folder of .txt files, a file, a URL,
    or - for a text on each line of stdin. Texts share requests as far as the provider allows. The built-in
    provider embeds texts by their meaning, in 16 languages, with the extra `embed` (model use); without it, it hashes
    words (model hashing): texts with the same words are near each other, texts of the same meaning are not.
    """

    name = "embed"
    operation = EMBEDDINGS
    kinds = frozenset({"text"})
    params: type[BaseModel] = EmbedParams
    request_version = 1

    def schema(self, params: EmbedParams, provider: Provider, model: str) -> pa.Schema:
        """``vector`` is a fixed-size list of float32 when its size is known beforehand.

        ``truncated`` is null when a text may have been too long and its number of tokens is not known.

        Raises:
            UsageError: for dimensions that the model does not have.
        """
        import pyarrow as pa

        from mediamill.tasks.sinks.schema import make_field
        from mediamill.tasks.sinks.vectors import vector_field

        facts = _get_embedding_model(provider, model)
        if params.dimensions and facts.dimensions and params.dimensions != facts.dimensions and not facts.shortens:
            raise UsageError(
                f"{model} has vectors of {facts.dimensions} numbers, not {params.dimensions}",
                hint="leave --dimensions out",
            )
        size = params.dimensions or facts.dimensions
        return pa.schema(
            [
                vector_field("vector", size, "the vector; of a fixed size where the model's is known"),
                make_field("dimensions", pa.int32(), "number of dimensions"),
                make_field(
                    "truncated",
                    pa.bool_(),
                    "true when the text was longer than the model reads; null where that is not known",
                ),
            ]
        )

    async def run(self, item: Item, params: EmbedParams, call: Call, context: CapabilityContext) -> Mapping[str, Any]:
        """Embed one text."""
        if "dimensions" in item.params:
            raise BadInput(
                f"{item.source}: vectors of one OUT are of one size",
                kind="wrong_row",
                hint="rename the column 'dimensions', and give --dimensions for all rows",
            )
        text = await self._read_text(item, params, context)
        embedding_model = _get_embedding_model(context.provider, context.model)
        answer = await call(_build_embed_ask(item, text, params, context))
        size, expected = answer.data["dimensions"], params.dimensions or embedding_model.dimensions
        if expected is not None and size != expected:
            raise BadReply(
                f"{context.model} answered with a vector of {size} dimensions instead of {expected}",
                kind="bad_dimensions",
                hint=f"give --dimensions {size}, and another --out",
            )
        return {
            "content_sha256": hashlib.sha256(text.encode("utf-8", "replace")).hexdigest(),
            "vector": answer.data["vector"],
            "dimensions": size,
            "truncated": is_truncated(text, embedding_model),
        }

    async def estimate(self, item: Item, params: EmbedParams, context: CapabilityContext) -> Estimate:
        """What the text would need."""
        ceiling = _build_embed_ask(item, await self._read_text(item, params, context), params, context).ceiling
        likely = -(-(ceiling.input_tokens or 0) // BYTES_PER_TOKEN)
        return Estimate(1, Usage(input_tokens=likely, output_tokens=0), ceiling)

    async def _read_text(self, item: Item, params: EmbedParams, context: CapabilityContext) -> str:
        text = await context.read_text(item)
        if params.template is not None:
            text = await render_row(item, "template", params.template, context, text=text)
        if not text.strip():
            raise BadInput(f"{item.source}: the text is empty", kind="empty", hint="write one, or leave it out")
        return text


def is_truncated(text: str, embedding_model: EmbeddingModel) -> bool | None:
    """Whether the model cut a text off; None when that is unknown.

    A token is at least one byte, and a word at least one token. Between these bounds it is unknown.
    """
    if embedding_model.cuts is None:
        return None
    if not embedding_model.cuts or embedding_model.max_tokens is None:
        return False
    if len(text.encode("utf-8", "replace")) + _SPECIAL_TOKENS <= embedding_model.max_tokens:
        return False
    return True if len(text.split()) > embedding_model.max_tokens else None


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
