"""Streamed completions: chunks gathered into the completion they are parts of (provider docs)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

import orjson

from mediamill.tasks.errors import BadReply
from mediamill.tasks.providers.errors.classify import classify_error
from mediamill.tasks.providers.provider_info import ProviderInfo
from mediamill.tasks.providers.sse import events
from mediamill.tasks.wire import Problem, Reply

_DONE = b"[DONE]"
_SAID = re.compile(rb'"(?:content|reasoning|reasoning_content|arguments)"\s*:\s*"[^"]')


def is_stream(reply: Reply) -> bool:
    """True for an answer that came as server-sent events."""
    return reply.status < HTTPStatus.MULTIPLE_CHOICES and reply.headers.get("content-type", "").startswith(
        "text/event-stream"
    )


def has_token(chunk: bytes) -> bool:
    """True when a piece of the stream holds a first token; reasoning counts."""
    return _SAID.search(chunk) is not None


def classify_stream(provider: ProviderInfo, reply: Reply) -> Problem | None:
    """An error inside the stream, or a stream that ended early; None for a whole one.

    Tokens that came before an error are billed; an error at once denies the work.
    """
    answered = False
    ended = False
    for data in _chunks(reply.body):
        if data == _DONE:
            return None
        chunk = _decoded(data)
        if chunk is None:
            continue
        error = _error(chunk)
        if error is not None:
            problem = classify_error(provider, Reply(reply.status, reply.headers, orjson.dumps({"error": error})))
            if problem is None or not answered:
                return problem
            return Problem("unknown", problem.kind, problem.message, billed=True, code=problem.code, hint=problem.hint)
        answered = answered or has_token(data)
        ended = ended or any(_mapping(choice).get("finish_reason") for choice in _list(chunk.get("choices")))
    if ended:
        return None
    return Problem("unknown", "short_stream", f"{provider.name}: the stream ended before the answer did", billed=True)


def gathered(body: bytes) -> dict[str, Any]:
    """The completion that a stream's chunks add up to.

    Raises:
        BadReply: when there is none in it.
    """
    whole: dict[str, Any] = {"choices": []}
    choices: dict[int, dict[str, Any]] = {}
    for data in _chunks(body):
        if data == _DONE:
            break
        chunk = _decoded(data)
        if chunk is None:
            raise BadReply("a part of the stream is not JSON")
        for name in ("model", "usage", "x_groq"):
            if chunk.get(name):
                whole[name] = chunk[name]
        for choice in _list(chunk.get("choices")):
            _add(choices, _mapping(choice))
    whole["choices"] = [choices[index] for index in sorted(choices)]
    return whole


def _add(choices: dict[int, dict[str, Any]], choice: Mapping[str, Any]) -> None:
    index = choice.get("index")
    kept = choices.setdefault(index if isinstance(index, int) else 0, {"message": {}, "finish_reason": None})
    if choice.get("finish_reason"):
        kept["finish_reason"] = choice["finish_reason"]
    message, delta = kept["message"], _mapping(choice.get("delta"))
    logprobs = _likelihoods(choice.get("logprobs"), delta)
    if logprobs:
        tokens = _mapping(kept.get("logprobs")).get("content") or []
        kept["logprobs"] = {"content": [*tokens, *logprobs]}
    for name in ("content", "reasoning", "reasoning_content", "refusal"):
        if isinstance(delta.get(name), str):
            message[name] = message.get(name, "") + delta[name]
    for part in _list(delta.get("tool_calls")):
        _add_call(message.setdefault("tool_calls", []), _mapping(part))


def _likelihoods(value: Any, delta: Mapping[str, Any]) -> list[Any]:
    """A chunk's tokens with their likelihoods; Together tells a bare number for its one token (provider docs)."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return [{"token": delta.get("content"), "logprob": value}]
    return _list(_mapping(value).get("content"))


def _add_call(calls: list[dict[str, Any]], part: Mapping[str, Any]) -> None:
    """Arguments come in fragments by index; id and name in the first of them only."""
    index = part.get("index")
    place = index if isinstance(index, int) and 0 <= index <= len(calls) else max(len(calls) - 1, 0)
    if place == len(calls):
        calls.append({"id": None, "function": {"name": None, "arguments": ""}})
    call, function = calls[place], _mapping(part.get("function"))
    call["id"] = call["id"] or part.get("id")
    call["function"]["name"] = call["function"]["name"] or function.get("name")
    if isinstance(function.get("arguments"), str):
        call["function"]["arguments"] += function["arguments"]


def _chunks(body: bytes) -> Iterator[bytes]:
    return (event.data.strip() for event in events(body))


def _decoded(data: bytes) -> dict[str, Any] | None:
    try:
        chunk = orjson.loads(data)
    except ValueError:
        return None
    return chunk if isinstance(chunk, dict) else None


def _error(chunk: Mapping[str, Any]) -> Any:
    return chunk.get("error") or _mapping(chunk.get("x_groq")).get("error")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
