"""Completions in one piece, as each provider words them (provider docs)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from mediamill.tasks.local.chat.answers import Said
from mediamill.tasks.local.chat.chat_dialects import vendor
from mediamill.tasks.local.chat.chat_request import Asked
from mediamill.tasks.local.chat.logprobs import likelihoods, pieces
from mediamill.tasks.local.chat.token_usage import Spent, usage

_CREATED = 1735689600


def head(asked: Asked, request_id: str, kind: str) -> dict[str, Any]:
    """What replies and chunks begin with."""
    return {"id": f"chatcmpl-{request_id}", "object": kind, "created": _CREATED, "model": asked.model}


def call_id(request_id: str, number: int) -> str:
    """Names a tool call."""
    return f"call_{request_id[-12:]}{number}"


def whole(
    asked: Asked, answers: Sequence[Said], spend: Spent, dialect: str, request_id: str, *, likely: bool = False
) -> bytes:
    """The reply. ``likely`` tells likelihoods where they are asked for; null stands for those that nobody knows."""
    choices = []
    for n, said in enumerate(answers):
        choice: dict[str, Any] = {"index": n, "message": _message(said, dialect, request_id)}
        choice |= {"finish_reason": said.finish, "logprobs": None}
        if asked.logprobs is not None and likely:
            choice["logprobs"] = likelihoods(pieces(said.text), asked.logprobs, dialect)
        if dialect == "together" and asked.seed is not None:
            choice["seed"] = asked.seed
        choices.append(choice)
    made = {**head(asked, request_id, "chat.completion"), "choices": choices, "usage": usage(spend, dialect)}
    if dialect == "together":
        made["prompt"] = []
    elif dialect == "groq":
        made["x_groq"] = {"id": request_id}
    elif dialect in ("openai", "xai"):
        made["system_fingerprint"] = "fp_mediamill"
    return orjson.dumps(made)


def _message(said: Said, dialect: str, request_id: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text or (None if said.calls else "")}
    if dialect == "openai" or said.refusal is not None:
        message["refusal"] = said.refusal
    if said.refusal is not None:
        message["content"] = None
    if said.reasoning:
        message |= dict.fromkeys(vendor(dialect).reasoning, said.reasoning)
    if said.calls:
        message["tool_calls"] = [
            {
                "id": call_id(request_id, n),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
                **({"index": n} if dialect == "together" else {}),
            }
            for n, call in enumerate(said.calls)
        ]
    return message
