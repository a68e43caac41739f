"""Completions as server-sent events, in each provider's shape, and the ways in which they break (provider docs)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import orjson

from mediamill.tasks.local.chat.answers import ChatAnswer
from mediamill.tasks.local.chat.chat_dialects import get_chat_dialect
from mediamill.tasks.local.chat.chat_reply import (
    LIKELY,
    build_logprobs,
    build_reply_head,
    make_token_id,
    make_tool_call_id,
    split_words,
)
from mediamill.tasks.local.chat.chat_request import ChatRequest
from mediamill.tasks.local.chat.token_usage import TokenUsage, build_usage
from mediamill.tasks.local.faults.fault_rules import Fault

Chunk = dict[str, Any]

DONE = b"data: [DONE]\n\n"
_PAUSE = b": keep-alive\n\n"
_FRAGMENT = 16


def build_chunks(
    params: ChatRequest,
    answers: Sequence[ChatAnswer],
    spend: TokenUsage,
    dialect: str,
    request_id: str,
    *,
    likely: bool = False,
) -> list[Chunk]:
    """The chunks of a reply; those of several answers come by turns."""
    common = build_reply_head(params, request_id, "chat.completion.chunk")
    each = [
        list(_generate_answer_chunks(params, completion, n, dialect, request_id, likely=likely))
        for n, completion in enumerate(answers)
    ]
    choices = [choice for turn in zip_longest(*each) for choice in turn if choice is not None]
    chunks: list[Chunk] = [{**common, "choices": [choice]} for choice in choices]
    counts = build_usage(spend, dialect)
    if dialect == "together":
        chunks[-1]["usage"] = counts
    elif dialect == "groq":
        chunks[0]["x_groq"] = {"id": request_id}
        chunks[-1]["x_groq"] = {"id": request_id, "usage": counts}
    if params.usage and dialect == "openai":
        chunks = [{**chunk, "usage": None} for chunk in chunks]
    if dialect == "xai" or (params.usage and dialect != "together"):
        chunks.append({**common, "choices": [], "usage": counts})
    return chunks


def encode_events(chunks: Sequence[Chunk], fault: Fault | None, error: Mapping[str, Any]) -> list[bytes]:
    """The bytes of each event, broken as a fault wants it; ``error`` is how the provider words one."""
    kind = fault.kind if fault is not None else None
    parts = list(chunks)
    if kind == "stream_error":
        body = fault.body if fault is not None and isinstance(fault.body, dict) else error
        parts = [*parts[: max(2, len(parts) // 2)], dict(body)]
    elif kind == "no_done":
        parts = [chunk for chunk in parts if not any(choice.get("finish_reason") for choice in chunk["choices"])]
        parts = parts[: max(1, len(parts) - 1)]
    elif kind == "empty_chunks":
        parts = [one for chunk in parts for one in ({**chunk, "choices": []} | {"usage": None}, chunk)]
    lines = [b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in parts]
    if kind == "empty_chunks":
        lines = [one for event in lines for one in (_PAUSE, event)]
    return lines if kind in ("stream_error", "no_done", "undone") else [*lines, DONE]


def _generate_answer_chunks(
    params: ChatRequest, completion: ChatAnswer, index: int, dialect: str, request_id: str, *, likely: bool
) -> Iterator[dict[str, Any]]:
    names = get_chat_dialect(dialect).reasoning
    always = {"role": "assistant"} if dialect == "together" else {}
    yield _build_choice(index, {"role": "assistant", "content": ""})
    for piece in split_words(completion.reasoning):
        yield _build_choice(index, {**always, **({"content": ""} if always else {}), **dict.fromkeys(names, piece)})
    for piece in split_words(completion.text if completion.refusal is None else ""):
        choice = _build_choice(index, {**always, "content": piece})
        if dialect == "together":
            choice["delta"]["token_id"] = make_token_id(piece)
        if params.logprobs is not None and likely:
            value = LIKELY if dialect == "together" else build_logprobs([piece], params.logprobs, dialect)
            choice["logprobs"] = value
        yield choice
    for piece in split_words(completion.refusal or ""):
        yield _build_choice(index, {"refusal": piece})
    for n, call in enumerate(completion.calls):
        begun = {"index": n, "id": make_tool_call_id(request_id, n), "type": "function"}
        yield _build_choice(
            index, {**always, "tool_calls": [{**begun, "function": {"name": call.name, "arguments": ""}}]}
        )
        for at in range(0, len(call.arguments), _FRAGMENT):
            part = {"index": n, "function": {"arguments": call.arguments[at : at + _FRAGMENT]}}
            yield _build_choice(index, {**always, "tool_calls": [part]})
    yield {**_build_choice(index, {**always, "content": ""} if always else {}), "finish_reason": completion.finish}


def _build_choice(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
