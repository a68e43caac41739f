"""Chat replies of every provider, whole or as a stream, as one shape: choices and usage."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson

from mediamill.tasks.domain import Usage
from mediamill.tasks.errors import BadReply
from mediamill.tasks.providers.operations.chat_stream import is_completion_stream, merge_chunks
from mediamill.tasks.wire import FIRST_CHUNK_HEADER, Reply

Data = dict[str, Any]

_TICK = Decimal("1e-10")
"""US dollars of one of xAI's ``cost_in_usd_ticks`` (provider docs)."""


def parse_completion(reply: Reply) -> tuple[Data, Usage]:
    """``choices``, the ``model`` that answered, ``reasoning_tokens`` and ``first_token_ms``; and the usage.

    Raises:
        BadReply: when it is no completion, or a stream that broke off.
    """
    completion = merge_chunks(reply.body) if is_completion_stream(reply) else _decode_completion(reply.body)
    reply_choices = completion.get("choices")
    choices = (
        [choice for choice in reply_choices if isinstance(choice, dict)] if isinstance(reply_choices, list) else []
    )
    if not choices:
        raise BadReply("the reply holds no choices")
    usage, reasoning_tokens = parse_token_usage(_find_usage(completion))
    first_token_header = reply.headers.get(FIRST_CHUNK_HEADER)
    return {
        "choices": [_parse_choice(choice) for choice in choices],
        "model": completion.get("model") if isinstance(completion.get("model"), str) else None,
        "reasoning_tokens": reasoning_tokens,
        "first_token_ms": int(first_token_header) if first_token_header and first_token_header.isdigit() else None,
    }, usage


def parse_token_usage(fields: Any) -> tuple[Usage, int | None]:
    """Usage in any provider's words, and how many tokens went into reasoning.

    Reasoning is part of the completion, but for xAI, whose total is prompt and completion and reasoning
    (provider docs); there it is added, for it is billed.
    """
    if not isinstance(fields, dict):
        return Usage(requests=1), None
    prompt, completion = _whole(fields.get("prompt_tokens")), _whole(fields.get("completion_tokens"))
    details = _mapping(fields.get("completion_tokens_details"))
    reasoning_tokens = _whole(details.get("reasoning_tokens"))
    total = _whole(fields.get("total_tokens"))
    if (
        reasoning_tokens
        and None not in (prompt, completion)
        and total == (prompt or 0) + (completion or 0) + reasoning_tokens
    ):
        completion = (completion or 0) + reasoning_tokens
    cached = _mapping(fields.get("prompt_tokens_details")).get("cached_tokens", fields.get("cached_tokens"))
    ticks = _whole(fields.get("cost_in_usd_ticks"))
    usage = Usage(
        input_tokens=prompt,
        cached_input_tokens=_whole(cached),
        output_tokens=completion,
        requests=1,
        billed_usd=None if ticks is None else ticks * _TICK,
    )
    return usage, reasoning_tokens


def _parse_choice(choice: Mapping[str, Any]) -> Data:
    message = _mapping(choice.get("message"))
    calls = message.get("tool_calls")
    return {
        "text": _join_text(message.get("content")),
        "reasoning": _join_text(message.get("reasoning")) or _join_text(message.get("reasoning_content")),
        "finish_reason": _join_text(choice.get("finish_reason")),
        "refusal": _join_text(message.get("refusal")),
        "tool_calls": [_parse_tool_call(call) for call in calls if isinstance(call, dict)]
        if isinstance(calls, list)
        else [],
        "logprobs": choice.get("logprobs"),
    }


def _parse_tool_call(call: Mapping[str, Any]) -> Data:
    function = _mapping(call.get("function"))
    arguments = function.get("arguments")
    return {
        "id": _join_text(call.get("id")),
        "name": _join_text(function.get("name")),
        "arguments": arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode(),
    }


def _decode_completion(body: bytes) -> Data:
    try:
        content = orjson.loads(body)
    except ValueError:
        raise BadReply("the reply is not JSON") from None
    if not isinstance(content, dict):
        raise BadReply("the reply is not a completion")
    return content


def _find_usage(content: Mapping[str, Any]) -> Any:
    """Groq's streams tell it beside the standard place (provider docs)."""
    return content.get("usage") or _mapping(content.get("x_groq")).get("usage")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _join_text(value: Any) -> str | None:
    """Text as it is; parts of text, as some servers answer, joined."""
    if isinstance(value, list):
        value = "".join(str(_mapping(part).get("text") or "") for part in value)
    return value if isinstance(value, str) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
