"""Chat requests, parsed and checked as the dialect's provider checks them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from mediamill.tasks.local.chat.chat_dialects import ChatDialect
from mediamill.tasks.local.chat.chat_models import ServedChatModel
from mediamill.tasks.local.chat.media_sources import MediaSource
from mediamill.tasks.local.chat.messages import read_messages
from mediamill.tasks.local.chat.response_format import (
    PLAIN,
    ResponseFormat,
    Tool,
)
from mediamill.tasks.local.server.api_error import ApiError

_DEFAULT_MAX_TOKENS = 4096
"""Maximum tokens of an answer when the request gives no maximum."""
_MAX_TOKENS = 10_000_000


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A valid request. ``tools`` is their JSON, for counting tokens; ``tool`` is the one that must be called."""

    model: str
    served_model: ServedChatModel
    text: str
    messages: int = 1
    sources: tuple[MediaSource, ...] = ()
    max_tokens: int = _DEFAULT_MAX_TOKENS
    n: int = 1
    stop: tuple[str, ...] = ()
    stream: bool = False
    include_usage: bool = False
    logprobs: int | None = None
    response_format: ResponseFormat = PLAIN
    tool: Tool | None = None
    tools: str = ""
    seed: int | None = None


def read_chat_request(fields: Any, chat_dialect: ChatDialect, models: Mapping[str, ServedChatModel]) -> ChatRequest:
    """Check a request, but for the form of its answer: :func:`read_answer_form` checks that.

    Args:
        fields: the request's JSON.
        chat_dialect: the rules of its provider.
        models: the known models; ``*`` stands for any other.

    Raises:
        ApiError: for the first invalid field, which it names.
    """
    if not isinstance(fields, dict):
        raise ApiError("bad_value", "the body must be a JSON object")
    model, served_model = _find_model(fields, chat_dialect, models)
    _check_fields(fields, chat_dialect, served_model)
    messages = read_messages(fields.get("messages"), chat_dialect)
    if messages.sources and not served_model.sees:
        raise ApiError(
            "bad_value", f"The model `{model}` takes text only, no {messages.sources[0].kind}s", param="messages"
        )
    text = "\n".join(messages.texts)
    stream, usage = _read_stream_options(fields)
    return ChatRequest(
        model=model,
        served_model=served_model,
        text=text,
        messages=len(messages.texts),
        sources=tuple(messages.sources),
        max_tokens=_read_max_tokens(fields),
        n=_read_integer(fields, "n", 1, chat_dialect.max_n) or 1,
        stop=_read_stop(fields.get("stop"), chat_dialect),
        stream=stream,
        include_usage=usage,
        logprobs=_read_logprobs(fields, chat_dialect),
        tools=orjson.dumps(fields["tools"]).decode() if fields.get("tools") else "",
        seed=_read_integer(fields, "seed", -(2**63), 2**63 - 1),
    )


def _find_model(
    fields: Mapping[str, Any], chat_dialect: ChatDialect, models: Mapping[str, ServedChatModel]
) -> tuple[str, ServedChatModel]:
    model = fields.get("model")
    if model is None or model == "":
        raise ApiError("missing_field", "you must provide a model parameter", param="model")
    if not isinstance(model, str):
        raise ApiError("bad_value", "model must be a string", param="model")
    served_model = models.get(model)
    if (served_model is None and chat_dialect.strict) or model == "*":
        message = f"The model `{model[:200]}` does not exist or you do not have access to it."
        raise ApiError("unknown_model", message, param="model")
    return model, served_model or models.get("*") or ServedChatModel()


def _check_fields(fields: Mapping[str, Any], chat_dialect: ChatDialect, served_model: ServedChatModel) -> None:
    """Check that the provider accepts the fields, and that sampling is within its ranges (provider docs)."""
    given = {name: value for name, value in fields.items() if value is not None}
    if chat_dialect.fields is not None:
        for name in given:
            if name not in chat_dialect.fields:
                message = (
                    "Unrecognized request argument supplied:"
                    if chat_dialect.name == "openai"
                    else "unsupported property:"
                )
                raise ApiError("unknown_field", f"{message} {name[:64]}", param=name[:64])
    if chat_dialect.name == "openai" and served_model.thinks and "max_tokens" in given:
        message = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'."
        raise ApiError("unsupported", message, param="max_tokens")
    if chat_dialect.name == "xai" and served_model.thinks:
        for name in ("presence_penalty", "frequency_penalty", "stop"):
            if name in given:
                raise ApiError("unsupported", f"Argument not supported on this model: {name}", param=name)
    for name, (low, high) in chat_dialect.ranges.items():
        value = given.get(name)
        if value is not None and not (_is_number(value) and low <= value <= high):
            raise ApiError("bad_value", f"{name} must be between {low:g} and {high:g}", param=name)
    _read_integer(fields, "top_k", -1, 1_000_000)


def _read_stream_options(fields: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether the answer is streamed, and whether its stream includes the usage."""
    stream, options = fields.get("stream"), fields.get("stream_options")
    if stream not in (None, True, False) or (isinstance(stream, (int, float)) and not isinstance(stream, bool)):
        raise ApiError("bad_value", "stream must be true or false", param="stream")
    if options is None:
        return bool(stream), False
    if not stream:
        raise ApiError("bad_value", "stream_options is only allowed when stream is true", param="stream_options")
    if not isinstance(options, dict) or options.get("include_usage") not in (None, True, False):
        raise ApiError("bad_value", "stream_options holds include_usage, true or false", param="stream_options")
    return True, options.get("include_usage") is True


def _read_max_tokens(fields: Mapping[str, Any]) -> int:
    given = [_read_integer(fields, name, 1, _MAX_TOKENS) for name in ("max_completion_tokens", "max_tokens")]
    return next((maximum for maximum in given if maximum is not None), _DEFAULT_MAX_TOKENS)


def _read_logprobs(fields: Mapping[str, Any], chat_dialect: ChatDialect) -> int | None:
    """How many alternatives are reported for each token; None for no log probabilities."""
    flag = fields.get("logprobs")
    if chat_dialect.logprobs_is_count or (chat_dialect.name == "local" and not isinstance(flag, bool)):
        return _read_integer(fields, "logprobs", 0, chat_dialect.max_logprobs)
    maximum = _read_integer(fields, "top_logprobs", 0, chat_dialect.max_logprobs)
    if flag not in (None, True, False) or (isinstance(flag, (int, float)) and not isinstance(flag, bool)):
        raise ApiError("bad_value", "logprobs must be true or false", param="logprobs")
    if maximum is not None and not flag:
        raise ApiError("bad_value", "top_logprobs is only allowed when logprobs is true", param="top_logprobs")
    return (maximum or 0) if flag else None


def _read_stop(given: Any, chat_dialect: ChatDialect) -> tuple[str, ...]:
    stops = [given] if isinstance(given, str) else [] if given is None else given
    if not isinstance(stops, list) or not all(isinstance(one, str) for one in stops):
        raise ApiError("bad_value", "stop must be a string or a list of strings", param="stop")
    if chat_dialect.max_stops is not None and len(stops) > chat_dialect.max_stops:
        raise ApiError("bad_value", f"stop holds at most {chat_dialect.max_stops} sequences", param="stop")
    return tuple(one for one in stops if one)


def _read_integer(fields: Mapping[str, Any], name: str, minimum: int, maximum: int) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
        raise ApiError("bad_value", f"{name} must be a whole number from {minimum} to {maximum}", param=name)
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
