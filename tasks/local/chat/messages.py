"""A prompt's messages: who said what, which pictures were shown, which tools had answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mediamill.tasks.local.chat.chat_dialects import Vendor
from mediamill.tasks.local.chat.media_sources import Source
from mediamill.tasks.local.server.api_error import Refusal

_DETAILS = frozenset({"auto", "low", "high", "original"})
_MOST_TEXT = 8_000_000
_MOST_MESSAGES = 10_000


@dataclass(slots=True)
class Told:
    """What all messages hold: their texts in order, the last user's words, the pictures and videos."""

    texts: list[str] = field(default_factory=list)
    last: str = ""
    sources: list[Source] = field(default_factory=list)
    calls: set[str] = field(default_factory=set)


def read_messages(given: Any, vendor: Vendor) -> Told:
    """Check the messages.

    Raises:
        Refusal: naming the first at fault.
    """
    if given is None or given == []:
        raise Refusal("missing_field", "you must provide messages, at least one", param="messages")
    if not isinstance(given, list) or len(given) > _MOST_MESSAGES:
        raise Refusal("bad_value", f"messages must be a list of at most {_MOST_MESSAGES}", param="messages")
    told = Told()
    for number, message in enumerate(given):
        _read(message, f"messages.{number}", vendor, told)
    if sum(map(len, told.texts)) > _MOST_TEXT:
        raise Refusal("too_large", f"the messages have more than {_MOST_TEXT} characters", param="messages")
    images = sum(source.kind == "image" for source in told.sources)
    if images > vendor.most_pictures:
        message = f"Too many images: {images}, at most {vendor.most_pictures} are supported"
        raise Refusal("bad_value", message, param="messages")
    return told


def _read(message: Any, where: str, vendor: Vendor, told: Told) -> None:
    role = message.get("role") if isinstance(message, dict) else None
    if not isinstance(role, str) or role not in vendor.roles:
        known = ", ".join(sorted(vendor.roles))
        raise Refusal("bad_value", f"{where}: a message has a role, one of {known}", param=f"{where}.role")
    if role == "assistant":
        _calls(message.get("tool_calls"), where, told)
    call = message.get("tool_call_id")
    if role == "tool" and not (isinstance(call, str) and call in told.calls):
        text = f"{where}: a message of a tool answers a tool call before it, by tool_call_id"
        raise Refusal("bad_value", text, param=f"{where}.tool_call_id")
    if vendor.name == "groq" and message.get("name") is not None:
        raise Refusal("bad_value", f"property '{where}.name' is unsupported", param=f"{where}.name")
    said = _content(message, role, where, vendor, told)
    told.texts.append(said)
    if role == "user":
        told.last = said


def _calls(given: Any, where: str, told: Told) -> None:
    """Tool calls of an assistant's earlier answer."""
    if given is None:
        return
    for each in given if isinstance(given, list) else [None]:
        call = each if isinstance(each, dict) else {}
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        if not all(isinstance(one, str) for one in (call.get("id"), function.get("name"), function.get("arguments"))):
            text = f"{where}.tool_calls: each has an id and a function with a name and arguments, which are text"
            raise Refusal("bad_value", text, param=f"{where}.tool_calls")
        told.calls.add(call["id"])


def _content(message: Mapping[str, Any], role: str, where: str, vendor: Vendor, told: Told) -> str:
    content = message.get("content")
    if content is None and role == "assistant" and (message.get("tool_calls") or message.get("function_call")):
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        text = f"{where}.content must be a string or a list of parts"
        raise Refusal("bad_value", text, param=f"{where}.content")
    return "\n".join(_part(part, role, f"{where}.content.{n}", vendor, told) for n, part in enumerate(content))


def _part(part: Any, role: str, where: str, vendor: Vendor, told: Told) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    if kind == "refusal" and role == "assistant" and isinstance(part.get("refusal"), str):
        return str(part["refusal"])
    if kind == "image_url" or (kind == "video_url" and vendor.video):
        if vendor.user_pictures and role != "user":
            text = f"{where}: images are only allowed in messages of the user, not of the role {role}"
            raise Refusal("bad_value", text, param=where)
        told.sources.append(_source(part.get(kind), kind, where, vendor))
        return ""
    if kind in ("video_url", "audio_url", "input_audio", "file"):
        raise Refusal("bad_value", f"{where}: {kind} is not supported", param=where)
    raise Refusal("bad_value", f"{where}: parts of type {str(kind)[:40]!r} are not supported", param=where)


def _source(given: Any, kind: str, where: str, vendor: Vendor) -> Source:
    given = {"url": given} if isinstance(given, str) and vendor.bare_urls else given
    if not isinstance(given, dict) or not isinstance(given.get("url"), str) or not given["url"]:
        raise Refusal("bad_value", f"{where}: {kind} must be an object with a url", param=where)
    detail = given.get("detail")
    if detail is None:
        return Source(kind.removesuffix("_url"), given["url"])
    if not vendor.detail:
        raise Refusal("bad_value", f"{where}: detail is not a field of {kind}", param=where)
    if not isinstance(detail, str) or detail not in _DETAILS:
        raise Refusal("bad_value", f"{where}: detail must be one of {', '.join(sorted(_DETAILS))}", param=where)
    return Source(kind.removesuffix("_url"), given["url"], detail)
