"""The messages of a chat request: their texts, images, videos and tool calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mediamill.tasks.local.chat.chat_dialects import ChatDialect
from mediamill.tasks.local.chat.media_sources import MediaSource
from mediamill.tasks.local.server.api_error import ApiError

_DETAILS = frozenset({"auto", "low", "high", "original"})
_MAX_TEXT_CHARS = 8_000_000
_MAX_MESSAGES = 10_000


@dataclass(slots=True)
class MessageContents:
    """The contents of all messages: texts in order, images and videos, ids of tool calls."""

    texts: list[str] = field(default_factory=list)
    sources: list[MediaSource] = field(default_factory=list)
    tool_call_ids: set[str] = field(default_factory=set)


def read_messages(given: Any, chat_dialect: ChatDialect) -> MessageContents:
    """Check the messages.

    Raises:
        ApiError: for the first invalid message, which it names.
    """
    if given is None or given == []:
        raise ApiError("missing_field", "you must provide messages, at least one", param="messages")
    if not isinstance(given, list) or len(given) > _MAX_MESSAGES:
        raise ApiError("bad_value", f"messages must be a list of at most {_MAX_MESSAGES}", param="messages")
    contents = MessageContents()
    for number, message in enumerate(given):
        _read_message(message, f"messages.{number}", chat_dialect, contents)
    if sum(map(len, contents.texts)) > _MAX_TEXT_CHARS:
        raise ApiError("too_large", f"the messages have more than {_MAX_TEXT_CHARS} characters", param="messages")
    images = sum(source.kind == "image" for source in contents.sources)
    if images > chat_dialect.max_images:
        message = f"Too many images: {images}, at most {chat_dialect.max_images} are supported"
        raise ApiError("bad_value", message, param="messages")
    return contents


def _read_message(message: Any, where: str, chat_dialect: ChatDialect, contents: MessageContents) -> None:
    role = message.get("role") if isinstance(message, dict) else None
    if not isinstance(role, str) or role not in chat_dialect.roles:
        known = ", ".join(sorted(chat_dialect.roles))
        raise ApiError("bad_value", f"{where}: a message has a role, one of {known}", param=f"{where}.role")
    if role == "assistant":
        _read_tool_calls(message.get("tool_calls"), where, contents)
    call = message.get("tool_call_id")
    if role == "tool" and not (isinstance(call, str) and call in contents.tool_call_ids):
        error = f"{where}: a message of a tool answers a tool call before it, by tool_call_id"
        raise ApiError("bad_value", error, param=f"{where}.tool_call_id")
    if chat_dialect.name == "groq" and message.get("name") is not None:
        raise ApiError("bad_value", f"property '{where}.name' is unsupported", param=f"{where}.name")
    message_text = _read_content(message, role, where, chat_dialect, contents)
    contents.texts.append(message_text)


def _read_tool_calls(given: Any, where: str, contents: MessageContents) -> None:
    """Read the tool calls of an earlier answer of the assistant."""
    if given is None:
        return
    for each in given if isinstance(given, list) else [None]:
        call = each if isinstance(each, dict) else {}
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        if not all(isinstance(one, str) for one in (call.get("id"), function.get("name"), function.get("arguments"))):
            error = f"{where}.tool_calls: each has an id and a function with a name and arguments, which are text"
            raise ApiError("bad_value", error, param=f"{where}.tool_calls")
        contents.tool_call_ids.add(call["id"])


def _read_content(
    message: Mapping[str, Any], role: str, where: str, chat_dialect: ChatDialect, contents: MessageContents
) -> str:
    content = message.get("content")
    if content is None and role == "assistant" and (message.get("tool_calls") or message.get("function_call")):
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        error = f"{where}.content must be a string or a list of parts"
        raise ApiError("bad_value", error, param=f"{where}.content")
    return "\n".join(
        _read_content_part(part, role, f"{where}.content.{n}", chat_dialect, contents) for n, part in enumerate(content)
    )


def _read_content_part(part: Any, role: str, where: str, chat_dialect: ChatDialect, contents: MessageContents) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    if kind == "refusal" and role == "assistant" and isinstance(part.get("refusal"), str):
        return str(part["refusal"])
    if kind == "image_url" or (kind == "video_url" and chat_dialect.takes_video):
        if chat_dialect.user_images_only and role != "user":
            error = f"{where}: images are only allowed in messages of the user, not of the role {role}"
            raise ApiError("bad_value", error, param=where)
        contents.sources.append(_read_media_source(part.get(kind), kind, where, chat_dialect))
        return ""
    if kind in ("video_url", "audio_url", "input_audio", "file"):
        raise ApiError("bad_value", f"{where}: {kind} is not supported", param=where)
    raise ApiError("bad_value", f"{where}: parts of type {str(kind)[:40]!r} are not supported", param=where)


def _read_media_source(given: Any, kind: str, where: str, chat_dialect: ChatDialect) -> MediaSource:
    given = {"url": given} if isinstance(given, str) and chat_dialect.takes_bare_urls else given
    if not isinstance(given, dict) or not isinstance(given.get("url"), str) or not given["url"]:
        raise ApiError("bad_value", f"{where}: {kind} must be an object with a url", param=where)
    detail = given.get("detail")
    if detail is None:
        return MediaSource(kind.removesuffix("_url"), given["url"])
    if not chat_dialect.takes_detail:
        raise ApiError("bad_value", f"{where}: detail is not a field of {kind}", param=where)
    if not isinstance(detail, str) or detail not in _DETAILS:
        raise ApiError("bad_value", f"{where}: detail must be one of {', '.join(sorted(_DETAILS))}", param=where)
    return MediaSource(kind.removesuffix("_url"), given["url"], detail)
