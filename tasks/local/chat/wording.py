"""Completions as each provider words them, whole and as a stream (provider docs)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from tasks.local.chat.asked import Asked
from tasks.local.chat.engines import Said
from tasks.local.chat.tokens import tokens_of

_CREATED = 1735689600
_PIECE = re.compile(r"\s*\S+\s*|\s+")
_REASONING = {
    "together": "reasoning",
    "groq": "reasoning",
    "compatible": "reasoning_content",
    "xai": "reasoning_content",
}
_CALL_ID = "call_0"


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens: of the prompt, of the answers, and of the reasoning in them; dollars where the provider tells them."""

    told: int
    said: int
    thought: int
    usd_ticks: int | None = None


def cut(said: Said, asked: Asked) -> tuple[Said, str]:
    """An answer ended where it must, and why."""
    text = said.text
    for stop in asked.stop:
        text = text.partition(stop)[0]
    finish = said.finish or ("tool_calls" if said.arguments is not None else "stop")
    room = max(asked.most - tokens_of(said.reasoning), 0) * 4
    if len(text) > room:
        text, finish = text[:room], "length"
    return Said(text, said.reasoning, said.arguments, said.refusal, finish, said.simulated), finish


def spent(answers: Sequence[Said], told: int) -> Spent:
    """What a request comes to."""
    thought = sum(tokens_of(said.reasoning) for said in answers)
    words = sum(
        tokens_of(said.text) + tokens_of(said.arguments or "") + tokens_of(said.refusal or "") for said in answers
    )
    return Spent(told, words + thought, thought)


def usage(spend: Spent, dialect: str) -> dict[str, Any]:
    """The usage object; xAI leaves reasoning out of the completion and tells the cost in ticks."""
    said = spend.said - spend.thought if dialect == "xai" else spend.said
    made: dict[str, Any] = {
        "prompt_tokens": spend.told,
        "completion_tokens": said,
        "total_tokens": spend.told + spend.said,
    }
    if dialect in ("openai", "xai", "local"):
        made["prompt_tokens_details"] = {"cached_tokens": 0}
        made["completion_tokens_details"] = {"reasoning_tokens": spend.thought}
    if dialect == "groq":
        made |= {"queue_time": 0.001, "prompt_time": 0.001, "completion_time": 0.001, "total_time": 0.002}
    if spend.usd_ticks is not None:
        made["cost_in_usd_ticks"] = spend.usd_ticks
    return made


def whole(asked: Asked, answers: Sequence[Said], spend: Spent, dialect: str, request_id: str) -> bytes:
    """The reply in one piece."""
    choices = [
        {
            "index": n,
            "message": _message(asked, said, dialect),
            "finish_reason": said.finish,
            **({"logprobs": _logprobs(said.text, asked.logprobs)} if asked.logprobs is not None else {}),
        }
        for n, said in enumerate(answers)
    ]
    made = {**_head(asked, request_id, "chat.completion"), "choices": choices, "usage": usage(spend, dialect)}
    if dialect == "groq":
        made["x_groq"] = {"id": request_id}
    return orjson.dumps(made)


def stream(
    asked: Asked, answers: Sequence[Said], spend: Spent, dialect: str, request_id: str, broken: str | None = None
) -> bytes:
    """The reply as server-sent events; ``broken`` ends it as a fault wants it."""
    events = list(_events(asked, answers, spend, dialect, request_id))
    if broken == "stream_error":
        error = {"error": {"message": "fault on demand", "type": "server_error", "code": None}}
        events = [*events[: max(2, len(events) // 2)], error]
    elif broken == "no_done":
        events = [event for event in events if not any(c.get("finish_reason") for c in event.get("choices", ()))]
        events = events[: max(1, len(events) - 1)]
    body = b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events)
    return body if broken in ("stream_error", "no_done") else body + b"data: [DONE]\n\n"


def _events(
    asked: Asked, answers: Sequence[Said], spend: Spent, dialect: str, request_id: str
) -> Iterator[dict[str, Any]]:
    head = _head(asked, request_id, "chat.completion.chunk")
    ends = dialect not in ("together", "groq")
    for n, said in enumerate(answers):
        yield _chunk(head, n, {"role": "assistant", "content": ""})
        for piece in _PIECE.findall(said.reasoning):
            yield _chunk(head, n, {_REASONING.get(dialect, "reasoning_content"): piece})
        for piece in _PIECE.findall(said.text):
            yield _chunk(head, n, {"content": piece})
        if said.refusal:
            yield _chunk(head, n, {"refusal": said.refusal})
        if said.arguments is not None:
            name = str((asked.tool or {}).get("name"))
            begun = {"index": 0, "id": _CALL_ID, "type": "function", "function": {"name": name, "arguments": ""}}
            yield _chunk(head, n, {"tool_calls": [begun]})
            for at in range(0, len(said.arguments), 16):
                part = {"index": 0, "function": {"arguments": said.arguments[at : at + 16]}}
                yield _chunk(head, n, {"tool_calls": [part]})
        last = _chunk(head, n, {})
        last["choices"][0]["finish_reason"] = said.finish
        if n == len(answers) - 1 and dialect == "together":
            last["usage"] = usage(spend, dialect)
        if n == len(answers) - 1 and dialect == "groq":
            last["x_groq"] = {"id": request_id, "usage": usage(spend, dialect)}
        yield last
    if ends and (asked.usage or dialect == "xai"):
        yield {**head, "choices": [], "usage": usage(spend, dialect)}


def _head(asked: Asked, request_id: str, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{request_id}", "object": kind, "created": _CREATED, "model": asked.model}


def _chunk(head: dict[str, Any], index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {**head, "choices": [{"index": index, "delta": delta, "finish_reason": None}]}


def _message(asked: Asked, said: Said, dialect: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text or (None if said.arguments else "")}
    if said.reasoning:
        message[_REASONING.get(dialect, "reasoning_content")] = said.reasoning
    if said.refusal is not None:
        message["refusal"] = said.refusal
        message["content"] = None
    if said.arguments is not None:
        function = {"name": str((asked.tool or {}).get("name")), "arguments": said.arguments}
        message["tool_calls"] = [{"id": _CALL_ID, "type": "function", "function": function}]
    return message


def _logprobs(text: str, count: int) -> dict[str, Any]:
    """Made-up likelihoods in the shape of real ones: each piece as likely as the next."""
    likely = math.log(0.5)
    return {
        "content": [
            {"token": piece, "logprob": likely, "top_logprobs": [{"token": piece, "logprob": likely}][:count]}
            for piece in _PIECE.findall(text)
        ]
    }
