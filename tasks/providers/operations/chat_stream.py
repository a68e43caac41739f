"""Streamed completions: their chunks are merged into one completion (provider docs)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import orjson

from mediamill.tasks.errors import BadReply
from mediamill.tasks.providers.errors.classify import classify_error
from mediamill.tasks.providers.errors.lenient_json import read_json
from mediamill.tasks.providers.operations.answer_forms import is_event_stream
from mediamill.tasks.providers.operations.finish_reasons import is_error_reason
from mediamill.tasks.providers.operations.reply_json import to_list, to_mapping
from mediamill.tasks.providers.provider_info import ProviderInfo
from mediamill.tasks.providers.sse import parse_events
from mediamill.tasks.wire import Problem, Reply

_DONE = b"[DONE]"
_NO_WORDS = {"message": "the generation ended in an error"}
_TOKEN_FIELD = re.compile(rb'"(?:content|reasoning|reasoning_content|arguments)"\s*:\s*"[^"]')


def is_completion_stream(reply: Reply) -> bool:
    """True for a success that consists of server-sent events."""
    return reply.status < HTTPStatus.MULTIPLE_CHOICES and is_event_stream(reply)


def has_token(chunk: bytes) -> bool:
    """True when a part of the stream holds a token; reasoning counts."""
    return _TOKEN_FIELD.search(chunk) is not None


def classify_completion_stream(provider: ProviderInfo, reply: Reply) -> Problem | None:
    """An error inside the stream, or a stream that ended early; None for a complete stream.

    Tokens that came before an error are billed; an error before the first token means that nothing was generated.
    """
    answered = False
    ended = False
    for data in _split_chunks(reply.body):
        if data == _DONE:
            return None
        chunk = _decode_chunk(data)
        if chunk is None:
            continue
        error = _find_chunk_error(chunk)
        if error is not None:
            return classify_generation_error(provider, reply, error, answered=answered)
        answered = answered or has_token(data)
        ended = ended or any(to_mapping(choice).get("finish_reason") for choice in to_list(chunk.get("choices")))
    if ended:
        return None
    return Problem(
        "unknown", "short_stream", f"{provider.name}: the stream ended before the completion did", billed=True
    )


def classify_generation_error(provider: ProviderInfo, reply: Reply, error: Any, *, answered: bool) -> Problem | None:
    """What an error means that ended a generation: tokens that came before it are billed.

    Args:
        provider: who generated.
        reply: the success in which the error stands.
        error: the error, in the provider's words.
        answered: whether any token came.
    """
    problem = classify_error(provider, Reply(reply.status, reply.headers, orjson.dumps({"error": error})))
    if problem is None or not answered or problem.kind == "refused":
        return problem
    return replace(problem, verdict="stop" if problem.verdict == "stop" else "unknown", billed=True)


def find_choice_error(choice: Any) -> Any:
    """The error of a choice that ended in one, as aggregators send it (provider docs: OpenRouter); None without."""
    fields = to_mapping(choice)
    message = to_mapping(fields.get("message") or fields.get("delta"))
    error = fields.get("error") or message.get("error")
    if is_error_reason(fields.get("finish_reason")):
        return error or _NO_WORDS
    return error if not message.get("content") and not message.get("tool_calls") else None


def merge_chunks(body: bytes) -> dict[str, Any]:
    """The completion that a stream's chunks add up to.

    Raises:
        BadReply: when a chunk is not JSON.
    """
    completion: dict[str, Any] = {"choices": []}
    choices: dict[int, dict[str, Any]] = {}
    for data in _split_chunks(body):
        if data == _DONE:
            break
        chunk = _decode_chunk(data)
        if chunk is None:
            raise BadReply("a part of the stream is not JSON")
        for name in ("model", "usage", "x_groq"):
            if chunk.get(name):
                completion[name] = chunk[name]
        for choice in to_list(chunk.get("choices")):
            _merge_choice(choices, to_mapping(choice))
    completion["choices"] = [choices[index] for index in sorted(choices)]
    return completion


def _merge_choice(choices: dict[int, dict[str, Any]], choice: Mapping[str, Any]) -> None:
    index = choice.get("index")
    merged = choices.setdefault(index if isinstance(index, int) else 0, {"message": {}, "finish_reason": None})
    if choice.get("finish_reason"):
        merged["finish_reason"] = choice["finish_reason"]
    message, delta = merged["message"], to_mapping(choice.get("delta"))
    logprobs = _parse_logprobs(choice.get("logprobs"), delta)
    if logprobs:
        tokens = to_mapping(merged.get("logprobs")).get("content") or []
        merged["logprobs"] = {"content": [*tokens, *logprobs]}
    for name in ("content", "reasoning", "reasoning_content", "refusal"):
        if isinstance(delta.get(name), str):
            message[name] = message.get(name, "") + delta[name]
    for part in to_list(delta.get("tool_calls")):
        _merge_tool_call(message.setdefault("tool_calls", []), to_mapping(part))


def _parse_logprobs(value: Any, delta: Mapping[str, Any]) -> list[Any]:
    """A chunk's tokens with their log probabilities; Together sends a number for its one token (provider docs)."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return [{"token": delta.get("content"), "logprob": value}]
    return to_list(to_mapping(value).get("content"))


def _merge_tool_call(calls: list[dict[str, Any]], part: Mapping[str, Any]) -> None:
    """Merge a fragment of a tool call: arguments come in fragments, id and name only in the first of them."""
    index = part.get("index")
    position = index if isinstance(index, int) and 0 <= index <= len(calls) else max(len(calls) - 1, 0)
    if position == len(calls):
        calls.append({"id": None, "function": {"name": None, "arguments": ""}})
    call, function = calls[position], to_mapping(part.get("function"))
    call["id"] = call["id"] or part.get("id")
    call["function"]["name"] = call["function"]["name"] or function.get("name")
    if isinstance(function.get("arguments"), str):
        call["function"]["arguments"] += function["arguments"]


def _split_chunks(body: bytes) -> Iterator[bytes]:
    return (event.data.strip() for event in parse_events(body))


def _decode_chunk(data: bytes) -> dict[str, Any] | None:
    try:
        chunk = read_json(data)
    except ValueError:
        return None
    return chunk if isinstance(chunk, dict) else None


def _find_chunk_error(chunk: Mapping[str, Any]) -> Any:
    error = chunk.get("error") or to_mapping(chunk.get("x_groq")).get("error")
    return error or next(filter(None, map(find_choice_error, to_list(chunk.get("choices")))), None)
