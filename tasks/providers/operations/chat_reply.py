"""Chat replies of every provider, complete or streamed, in one shape: choices and usage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from mediamill.tasks.domain import Usage
from mediamill.tasks.errors import BadReply
from mediamill.tasks.providers.operations.answer_forms import (
    is_servers_word,
    read_inner_json,
    read_plain_answer,
    unwrap,
)
from mediamill.tasks.providers.operations.chat_stream import (
    classify_generation_error,
    find_choice_error,
    is_completion_stream,
    merge_chunks,
)
from mediamill.tasks.providers.operations.foreign_completions import to_usual_completion
from mediamill.tasks.providers.operations.reply_json import USD_PER_TICK, decode_reply, to_count, to_list, to_mapping
from mediamill.tasks.providers.provider_info import ProviderInfo
from mediamill.tasks.wire import FIRST_CHUNK_HEADER, Problem, Reply

Data = dict[str, Any]


def parse_completion(reply: Reply) -> tuple[Data, Usage]:
    """``choices``, the ``model`` that answered, ``reasoning_tokens`` and ``first_token_ms``; and the usage.

    Raises:
        BadReply: when it is not a completion, or the stream is incomplete.
    """
    completion = merge_chunks(reply.body) if is_completion_stream(reply) else _decode_completion(reply)
    choices = [choice for choice in to_list(completion.get("choices")) if isinstance(choice, dict)]
    if not choices:
        raise BadReply("the reply holds no choices")
    choices.sort(key=lambda choice: find_choice_error(choice) is not None)  # the first one becomes the row's answer
    usage, reasoning_tokens = parse_token_usage(_find_usage(completion))
    first_token_header = reply.headers.get(FIRST_CHUNK_HEADER)
    return {
        "choices": [_parse_choice(choice) for choice in choices],
        "model": completion.get("model") if isinstance(completion.get("model"), str) else None,
        "reasoning_tokens": reasoning_tokens,
        "first_token_ms": int(first_token_header) if first_token_header and first_token_header.isdigit() else None,
    }, usage


def classify_choices(provider: ProviderInfo, reply: Reply) -> Problem | None:
    """What it means that every choice of a completion ended in an error; None where any is an answer."""
    try:
        choices = to_list(_decode_completion(reply).get("choices"))
    except BadReply:
        return None
    errors = [error for choice in choices if (error := find_choice_error(choice)) is not None]
    if not errors or len(errors) < len(choices):
        return None
    answered = any(_join_text(to_mapping(to_mapping(choice).get("message")).get("content")) for choice in choices)
    return classify_generation_error(provider, reply, errors[0], answered=answered)


def parse_token_usage(fields: Any) -> tuple[Usage, int | None]:
    """Usage from any provider's fields, and the number of reasoning tokens.

    Reasoning tokens are part of the completion tokens, except at xAI, whose total is prompt, completion and reasoning
    (provider docs). There they are added, because they are billed.
    """
    if not isinstance(fields, dict):
        return Usage(requests=1), None
    prompt, completion = to_count(fields.get("prompt_tokens")), to_count(fields.get("completion_tokens"))
    details = to_mapping(fields.get("completion_tokens_details"))
    reasoning_tokens = to_count(details.get("reasoning_tokens"))
    total = to_count(fields.get("total_tokens"))
    if (
        reasoning_tokens
        and None not in (prompt, completion)
        and total == (prompt or 0) + (completion or 0) + reasoning_tokens
    ):
        completion = (completion or 0) + reasoning_tokens
    cached = to_mapping(fields.get("prompt_tokens_details")).get("cached_tokens", fields.get("cached_tokens"))
    ticks = to_count(fields.get("cost_in_usd_ticks"))
    usage = Usage(
        input_tokens=prompt,
        cached_input_tokens=to_count(cached),
        output_tokens=completion,
        requests=1,
        billed_usd=None if ticks is None else ticks * USD_PER_TICK,
    )
    return usage, reasoning_tokens


def _parse_choice(choice: Mapping[str, Any]) -> Data:
    stated = choice.get("message") or choice.get("delta")
    message = {"content": stated} if isinstance(stated, str) else to_mapping(stated)
    if not message and "text" in choice:  # a text completion's
        message = {"content": choice["text"]}
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
    function = to_mapping(call.get("function"))
    arguments = function.get("arguments")
    return {
        "id": _join_text(call.get("id")),
        "name": _join_text(function.get("name")),
        "arguments": arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode(),
    }


def _decode_completion(reply: Reply) -> Data:
    try:
        whole = decode_reply(reply.body)
    except BadReply:
        whole = read_plain_answer(reply)
        if whole is None:
            raise
    if isinstance(whole, str) and whole.strip() and read_inner_json(whole) is None and not is_servers_word(whole):
        return {"choices": [{"message": {"content": whole}}]}
    content = unwrap(whole, _is_completion)
    if not isinstance(content, dict):
        raise BadReply("the reply is not a completion")
    return to_usual_completion(content) or content


def _is_completion(value: Any) -> bool:
    if isinstance(value, dict) and not value.get("choices") and "done" not in value and "response" in value:
        return False  # a wrapper's field, where Ollama does not say that it is done
    return to_usual_completion(value) is not None


def _find_usage(content: Mapping[str, Any]) -> Any:
    """The usage fields. Groq's streams hold them in ``x_groq`` (provider docs)."""
    return content.get("usage") or to_mapping(content.get("x_groq")).get("usage")


def _join_text(value: Any) -> str | None:
    """Text as it is; text in parts, as some servers send it, joined."""
    if isinstance(value, list):
        value = "".join(part if isinstance(part, str) else str(to_mapping(part).get("text") or "") for part in value)
    return value if isinstance(value, str) else None
