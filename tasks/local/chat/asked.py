"""What a request for a completion asks for, checked as its dialect's provider would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.local.dialects import Dialect
from tasks.local.refusal import Refusal

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_DETAILS = frozenset({"auto", "low", "high", "original"})
_MOST_PICTURES = {"groq": 5, "openai": 1500}
_MOST_TEXT = 8_000_000
_UNBOUNDED = 4096
"""Tokens of an answer whose length is not bounded."""


@dataclass(frozen=True, slots=True)
class Source:
    """A picture or video as it was sent: a ``data:`` or http(s) URL."""

    kind: str
    url: str
    detail: str = "auto"


@dataclass(frozen=True, slots=True)
class Asked:
    """A valid request."""

    model: str
    text: str
    words: str
    sources: tuple[Source, ...] = ()
    most: int = _UNBOUNDED
    n: int = 1
    stop: tuple[str, ...] = ()
    stream: bool = False
    usage: bool = False
    logprobs: int | None = None
    schema: Mapping[str, Any] | None = None
    as_json: bool = False
    tool: Mapping[str, Any] | None = None
    roles: tuple[str, ...] = field(default=())


def read_asked(told: Any, dialect: Dialect, models: frozenset[str]) -> Asked:
    """Check a request.

    Raises:
        Refusal: naming the first field at fault.
    """
    if not isinstance(told, dict):
        raise Refusal("bad_value", "the body must be a JSON object")
    model = told.get("model")
    if not isinstance(model, str) or not model:
        raise Refusal("missing_field", "you must provide a model parameter", param="model")
    if dialect.strict and model not in models:
        raise Refusal(
            "unknown_model", f"The model `{model}` does not exist or you do not have access to it.", param="model"
        )
    messages = told.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refusal("missing_field", "messages must be a list with at least one message", param="messages")
    texts: list[str] = []
    last = ""
    sources: list[Source] = []
    for number, message in enumerate(messages):
        said = _message(message, f"messages.{number}", dialect, sources)
        texts.append(said)
        if message["role"] == "user":
            last = said
    if sum(map(len, texts)) > _MOST_TEXT:
        raise Refusal("too_large", "the messages are too long")
    if len([source for source in sources if source.kind == "image"]) > _MOST_PICTURES.get(dialect.name, 1000):
        raise Refusal(
            "bad_value", f"Too many images: at most {_MOST_PICTURES[dialect.name]} are supported", param="messages"
        )
    schema, as_json = _response_format(told.get("response_format"))
    return Asked(
        model=model,
        text="\n".join(texts),
        words=last,
        sources=tuple(sources),
        most=_whole(told, ("max_completion_tokens", "max_tokens"), 1, 1_000_000) or _UNBOUNDED,
        n=_count(told, dialect),
        stop=_stop(told.get("stop")),
        stream=told.get("stream") is True,
        usage=isinstance(told.get("stream_options"), dict) and told["stream_options"].get("include_usage") is True,
        logprobs=_logprobs(told, dialect),
        schema=schema,
        as_json=as_json,
        tool=_tool(told),
        roles=tuple(message["role"] for message in messages),
    )


def check_sampling(told: Mapping[str, Any]) -> None:
    """Sampling fields within their ranges (provider docs).

    Raises:
        Refusal: naming the field.
    """
    ranges = {
        "temperature": (0, 2),
        "top_p": (0, 1),
        "presence_penalty": (-2, 2),
        "frequency_penalty": (-2, 2),
        "min_p": (0, 1),
        "repetition_penalty": (0, 100),
    }
    for name, (low, high) in ranges.items():
        value = told.get(name)
        if value is not None and not (_number(value) and low <= value <= high):
            raise Refusal("bad_value", f"{name} must be between {low} and {high}", param=name)
    seed = told.get("seed")
    if seed is not None and not (isinstance(seed, int) and not isinstance(seed, bool)):
        raise Refusal("bad_value", "seed must be an integer", param="seed")


def _message(message: Any, where: str, dialect: Dialect, sources: list[Source]) -> str:
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        raise Refusal("bad_value", f"{where}: a message has a role, one of {sorted(_ROLES)}", param=where)
    content = message.get("content")
    if content is None and message.get("tool_calls"):
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        raise Refusal("bad_value", f"{where}.content must be a string or a list of parts", param=where)
    return "\n".join(_part(part, f"{where}.content.{n}", dialect, sources) for n, part in enumerate(content))


def _part(part: Any, where: str, dialect: Dialect, sources: list[Source]) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    if kind in ("image_url", "video_url"):
        if kind == "video_url" and dialect.name not in ("together", "compatible", "local"):
            raise Refusal("bad_value", f"{where}: video_url is not supported", param=where)
        given = part.get(kind)
        given = {"url": given} if isinstance(given, str) and dialect.name in ("local", "compatible") else given
        if not isinstance(given, dict) or not isinstance(given.get("url"), str):
            raise Refusal("bad_value", f"{where}: {kind} must be an object with a url", param=where)
        detail = given.get("detail", "auto")
        if detail not in _DETAILS:
            raise Refusal("bad_value", f"{where}: detail must be one of {sorted(_DETAILS)}", param=where)
        if "detail" in given and dialect.name == "together":
            raise Refusal("bad_value", f"{where}: detail is not a field of image_url", param=where)
        sources.append(Source(kind.removesuffix("_url"), given["url"], detail))
        return ""
    raise Refusal("bad_value", f"{where}: parts of type {str(kind)[:40]!r} are not supported", param=where)


def _response_format(given: Any) -> tuple[Mapping[str, Any] | None, bool]:
    if given is None:
        return None, False
    kind = given.get("type") if isinstance(given, dict) else None
    if kind == "text":
        return None, False
    if kind == "json_object":
        schema = given.get("schema")
        return (schema if isinstance(schema, dict) else None), True
    if kind == "json_schema":
        told = given.get("json_schema")
        schema = told.get("schema") if isinstance(told, dict) else None
        if not isinstance(schema, dict) or not isinstance(told, dict) or not told.get("name"):
            raise Refusal("bad_value", "json_schema needs a name and a schema", param="response_format")
        return schema, True
    raise Refusal("bad_value", "response_format must be text, json_object or json_schema", param="response_format")


def _tool(told: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The function that has to be called; None where none must be."""
    tools = told.get("tools")
    if tools is None:
        return None
    if not isinstance(tools, list) or not all(
        isinstance(t, dict) and isinstance(t.get("function"), dict) for t in tools
    ):
        raise Refusal("bad_value", "tools must be a list of functions", param="tools")
    by_name = {tool["function"].get("name"): tool["function"] for tool in tools}
    choice = told.get("tool_choice", "auto")
    if isinstance(choice, dict):
        wanted = choice.get("function", {}).get("name") if isinstance(choice.get("function"), dict) else None
        if wanted not in by_name:
            raise Refusal("bad_value", f"there is no tool {wanted!r}", param="tool_choice")
        found: Mapping[str, Any] = by_name[wanted]
        return found
    if choice not in ("auto", "none", "required"):
        raise Refusal("bad_value", "tool_choice must be auto, none, required or a function", param="tool_choice")
    return next(iter(by_name.values()), None) if choice == "required" else None


def _count(told: Mapping[str, Any], dialect: Dialect) -> int:
    n = _whole(told, ("n",), 1, 128) or 1
    if n > 1 and dialect.name == "groq":
        raise Refusal("bad_value", "n must be 1", param="n")
    return n


def _logprobs(told: Mapping[str, Any], dialect: Dialect) -> int | None:
    if dialect.name in ("together", "local"):
        return _whole(told, ("logprobs",), 0, 20)
    return _whole(told, ("top_logprobs",), 0, 20) or 0 if told.get("logprobs") is True else None


def _stop(given: Any) -> tuple[str, ...]:
    stops = [given] if isinstance(given, str) else given or []
    if not isinstance(stops, list) or not all(isinstance(one, str) for one in stops):
        raise Refusal("bad_value", "stop must be a string or a list of strings", param="stop")
    return tuple(one for one in stops if one)


def _whole(told: Mapping[str, Any], names: tuple[str, ...], least: int, most: int) -> int | None:
    for name in names:
        value = told.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise Refusal("bad_value", f"{name} must be a whole number from {least} to {most}", param=name)
        return value
    return None


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
