"""Completions as server-sent events, in each provider's shape, and the ways in which they break (provider docs)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import orjson
from aiohttp import web

from mediamill.tasks.local.chat.answers import Said
from mediamill.tasks.local.chat.chat_dialects import vendor
from mediamill.tasks.local.chat.chat_reply import call_id, head
from mediamill.tasks.local.chat.chat_request import Asked
from mediamill.tasks.local.chat.logprobs import LIKELY, likelihoods, piece_id, pieces
from mediamill.tasks.local.chat.token_usage import Spent, usage
from mediamill.tasks.local.faults.fault_rules import Fault

Chunk = dict[str, Any]

DONE = b"data: [DONE]\n\n"
_PAUSE = b": keep-alive\n\n"
_FRAGMENT = 16
_LOOK = 0.2


def stream(
    asked: Asked, answers: Sequence[Said], spend: Spent, dialect: str, request_id: str, *, likely: bool = False
) -> list[Chunk]:
    """The chunks of a reply; those of several answers come by turns."""
    told = head(asked, request_id, "chat.completion.chunk")
    each = [list(_chunks(asked, said, n, dialect, request_id, likely=likely)) for n, said in enumerate(answers)]
    choices = [choice for turn in zip_longest(*each) for choice in turn if choice is not None]
    chunks: list[Chunk] = [{**told, "choices": [choice]} for choice in choices]
    spelt = usage(spend, dialect)
    if dialect == "together":
        chunks[-1]["usage"] = spelt
    elif dialect == "groq":
        chunks[0]["x_groq"] = {"id": request_id}
        chunks[-1]["x_groq"] = {"id": request_id, "usage": spelt}
    if asked.usage and dialect == "openai":
        chunks = [{**chunk, "usage": None} for chunk in chunks]
    if dialect == "xai" or (asked.usage and dialect != "together"):
        chunks.append({**told, "choices": [], "usage": spelt})
    return chunks


def events(chunks: Sequence[Chunk], fault: Fault | None, error: Mapping[str, Any]) -> list[bytes]:
    """The bytes of each event, broken as a fault wants it; ``error`` is how the provider words one."""
    kind = fault.kind if fault is not None else None
    told = list(chunks)
    if kind == "stream_error":
        body = fault.body if fault is not None and isinstance(fault.body, dict) else error
        told = [*told[: max(2, len(told) // 2)], dict(body)]
    elif kind == "no_done":
        told = [chunk for chunk in told if not any(choice.get("finish_reason") for choice in chunk["choices"])]
        told = told[: max(1, len(told) - 1)]
    elif kind == "empty_chunks":
        told = [one for chunk in told for one in ({**chunk, "choices": []} | {"usage": None}, chunk)]
    made = [b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in told]
    if kind == "empty_chunks":
        made = [one for event in made for one in (_PAUSE, event)]
    return made if kind in ("stream_error", "no_done", "undone") else [*made, DONE]


async def send(
    request: web.BaseRequest, told: Sequence[bytes], headers: Mapping[str, str], fault: Fault | None
) -> web.StreamResponse:
    """Send the events; ``stall`` falls silent in the middle for its ``interval``."""
    reply = web.StreamResponse(headers=headers)
    await reply.prepare(request)
    if fault is None or fault.kind != "stall":
        await reply.write(b"".join(told))
        return reply
    half = max(2, len(told) // 2)
    await reply.write(b"".join(told[:half]))
    left = fault.interval
    while left > 0 and request.transport is not None and not request.transport.is_closing():
        await asyncio.sleep(min(left, _LOOK))
        left -= _LOOK
    await reply.write(b"".join(told[half:]))
    return reply


def _chunks(
    asked: Asked, said: Said, index: int, dialect: str, request_id: str, *, likely: bool
) -> Iterator[dict[str, Any]]:
    names = vendor(dialect).reasoning
    always = {"role": "assistant"} if dialect == "together" else {}
    yield _choice(index, {"role": "assistant", "content": ""})
    for piece in pieces(said.reasoning):
        yield _choice(index, {**always, **({"content": ""} if always else {}), **dict.fromkeys(names, piece)})
    for piece in pieces(said.text if said.refusal is None else ""):
        choice = _choice(index, {**always, "content": piece})
        if dialect == "together":
            choice["delta"]["token_id"] = piece_id(piece)
        if asked.logprobs is not None and likely:
            told = LIKELY if dialect == "together" else likelihoods([piece], asked.logprobs, dialect)
            choice["logprobs"] = told
        yield choice
    for piece in pieces(said.refusal or ""):
        yield _choice(index, {"refusal": piece})
    for n, call in enumerate(said.calls):
        begun = {"index": n, "id": call_id(request_id, n), "type": "function"}
        yield _choice(index, {**always, "tool_calls": [{**begun, "function": {"name": call.name, "arguments": ""}}]})
        for at in range(0, len(call.arguments), _FRAGMENT):
            part = {"index": n, "function": {"arguments": call.arguments[at : at + _FRAGMENT]}}
            yield _choice(index, {**always, "tool_calls": [part]})
    yield {**_choice(index, {**always, "content": ""} if always else {}), "finish_reason": said.finish}


def _choice(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
