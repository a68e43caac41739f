"""Completions as server-sent events, in each provider's form (provider docs), and how faults break them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import orjson

from mediamill.tasks.local.chat.answers import ChatAnswer
from mediamill.tasks.local.chat.chat_dialects import get_chat_dialect
from mediamill.tasks.local.chat.chat_reply import (
    LOGPROB,
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
_KEEP_ALIVE = b": keep-alive\n\n"
_FRAGMENT_CHARS = 16


def build_chunks(
    params: ChatRequest,
    answers: Sequence[ChatAnswer],
    usage: TokenUsage,
    dialect: str,
    request_id: str,
    *,
    with_logprobs: bool = False,
) -> list[Chunk]:
    """The chunks of a reply; those of several answers alternate."""
    common = build_reply_head(params, request_id, "chat.completion.chunk")
    chunks_by_answer = [
        list(_generate_answer_chunks(params, completion, n, dialect, request_id, with_logprobs=with_logprobs))
        for n, completion in enumerate(answers)
    ]
    choices = [choice for turn in zip_longest(*chunks_by_answer) for choice in turn if choice is not None]
    chunks: list[Chunk] = [{**common, "choices": [choice]} for choice in choices]
    usage_fields = build_usage(usage, dialect)
    if dialect == "together":
        chunks[-1]["usage"] = usage_fields
    elif dialect == "groq":
        chunks[0]["x_groq"] = {"id": request_id}
        chunks[-1]["x_groq"] = {"id": request_id, "usage": usage_fields}
    if params.include_usage and dialect == "openai":
        chunks = [{**chunk, "usage": None} for chunk in chunks]
    if dialect == "xai" or (params.include_usage and dialect != "together"):
        chunks.append({**common, "choices": [], "usage": usage_fields})
    return chunks


def encode_events(chunks: Sequence[Chunk], fault: Fault | None, error: Mapping[str, Any]) -> list[bytes]:
    """The bytes of each event, broken as a fault says; ``error`` is the provider's error body."""
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
        lines = [one for event in lines for one in (_KEEP_ALIVE, event)]
    return lines if kind in ("stream_error", "no_done", "undone") else [*lines, DONE]


def _generate_answer_chunks(
    params: ChatRequest, answer: ChatAnswer, index: int, dialect: str, request_id: str, *, with_logprobs: bool
) -> Iterator[dict[str, Any]]:
    names = get_chat_dialect(dialect).reasoning_fields
    role = {"role": "assistant"} if dialect == "together" else {}
    yield _build_choice(index, {"role": "assistant", "content": ""})
    for word in split_words(answer.reasoning):
        yield _build_choice(index, {**role, **({"content": ""} if role else {}), **dict.fromkeys(names, word)})
    for word in split_words(answer.text if answer.refusal is None else ""):
        choice = _build_choice(index, {**role, "content": word})
        if dialect == "together":
            choice["delta"]["token_id"] = make_token_id(word)
        if params.logprobs is not None and with_logprobs:
            value = LOGPROB if dialect == "together" else build_logprobs([word], params.logprobs, dialect)
            choice["logprobs"] = value
        yield choice
    for word in split_words(answer.refusal or ""):
        yield _build_choice(index, {"refusal": word})
    for n, call in enumerate(answer.tool_calls):
        tool_call = {"index": n, "id": make_tool_call_id(request_id, n), "type": "function"}
        yield _build_choice(
            index, {**role, "tool_calls": [{**tool_call, "function": {"name": call.name, "arguments": ""}}]}
        )
        for at in range(0, len(call.arguments), _FRAGMENT_CHARS):
            part = {"index": n, "function": {"arguments": call.arguments[at : at + _FRAGMENT_CHARS]}}
            yield _build_choice(index, {**role, "tool_calls": [part]})
    yield {**_build_choice(index, {**role, "content": ""} if role else {}), "finish_reason": answer.finish_reason}


def _build_choice(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
