"""Completions without streaming, with simulated log probabilities, in each provider's form (provider docs)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import orjson

from mediamill.tasks.local.chat.answers import ChatAnswer
from mediamill.tasks.local.chat.chat_dialects import get_chat_dialect
from mediamill.tasks.local.chat.chat_request import ChatRequest
from mediamill.tasks.local.chat.token_usage import TokenUsage, build_usage

_CREATED = 1735689600
LOGPROB = math.log(0.5)
_WORD = re.compile(r"\s*\S+\s*|\s+")


def build_reply_head(params: ChatRequest, request_id: str, kind: str) -> dict[str, Any]:
    """The first fields of replies and chunks."""
    return {"id": f"chatcmpl-{request_id}", "object": kind, "created": _CREATED, "model": params.model}


def make_tool_call_id(request_id: str, number: int) -> str:
    """The id of a tool call."""
    return f"call_{request_id[-12:]}{number}"


def build_completion_reply(
    params: ChatRequest,
    answers: Sequence[ChatAnswer],
    usage: TokenUsage,
    dialect: str,
    request_id: str,
    *,
    with_logprobs: bool = False,
) -> bytes:
    """The reply. Without ``with_logprobs`` requested log probabilities are null, as the engine has none."""
    choices = []
    for n, completion in enumerate(answers):
        choice: dict[str, Any] = {"index": n, "message": _build_message(completion, dialect, request_id)}
        choice |= {"finish_reason": completion.finish_reason, "logprobs": None}
        if params.logprobs is not None and with_logprobs:
            choice["logprobs"] = build_logprobs(split_words(completion.text), params.logprobs, dialect)
        if dialect == "together" and params.seed is not None:
            choice["seed"] = params.seed
        choices.append(choice)
    reply = {
        **build_reply_head(params, request_id, "chat.completion"),
        "choices": choices,
        "usage": build_usage(usage, dialect),
    }
    if dialect == "together":
        reply["prompt"] = []
    elif dialect == "groq":
        reply["x_groq"] = {"id": request_id}
    elif dialect in ("openai", "xai"):
        reply["system_fingerprint"] = "fp_mediamill"
    return orjson.dumps(reply)


def _build_message(completion: ChatAnswer, dialect: str, request_id: str) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": completion.text or (None if completion.tool_calls else ""),
    }
    if dialect == "openai" or completion.refusal is not None:
        message["refusal"] = completion.refusal
    if completion.refusal is not None:
        message["content"] = None
    if completion.reasoning:
        message |= dict.fromkeys(get_chat_dialect(dialect).reasoning_fields, completion.reasoning)
    if completion.tool_calls:
        message["tool_calls"] = [
            {
                "id": make_tool_call_id(request_id, n),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
                **({"index": n} if dialect == "together" else {}),
            }
            for n, call in enumerate(completion.tool_calls)
        ]
    return message


def split_words(text: str) -> list[str]:
    """A text's words with the whitespace around them; joined they are the text."""
    return _WORD.findall(text)


def make_token_id(word: str) -> int:
    """A token id for a word, the same for the same word."""
    return sum(word.encode("utf-8", "replace")) % 50_000


def build_logprobs(words: Sequence[str], count: int, dialect: str) -> dict[str, Any]:
    """The ``logprobs`` of a choice; Together has parallel lists, the others have a list of tokens."""
    if dialect == "together":
        reply: dict[str, Any] = {
            "token_ids": [make_token_id(piece) for piece in words],
            "tokens": list(words),
            "token_logprobs": [LOGPROB] * len(words),
        }
        return reply | ({"top_logprobs": [{piece: LOGPROB} for piece in words]} if count else {})
    return {"content": [_build_token_logprob(piece, count) for piece in words], "refusal": None}


def _build_token_logprob(word: str, count: int) -> dict[str, Any]:
    token = {"token": word, "logprob": LOGPROB, "bytes": list(word.encode("utf-8", "replace"))}
    return {**token, "top_logprobs": [token][:count]}
