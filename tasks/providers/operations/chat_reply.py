"""Chat replies of every provider, whole or as a stream, as one shape: choices and usage."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson

from mediamill.tasks.domain import Usage
from mediamill.tasks.errors import BadReply
from mediamill.tasks.providers.operations.chat_stream import gathered, is_stream
from mediamill.tasks.wire import FIRST_CHUNK_HEADER, Reply

Data = dict[str, Any]

_TICK = Decimal("1e-10")
"""US dollars of one of xAI's ``cost_in_usd_ticks`` (provider docs)."""


def completion_in(reply: Reply) -> tuple[Data, Usage]:
    """``choices``, the ``model`` that answered, ``reasoning_tokens`` and ``first_token_ms``; and the usage.

    Raises:
        BadReply: when it is no completion, or a stream that broke off.
    """
    completion = gathered(reply.body) if is_stream(reply) else _decoded(reply.body)
    listed = completion.get("choices")
    choices = [choice for choice in listed if isinstance(choice, dict)] if isinstance(listed, list) else []
    if not choices:
        raise BadReply("the reply holds no choices")
    usage, thought = usage_of(_usage_in(completion))
    first = reply.headers.get(FIRST_CHUNK_HEADER)
    return {
        "choices": [_choice(choice) for choice in choices],
        "model": completion.get("model") if isinstance(completion.get("model"), str) else None,
        "reasoning_tokens": thought,
        "first_token_ms": int(first) if first and first.isdigit() else None,
    }, usage


def usage_of(fields: Any) -> tuple[Usage, int | None]:
    """Usage in any provider's words, and how many tokens went into reasoning.

    Reasoning is part of the completion, but for xAI, whose total is prompt and completion and reasoning
    (provider docs); there it is added, for it is billed.
    """
    if not isinstance(fields, dict):
        return Usage(requests=1), None
    prompt, completion = _whole(fields.get("prompt_tokens")), _whole(fields.get("completion_tokens"))
    details = _mapping(fields.get("completion_tokens_details"))
    thought = _whole(details.get("reasoning_tokens"))
    total = _whole(fields.get("total_tokens"))
    if thought and None not in (prompt, completion) and total == (prompt or 0) + (completion or 0) + thought:
        completion = (completion or 0) + thought
    cached = _mapping(fields.get("prompt_tokens_details")).get("cached_tokens", fields.get("cached_tokens"))
    ticks = _whole(fields.get("cost_in_usd_ticks"))
    usage = Usage(
        input_tokens=prompt,
        cached_input_tokens=_whole(cached),
        output_tokens=completion,
        requests=1,
        billed_usd=None if ticks is None else ticks * _TICK,
    )
    return usage, thought


def _choice(choice: Mapping[str, Any]) -> Data:
    message = _mapping(choice.get("message"))
    calls = message.get("tool_calls")
    return {
        "text": _text(message.get("content")),
        "reasoning": _text(message.get("reasoning")) or _text(message.get("reasoning_content")),
        "finish_reason": _text(choice.get("finish_reason")),
        "refusal": _text(message.get("refusal")),
        "tool_calls": [_call(call) for call in calls if isinstance(call, dict)] if isinstance(calls, list) else [],
        "logprobs": choice.get("logprobs"),
    }


def _call(call: Mapping[str, Any]) -> Data:
    function = _mapping(call.get("function"))
    arguments = function.get("arguments")
    return {
        "id": _text(call.get("id")),
        "name": _text(function.get("name")),
        "arguments": arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode(),
    }


def _decoded(body: bytes) -> Data:
    try:
        content = orjson.loads(body)
    except ValueError:
        raise BadReply("the reply is not JSON") from None
    if not isinstance(content, dict):
        raise BadReply("the reply is not a completion")
    return content


def _usage_in(content: Mapping[str, Any]) -> Any:
    """Groq's streams tell it beside the standard place (provider docs)."""
    return content.get("usage") or _mapping(content.get("x_groq")).get("usage")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    """Text as it is; parts of text, as some servers answer, joined."""
    if isinstance(value, list):
        value = "".join(str(_mapping(part).get("text") or "") for part in value)
    return value if isinstance(value, str) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
