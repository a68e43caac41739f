"""judge-mood: texts to their moods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from mediamill import Ask, Call, CapabilityContext, Estimate, Item, Provider, Usage


class JudgeMoodParams(BaseModel):
    """The parameters of judge-mood."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    only: str | None = Field(None, description="the only mood to look for, e.g. glad; default: every mood")


class JudgeMood:
    """Judge the mood of every text of SOURCE.

    SOURCE is a manifest (.csv .tsv .jsonl .parquet) with a column of texts, or a folder of .txt files.
    """

    name = "judge-mood"
    operation = "mood"
    kinds = frozenset({"text"})
    params: type[BaseModel] = JudgeMoodParams
    request_version = 1

    def schema(self, params: JudgeMoodParams, provider: Provider, model: str) -> pa.Schema:
        """The mood and how sure the model is."""
        return pa.schema([("mood", pa.string()), ("score", pa.float64())])

    async def run(
        self, item: Item, params: JudgeMoodParams, call: Call, context: CapabilityContext
    ) -> Mapping[str, Any]:
        """Judge one text."""
        body = {"text": await context.read_text(item), **params.model_dump(exclude_none=True)}
        ask = Ask(self.name, self.operation, context.model, body, ceiling=Usage(requests=1), item_id=item.item_id)
        answer = await call(ask)
        return {"mood": answer.data["mood"], "score": answer.data["score"]}

    async def estimate(self, item: Item, params: JudgeMoodParams, context: CapabilityContext) -> Estimate:
        """One request per text."""
        return Estimate(1, Usage(requests=1), Usage(requests=1))
