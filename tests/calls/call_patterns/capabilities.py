"""Three call patterns as small capabilities: many Asks for one Item, many Asks in one request, create-then-poll."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from mediamill.tasks.capabilities.base import Call, CapabilityContext, Estimate
from mediamill.tasks.domain import Ask, Input, Item, Usage
from mediamill.tasks.wire import Provider


class PatternParams(BaseModel):
    """The parameters of the call patterns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pieces: int = Field(3, ge=1, le=50, description="Asks an item is made of")


class _PatternCapability:
    kinds = frozenset({"audio", "text"})
    params: type[BaseModel] = PatternParams
    request_version = 1
    name = ""
    operation = ""

    def schema(self, params: Any, provider: Provider, model: str) -> pa.Schema:
        """One text, and how many Asks it took."""
        return pa.schema([("text", pa.string()), ("pieces", pa.int32())])

    async def estimate(self, item: Item, params: Any, context: CapabilityContext) -> Estimate:
        """As many requests as pieces."""
        usage = Usage(requests=params.pieces)
        return Estimate(params.pieces, usage, usage)

    def _ask(self, item: Item, context: CapabilityContext, digest: str, part: int) -> Ask:
        return Ask(
            capability=self.name,
            operation=self.operation,
            model=context.model,
            params={"part": part},
            inputs=(Input(sha256=digest, start=part, end=part + 1),),
            ceiling=Usage(requests=1),
            sample=item.sample,
            item_id=item.item_id,
        )

    async def _digest(self, item: Item, context: CapabilityContext) -> str:
        if item.location is None:
            return hashlib.sha256(item.item_id.encode()).hexdigest()
        async with context.fetch(item) as media:
            return media.sha256


class PiecesCapability(_PatternCapability):
    """Many Asks for one Item, side by side."""

    name = "pieces"
    operation = "piece"

    async def run(self, item: Item, params: PatternParams, call: Call, context: CapabilityContext) -> Mapping[str, Any]:
        """The pieces' texts, joined in order."""
        digest = await self._digest(item, context)
        answers = await asyncio.gather(*(call(self._ask(item, context, digest, n)) for n in range(params.pieces)))
        return {"text": " ".join(a.data["text"] for a in answers), "pieces": len(answers)}


class BatchedCapability(_PatternCapability):
    """One Ask for each Item; many Asks in one request."""

    name = "packed"
    operation = "packed"

    async def run(self, item: Item, params: PatternParams, call: Call, context: CapabilityContext) -> Mapping[str, Any]:
        """The item's part of the shared reply."""
        answer = await call(self._ask(item, context, await self._digest(item, context), 0))
        return {"text": answer.data["text"], "pieces": 1}


class JobCapability(_PatternCapability):
    """One Ask that creates a job and polls it to its end. Not repeatable."""

    name = "slow"
    operation = "job"

    async def run(self, item: Item, params: PatternParams, call: Call, context: CapabilityContext) -> Mapping[str, Any]:
        """The finished job's text."""
        answer = await call(self._ask(item, context, await self._digest(item, context), 0))
        return {"text": answer.data["text"], "pieces": 1}
