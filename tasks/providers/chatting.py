"""Chat: what the configuration tells of an endpoint and its models, and the names both ends share."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

CHAT, VISION = "chat", "vision_chat"
"""The operations, as the price list names them: prompts of words alone, and prompts with pictures."""

PICTURE, VIDEO = "picture", "video"
"""Parts of a message that stand for the Ask's inputs, in their order."""

Structured = Literal["json_schema", "json_object", "tool", "none"]
"""How a model is held to a schema: by the endpoint, to JSON alone, through a tool's parameters, or by words only."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ChatWire(_Strict):
    """How an endpoint spells what providers spell differently (provider docs)."""

    limit: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="the field for the longest answer"
    )
    sampling: frozenset[str] = Field(
        default=frozenset({"temperature", "top_p", "seed", "stop", "n"}), description="sampling fields it takes"
    )
    stream_usage: bool = Field(default=False, description="takes stream_options.include_usage")
    logprobs: Literal["count", "flag"] | None = Field(
        default=None, description="count: logprobs is how many; flag: top_logprobs is, beside logprobs true"
    )
    idle: float = Field(default=90.0, gt=0, description="seconds between two tokens of a stream")


class Talk(_Strict):
    """A model that answers prompts."""

    structured: Structured = "json_schema"
    tools: bool = True
    thinks: bool = Field(default=False, description="spends tokens of its answer on reasoning")
    effort: bool = Field(default=False, description="takes reasoning_effort")
    max_output: int | None = Field(default=None, gt=0, description="longest answer in tokens")
