"""Error bodies of every shape: the provider's message and code, shortened, on one line and without keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from mediamill.tasks.untrusted_text import cut_text, is_readable, mask_keys, to_single_line

_MAX_MESSAGE_CHARACTERS = 200
_MAX_READ_CHARACTERS = 2000
_TITLE = re.compile(rb"<title[^>]{0,200}>([^<]{0,1000})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """An error body: its message, and the provider's code, type and parameter if it has them."""

    message: str
    code: str | None = None
    type: str | None = None
    param: str | None = None

    @property
    def codes(self) -> tuple[str, ...]:
        """Code and type, the code first: providers differ in which of the two names the cause."""
        return tuple(word for word in (self.code, self.type) if word)


class NotJSON(ValueError):
    """The body is not JSON."""


def decode_json(body: bytes) -> Any:
    """The body's JSON.

    Raises:
        NotJSON: when it is not JSON, or is cut off.
    """
    try:
        return orjson.loads(body)
    except ValueError:
        raise NotJSON from None


def find_error(content: Any) -> ErrorBody | None:
    """The error in a decoded body; None when there is no error in it.

    Accepts (provider docs) ``{"error": {...}}``, ``{"error": "..."}``, ``{"code", "error"}``, ``{"message"}``,
    ``{"detail": "..."}`` and its list form, ``{"object": "error"}``, ``{"errors": [...]}``.
    """
    if not isinstance(content, dict):
        return None
    error = content.get("error")
    if error and isinstance(error, dict):
        return _to_error_body(error.get("message") or error, error)
    if error and isinstance(error, str):
        return _to_error_body(error, content)
    if content.get("detail"):
        return _from_detail(content["detail"], content)
    if isinstance(content.get("errors"), list) and content["errors"]:
        return _to_error_body(content["errors"][0], content)
    if content.get("object") == "error" or ("message" in content and "text" not in content):
        return _to_error_body(content.get("message"), content)
    return None


def read_page_title(body: bytes) -> str:
    """The title of an HTML page, or the beginning of any other body that is not JSON."""
    title = _TITLE.search(body[:4096])
    text = (title.group(1) if title else body[:_MAX_READ_CHARACTERS]).decode("utf-8", "replace")
    return redact_line(text) if is_readable(text) else f"{len(body):,} bytes that are not text"


def redact_line(text: Any) -> str:
    """One line of at most 200 characters; anything that looks like a key is masked."""
    try:
        line = to_single_line(str(text)[:_MAX_READ_CHARACTERS])
    except RecursionError:
        return "a message nested too deep to read"
    return cut_text(mask_keys(line), _MAX_MESSAGE_CHARACTERS)


def _to_error_body(message: Any, content: Mapping[str, Any]) -> ErrorBody:
    text = redact_line("" if message is None else message)
    return ErrorBody(
        text,
        _to_short_text(content.get("code")),
        _to_short_text(content.get("type")),
        _to_short_text(content.get("param")),
    )


def _to_short_text(value: Any) -> str | None:
    return None if value is None or value == "" or isinstance(value, (dict, list)) else redact_line(value)[:64]


def _from_detail(detail: Any, content: Mapping[str, Any]) -> ErrorBody:
    """The location and the message of the first of FastAPI's validation errors."""
    first = detail[0] if isinstance(detail, list) else detail
    if not isinstance(first, dict):
        return _to_error_body(first, content)
    loc = first.get("loc")
    location = ".".join(str(part) for part in loc[:8] if part != "body") if isinstance(loc, list) else ""
    message = first.get("msg") or first.get("message") or first
    return _to_error_body(f"{location}: {message}" if location else message, {**content, "param": location or None})
