"""Error bodies of every shape: the provider's message and code, shortened, on one line and without keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mediamill.tasks.providers.errors.lenient_json import read_json
from mediamill.tasks.untrusted_text import cut_text, is_readable, mask_keys, to_single_line

_MAX_MESSAGE_CHARACTERS = 200
_MAX_READ_CHARACTERS = 2000
_ANSWER_FIELDS = ("text", "choices", "results", "data", "segments", "embeddings", "transcript", "output", "audio")
"""Fields of which replies hold an answer in one."""
_SUCCESS_WORDS = frozenset({"", "0", "200", "ok", "success", "succeeded", "none", "null", "no error"})
_SUCCESS_CODE = 20000
_STATUS_FIELDS = ("code", "status", "status_code", "statusCode", "http_status", "http_code", "httpStatusCode")
_FAILURE_STATUS = re.compile(r"[45][0-9]{2}")
_TITLE = re.compile(rb"<title[^>]{0,200}>([^<]{0,1000})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """An error body: its message, and the provider's code, type, parameter and HTTP status if it has them."""

    message: str
    code: str | None = None
    type: str | None = None
    param: str | None = None
    status: int | None = None

    @property
    def codes(self) -> tuple[str, ...]:
        """Code and type, the code first: providers differ in which of the two names the cause."""
        return tuple(word for word in (self.code, self.type) if word)


class NotJSON(ValueError):
    """The body is not JSON."""


def decode_json(body: bytes) -> Any:
    """The body's JSON, read leniently.

    Raises:
        NotJSON: when it is not JSON, or is cut off.
    """
    try:
        return read_json(body)
    except ValueError:
        raise NotJSON from None


def find_error(content: Any, *, in_success: bool = False) -> ErrorBody | None:
    """The error in a decoded body; None when there is no error in it.

    Accepts (provider docs) ``{"error": {...}}``, ``{"error": "..."}``, ``{"code", "error"}``, ``{"message"}``,
    ``{"detail": "..."}`` and its list form, ``{"object": "error"}``, ``{"errors": [...]}``, and any of these as the
    only element of a list. An error without a message and with no code but one of success is none.

    Args:
        content: the decoded body.
        in_success: the status is a success: what stands beside an answer is a note, unless it is named an error.
    """
    if isinstance(content, list) and len(content) == 1:
        content = content[0]
    if not isinstance(content, dict):
        return None
    error = content.get("error")
    if error and isinstance(error, dict) and not _is_empty(error):
        return _to_error_body(error.get("message") or error, error, content)
    if error and isinstance(error, str) and error.strip().lower() not in _SUCCESS_WORDS:
        return _to_error_body(error if not content.get("message") else content["message"], content)
    if in_success and (isinstance(content.get("text"), str) or any(content.get(name) for name in _ANSWER_FIELDS)):
        return None
    if content.get("detail"):
        return _from_detail(content["detail"], content)
    errors = content.get("errors")
    if isinstance(errors, list) and errors:
        first = errors[0] if isinstance(errors[0], dict) else {}
        return _to_error_body(first.get("message") or first.get("detail") or errors[0], first or content, content)
    if content.get("object") == "error" or ("message" in content and "text" not in content):
        return _to_error_body(content.get("message"), content)
    return None


def _is_empty(error: Mapping[str, Any]) -> bool:
    """True for an error object that says nothing, or success."""
    return all(
        not value
        or (isinstance(value, str | int) and str(value).strip().lower() in _SUCCESS_WORDS)
        or (name in _STATUS_FIELDS and value == _SUCCESS_CODE)
        for name, value in error.items()
    )


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


def _to_error_body(message: Any, *fields: Mapping[str, Any]) -> ErrorBody:
    """The error whose code, type and parameter stand in the first of ``fields``; its status may stand in any."""
    text, content = redact_line("" if message is None else message), fields[0]
    statuses = (_read_status(part.get(name)) for part in fields for name in _STATUS_FIELDS)
    return ErrorBody(
        text,
        _to_short_text(content.get("code")),
        _to_short_text(content.get("type") or content.get("status")),
        _to_short_text(content.get("param")),
        next((status for status in statuses if status), None),
    )


def _read_status(value: Any) -> int | None:
    """An HTTP status of a failure, from a number or its digits; None for anything else."""
    text = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    return int(text) if _FAILURE_STATUS.fullmatch(text) else None


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
