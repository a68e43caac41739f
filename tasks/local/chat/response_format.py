"""The required form of an answer: a response format, and a tool that must be called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mediamill.tasks.local.chat.chat_dialects import ChatDialect
from mediamill.tasks.local.chat.json_schemas import check_schema
from mediamill.tasks.local.server.api_error import ApiError

_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_MAX_TOOLS = 128
_MAX_PATTERN_CHARS = 2000


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """The form of an answer; all fields are unset for plain text."""

    schema: Mapping[str, Any] | None = None
    as_json: bool = False
    pattern: str | None = None


PLAIN = ResponseFormat()


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that must be called, and the schema of its arguments."""

    name: str
    parameters: Mapping[str, Any]


def read_answer_form(
    fields: Mapping[str, Any], text: str, chat_dialect: ChatDialect
) -> tuple[ResponseFormat, Tool | None]:
    """Check ``response_format``, ``tools`` and ``tool_choice``.

    Args:
        fields: the request's; the others are not looked at.
        text: the prompt's text, in which some providers require the word JSON.
        chat_dialect: the rules of the provider.

    Raises:
        ApiError: when one of them is invalid.
    """
    response_format = read_response_format(fields.get("response_format"), text, chat_dialect)
    return response_format, read_required_tool(fields, chat_dialect)


def read_response_format(given: Any, text: str, chat_dialect: ChatDialect) -> ResponseFormat:
    """Check ``response_format``.

    Args:
        given: the value that was sent.
        text: the prompt's text, in which some providers require the word JSON.
        chat_dialect: the rules of the provider.

    Raises:
        ApiError: when it is invalid.
    """
    kind = given.get("type") if isinstance(given, dict) else None
    if given is None or kind == "text":
        return PLAIN
    if kind == "json_object":
        if chat_dialect.requires_json_word and "json" not in text.lower():
            message = (
                "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'"
            )
            raise ApiError("bad_value", message, param="messages")
        schema = given.get("schema")
        return ResponseFormat(None if schema is None else check_schema(schema, "response_format"), as_json=True)
    if kind == "json_schema":
        return ResponseFormat(_read_json_schema(given, chat_dialect), as_json=True)
    if kind == "regex" and chat_dialect.takes_regex:
        return ResponseFormat(pattern=_read_pattern(given.get("pattern")))
    raise ApiError("bad_value", "response_format must be text, json_object or json_schema", param="response_format")


def _read_json_schema(given: Mapping[str, Any], chat_dialect: ChatDialect) -> Mapping[str, Any]:
    fields = given.get("json_schema")
    if not isinstance(fields, dict) or fields.get("schema") is None:
        raise ApiError("missing_field", "json_schema needs a name and a schema", param="response_format.json_schema")
    name = fields.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        message = "json_schema needs a name of at most 64 letters, digits, dots, dashes and underscores"
        raise ApiError("bad_value", message, param="response_format.json_schema.name")
    strict = fields.get("strict") is True and chat_dialect.strict_schemas
    return check_schema(fields["schema"], f"response_format '{name}'", strict=strict)


def _read_pattern(given: Any) -> str:
    if not isinstance(given, str) or not given or len(given) > _MAX_PATTERN_CHARS:
        raise ApiError("bad_value", "a regex needs a pattern", param="response_format")
    try:
        re.compile(given)
    except (re.error, RecursionError, OverflowError) as error:
        raise ApiError("bad_value", f"not a regular expression: {error}", param="response_format") from None
    return given


def read_required_tool(fields: Mapping[str, Any], chat_dialect: ChatDialect) -> Tool | None:
    """Check ``tools`` and ``tool_choice``; return the function that must be called, if any.

    Raises:
        ApiError: when they are invalid.
    """
    tools, choice = fields.get("tools"), fields.get("tool_choice")
    if tools is None:
        if choice is not None and choice not in ("none", "auto"):
            raise ApiError("bad_value", "tool_choice is only allowed when tools are specified", param="tool_choice")
        return None
    if not isinstance(tools, list) or not 0 < len(tools) <= _MAX_TOOLS:
        raise ApiError("bad_value", f"tools must be a list of 1 to {_MAX_TOOLS} functions", param="tools")
    known = {tool.name: tool for tool in (_read_tool(one, f"tools.{n}", chat_dialect) for n, one in enumerate(tools))}
    if isinstance(choice, dict):
        function = choice.get("function")
        wanted = function.get("name") if isinstance(function, dict) else None
        if not isinstance(wanted, str) or wanted not in known:
            raise ApiError("bad_value", f"Tool choice {str(wanted)[:64]!r} not found in tools", param="tool_choice")
        return known[wanted]
    if choice not in (None, "auto", "none", "required"):
        raise ApiError("bad_value", "tool_choice must be auto, none, required or a function", param="tool_choice")
    return next(iter(known.values())) if choice == "required" else None


def _read_tool(given: Any, where: str, chat_dialect: ChatDialect) -> Tool:
    function = given.get("function") if isinstance(given, dict) else None
    if not isinstance(function, dict) or given.get("type", "function") != "function":
        raise ApiError("bad_value", f"{where} must be of type function, with a function in it", param=where)
    name = function.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        message = f"{where}.function.name must be 1 to 64 letters, digits, dots, dashes and underscores"
        raise ApiError("bad_value", message, param=f"{where}.function.name")
    parameters = function.get("parameters")
    if parameters is None:
        return Tool(name, {"type": "object", "properties": {}})
    strict = function.get("strict") is True and chat_dialect.strict_schemas
    return Tool(name, check_schema(parameters, f"function '{name}'", strict=strict))
