"""What a request for a completion asks for, checked as its dialect's provider would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from mediamill.tasks.local.chat.chat_dialects import Vendor
from mediamill.tasks.local.chat.chat_models import ChatModel
from mediamill.tasks.local.chat.media_sources import Source
from mediamill.tasks.local.chat.messages import read_messages
from mediamill.tasks.local.chat.response_format import PLAIN, Format, Tool, read_format, read_tools
from mediamill.tasks.local.server.api_error import Refusal

_UNBOUNDED = 4096
"""Tokens of an answer whose length is not bounded."""
_MOST_TOKENS = 10_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """A valid request. ``words`` are the last user's; ``most`` is in tokens; ``tools`` are their JSON."""

    model: str
    facts: ChatModel
    text: str
    words: str
    messages: int = 1
    sources: tuple[Source, ...] = ()
    most: int = _UNBOUNDED
    n: int = 1
    stop: tuple[str, ...] = ()
    stream: bool = False
    usage: bool = False
    logprobs: int | None = None
    form: Format = PLAIN
    tool: Tool | None = None
    tools: str = ""
    seed: int | None = None


def read_asked(told: Any, vendor: Vendor, models: Mapping[str, ChatModel]) -> Asked:
    """Check a request.

    Args:
        told: its JSON.
        vendor: whose rules hold.
        models: those that are known; ``*`` is any other.

    Raises:
        Refusal: naming the first field at fault.
    """
    if not isinstance(told, dict):
        raise Refusal("bad_value", "the body must be a JSON object")
    model, facts = _model(told, vendor, models)
    _check_fields(told, vendor, facts)
    messages = read_messages(told.get("messages"), vendor)
    if messages.sources and not facts.sees:
        raise Refusal(
            "bad_value", f"The model `{model}` takes text only, no {messages.sources[0].kind}s", param="messages"
        )
    text = "\n".join(messages.texts)
    stream, usage = _streaming(told)
    return Asked(
        model=model,
        facts=facts,
        text=text,
        words=messages.last,
        messages=len(messages.texts),
        sources=tuple(messages.sources),
        most=_most(told),
        n=_whole(told, "n", 1, vendor.most_n) or 1,
        stop=_stop(told.get("stop"), vendor),
        stream=stream,
        usage=usage,
        logprobs=_logprobs(told, vendor),
        form=read_format(told.get("response_format"), text, vendor),
        tool=read_tools(told, vendor),
        tools=orjson.dumps(told["tools"]).decode() if told.get("tools") else "",
        seed=_whole(told, "seed", -(2**63), 2**63 - 1),
    )


def _model(told: Mapping[str, Any], vendor: Vendor, models: Mapping[str, ChatModel]) -> tuple[str, ChatModel]:
    model = told.get("model")
    if model is None or model == "":
        raise Refusal("missing_field", "you must provide a model parameter", param="model")
    if not isinstance(model, str):
        raise Refusal("bad_value", "model must be a string", param="model")
    facts = models.get(model)
    if (facts is None and vendor.strict) or model == "*":
        text = f"The model `{model[:200]}` does not exist or you do not have access to it."
        raise Refusal("unknown_model", text, param="model")
    return model, facts or models.get("*") or ChatModel()


def _check_fields(told: Mapping[str, Any], vendor: Vendor, facts: ChatModel) -> None:
    """Fields that the provider takes, and sampling within its ranges (provider docs)."""
    given = {name: value for name, value in told.items() if value is not None}
    if vendor.fields is not None:
        for name in given:
            if name not in vendor.fields:
                text = "Unrecognized request argument supplied:" if vendor.name == "openai" else "unsupported property:"
                raise Refusal("unknown_field", f"{text} {name[:64]}", param=name[:64])
    if vendor.name == "openai" and facts.thinks and "max_tokens" in given:
        text = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'."
        raise Refusal("unsupported", text, param="max_tokens")
    if vendor.name == "xai" and facts.thinks:
        for name in ("presence_penalty", "frequency_penalty", "stop"):
            if name in given:
                raise Refusal("unsupported", f"Argument not supported on this model: {name}", param=name)
    for name, (low, high) in vendor.ranges.items():
        value = given.get(name)
        if value is not None and not (_number(value) and low <= value <= high):
            raise Refusal("bad_value", f"{name} must be between {low:g} and {high:g}", param=name)
    _whole(told, "top_k", -1, 1_000_000)


def _streaming(told: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether the answer is streamed, and whether its usage is."""
    stream, options = told.get("stream"), told.get("stream_options")
    if stream not in (None, True, False) or (isinstance(stream, (int, float)) and not isinstance(stream, bool)):
        raise Refusal("bad_value", "stream must be true or false", param="stream")
    if options is None:
        return bool(stream), False
    if not stream:
        raise Refusal("bad_value", "stream_options is only allowed when stream is true", param="stream_options")
    if not isinstance(options, dict) or options.get("include_usage") not in (None, True, False):
        raise Refusal("bad_value", "stream_options holds include_usage, true or false", param="stream_options")
    return True, options.get("include_usage") is True


def _most(told: Mapping[str, Any]) -> int:
    given = [_whole(told, name, 1, _MOST_TOKENS) for name in ("max_completion_tokens", "max_tokens")]
    return next((most for most in given if most is not None), _UNBOUNDED)


def _logprobs(told: Mapping[str, Any], vendor: Vendor) -> int | None:
    """How many likelihoods are told beside a token's own; None for none at all."""
    flag = told.get("logprobs")
    if vendor.counts_logprobs or (vendor.name == "local" and not isinstance(flag, bool)):
        return _whole(told, "logprobs", 0, vendor.most_logprobs)
    most = _whole(told, "top_logprobs", 0, vendor.most_logprobs)
    if flag not in (None, True, False) or (isinstance(flag, (int, float)) and not isinstance(flag, bool)):
        raise Refusal("bad_value", "logprobs must be true or false", param="logprobs")
    if most is not None and not flag:
        raise Refusal("bad_value", "top_logprobs is only allowed when logprobs is true", param="top_logprobs")
    return (most or 0) if flag else None


def _stop(given: Any, vendor: Vendor) -> tuple[str, ...]:
    stops = [given] if isinstance(given, str) else [] if given is None else given
    if not isinstance(stops, list) or not all(isinstance(one, str) for one in stops):
        raise Refusal("bad_value", "stop must be a string or a list of strings", param="stop")
    if vendor.most_stops is not None and len(stops) > vendor.most_stops:
        raise Refusal("bad_value", f"stop holds at most {vendor.most_stops} sequences", param="stop")
    return tuple(one for one in stops if one)


def _whole(told: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    value = told.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise Refusal("bad_value", f"{name} must be a whole number from {least} to {most}", param=name)
    return value


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
