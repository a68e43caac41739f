"""Error bodies of every shape: the provider's message and code, shortened, on one line and without keys."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from mediamill.tasks.providers.errors.lenient_json import read_json
from mediamill.tasks.untrusted_text import cut_text, is_readable, mask_keys, to_single_line

_MAX_MESSAGE_CHARACTERS = 200
_MAX_READ_CHARACTERS = 2000
_ANSWER_FIELDS = (
    *("text", "choices", "results", "data", "segments", "embeddings", "embedding", "transcript", "transcription"),
    *("output", "audio", "result", "response", "scores", "rankings"),
)
"""Fields of which replies hold an answer in one."""
_MESSAGE_FIELDS = ("message", "msg", "error_message", "error_msg", "errmsg", "err_msg", "status_msg", "reason")
_CODE_FIELDS = ("code", "error_code", "errcode", "err_code", "status_code", "statusCode")
_FAILURE_STATES = frozenset({"error", "failed", "failure", "fail"})
_SUCCESS_WORDS = frozenset({"", "0", "200", "ok", "success", "succeeded", "none", "null", "no error"})
_SUCCESS_CODE = 20000
_STATUS_FIELDS = (
    *("code", "status", "status_code", "statusCode", "http_status", "http_code", "httpStatusCode"),
    *("error_code", "errcode", "err_code"),
)
_MINIMAX_STATUSES = {1001: 504, 1002: 429, 1004: 401, 1008: 402, 1039: 429, 2013: 400, 2049: 401}
"""What MiniMax's ``base_resp.status_code`` is as a status of HTTP (its documentation)."""
_FAILURE_STATUS = re.compile(r"(?:HTTP[ _]?(?:status )?)?([45][0-9]{2})", re.IGNORECASE)
_LEADING_STATUS = re.compile(
    r"\W*(?:HTTP |(?:error|status) code:? |HTTP error )?([45][0-9]{2})\b(?! \w+ (?:of|is)\b)", re.IGNORECASE
)
_OLD_PHRASES = (
    *("request entity too large", "request timeout", "request time-out", "gateway time-out", "service unavailable"),
    *("service temporarily unavailable", "rate limit exceeded", "rate limited", "web server is down", "server error"),
    *("origin is unreachable", "a timeout occurred", "connection timed out", "site is overloaded", "quota exceeded"),
)
_STATUS_PHRASES = "|".join(
    re.escape(phrase)
    for phrase in {*(s.phrase.lower() for s in HTTPStatus if s >= HTTPStatus.BAD_REQUEST), *_OLD_PHRASES}
)
_STATUS_LINE = re.compile(
    rf"\W*(?:HTTP(?:/[\d.]+)? |(?:error|status)(?: code)?:? )?([45]\d\d)\W+(?:{_STATUS_PHRASES})\W*", re.IGNORECASE
)
_PHRASE_STATUSES = {
    "too many requests": 429,
    "quota exceeded": 429,
    "bad gateway": 502,
    "service unavailable": 503,
    "service temporarily unavailable": 503,
    "server overloaded": 503,
    "no healthy upstream": 503,
    "gateway timeout": 504,
    "gateway time-out": 504,
    "upstream request timeout": 504,
    "internal server error": 500,
    "request entity too large": 413,
    "payload too large": 413,
    "payment required": 402,
    "insufficient credits": 402,
    "unauthorized": 401,
    "invalid api key": 401,
    "forbidden": 403,
    "access denied": 403,
}
"""Whole messages of servers, and the status that each is the phrase of."""
_RATE_LIMITED = re.compile(
    r"\W*(?:error\W+|api |request )?"
    r"(?:rate[ _-]?limit(?:s|ed)?[ _-]?(?:has been |was |is )?(?:exceeded|reached|hit|error)"
    r"|rate[ _-]?limited|too many requests|(?:you (?:are|have been|were) (?:being )?)(?:rate[ -]?limited|throttled)"
    r"|requests? (?:was |were |is |are )?throttled|throttled)\b",
    re.IGNORECASE,
)
_MAX_PHRASE_CHARACTERS = 200
_XML_ERROR = re.compile(r"<(?:\w+:)?(?:error\w*|fault|\w*exception|code)\b[^<>]*>", re.IGNORECASE)
_XML_FIELD = re.compile(r"<(?:\w+:)?(\w+)\b[^<>]*>\s*(?:<!\[CDATA\[)?([^<>]+?)(?:\]\]>)?\s*</", re.IGNORECASE)
_HTML = re.compile(r"<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
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
    ``{"code", "msg"}``, ``{"errcode", "errmsg"}``, ``{"success": false}``, ``{"detail": "..."}`` and its list form,
    ``{"object": "error"}``, ``{"errors": [...]}``, and any of these as the only element of a list. An error without a
    message and with no code but one of success is none.

    Args:
        content: the decoded body.
        in_success: the status is a success: what stands beside an answer is a note, unless it is named an error.
    """
    if isinstance(content, list) and len(content) == 1:
        content = content[0]
    if not isinstance(content, dict):
        return None
    named = _find_named_error(content)
    if named is not None or (in_success and _holds_answer(content)):
        return named
    if content.get("detail"):
        return _from_detail(content["detail"], content)
    errors = content.get("errors")
    if isinstance(errors, list) and errors:
        first = errors[0] if isinstance(errors[0], dict) else {}
        return _to_error_body(_get_message(first) or first.get("detail") or errors[0], first or content, content)
    if content.get("object") == "error" or _states_failure(content):
        return _to_error_body(_get_message(content), content)
    if "message" in content and "text" not in content and not (in_success and isinstance(content["message"], dict)):
        return _to_error_body(content.get("message"), content)
    return None


def _find_named_error(content: Mapping[str, Any]) -> ErrorBody | None:
    """What a body itself calls an error, at its top or in a wrapper that holds nothing else."""
    error = content.get("error", content.get("Error"))
    if isinstance(error, list) and error:
        error = error[0]
    if isinstance(error, dict) and isinstance(error.get("error"), dict):
        error = error["error"]
    if error and isinstance(error, dict) and not _is_empty(error):
        if "Code" in error or "Message" in error:  # AWS's and Azure's older form
            error = {name.lower(): value for name, value in error.items()}
        return _to_error_body(_get_message(error) or error, error, content)
    if error and isinstance(error, str) and error.strip().lower() not in _SUCCESS_WORDS:
        return _to_error_body(_get_message(content) or error, content)
    if content.get("RecognitionStatus") == "Error":  # Azure's
        return _to_error_body("RecognitionStatus: Error", {})
    stated = content.get("base_resp")  # MiniMax's
    if isinstance(stated, dict) and stated.get("status_code") not in (None, 0):
        status = _MINIMAX_STATUSES.get(stated["status_code"])
        return _to_error_body(_get_message(stated), {"code": status} if status else stated)
    fault = content.get("fault")  # Apigee's
    if isinstance(fault, dict) and isinstance(fault.get("faultstring"), str):
        detail = fault.get("detail")
        code = str(detail.get("errorcode") or "") if isinstance(detail, dict) else ""
        return _to_error_body(fault["faultstring"], {"code": code.rpartition(".")[2]}, content)
    feedback = content.get("promptFeedback")  # Google's
    if isinstance(feedback, dict) and feedback.get("blockReason"):
        reason = str(feedback["blockReason"])
        return _to_error_body(f"the prompt was blocked: {reason}", {"code": "content_filter", "type": reason})
    inner = content.get("data")
    return _find_named_error(inner) if isinstance(inner, dict) and list(inner) == ["error"] else None


def _get_message(content: Mapping[str, Any]) -> Any:
    return next((content[name] for name in _MESSAGE_FIELDS if content.get(name)), None)


def _holds_answer(content: Mapping[str, Any]) -> bool:
    """True where a field holds an answer, and nothing beside it says that there is none."""
    if isinstance(content.get("text"), str) or content.get("choices"):
        return True
    return not _says_no_success(content) and any(content.get(name) for name in _ANSWER_FIELDS)


def _says_no_success(content: Mapping[str, Any]) -> bool:
    status = content.get("status")
    is_failed = isinstance(status, str) and status.strip().lower() in _FAILURE_STATES and "id" not in content
    return (
        (is_failed and _get_message(content) is not None)
        or content.get("success") is False
        or content.get("ok") is False
    )


def _states_failure(content: Mapping[str, Any]) -> bool:
    """True where a message stands beside a code that is none of success, or beside the word that it failed."""
    codes = [content[name] for name in _CODE_FIELDS if content.get(name) is not None]
    has_code = any(str(code).strip().lower() not in _SUCCESS_WORDS and code != _SUCCESS_CODE for code in codes)
    return _says_no_success(content) or (has_code and _get_message(content) is not None)


def _is_empty(error: Mapping[str, Any]) -> bool:
    """True for an error object that says nothing, or success."""
    return all(
        not value
        or (isinstance(value, str | int) and str(value).strip().lower() in _SUCCESS_WORDS)
        or (name in _STATUS_FIELDS and value == _SUCCESS_CODE)
        for name, value in error.items()
    )


def read_status_line(text: str) -> int | None:
    """The status of a text that is nothing but a failure's status line, as gateways' pages are entitled.

    A success may hold one: "429 Too Many Requests". It acts like that status.
    """
    found = _STATUS_LINE.fullmatch(text)
    return int(found[1]) if found else None


def read_error_phrase(text: str) -> int | None:
    """The status of a whole message that says how a request went, without a number; None for any other text."""
    if len(text) > _MAX_PHRASE_CHARACTERS:
        return None
    if _RATE_LIMITED.match(text):
        return HTTPStatus.TOO_MANY_REQUESTS.value
    return _PHRASE_STATUSES.get(text.strip(" \t\r\n.!\"'").removeprefix("Error: ").lower())


def read_xml_error(body: bytes) -> ErrorBody | None:
    """The error in a body of XML, as object stores and older gateways send it; None for a page and anything else."""
    text = body[:_MAX_READ_CHARACTERS].decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if not text.startswith("<") or _HTML.search(text) or not _XML_ERROR.search(text):
        return None
    fields = {name.lower(): html.unescape(value.strip()) for name, value in reversed(_XML_FIELD.findall(text))}
    message = next(
        (fields[name] for name in (*_MESSAGE_FIELDS, "faultstring", "error", "detail") if name in fields), None
    )
    codes = {name: fields.get(name.lower()) for name in (*_CODE_FIELDS, "type", "status")}
    codes["code"] = codes["code"] or fields.get("faultcode")
    if message is None and not codes["code"]:
        return None
    return _to_error_body(message or codes["code"], codes)


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
    leading = _LEADING_STATUS.match(text)  # "429 Too Many Requests"
    statuses = (_read_status(part.get(name)) for part in fields for name in _STATUS_FIELDS)
    return ErrorBody(
        text,
        next((code for name in _CODE_FIELDS if (code := _to_short_text(content.get(name)))), None),
        _to_short_text(content.get("type") or content.get("status") or content.get("__type")),
        _to_short_text(content.get("param")),
        next((status for status in statuses if status), None) or (int(leading[1]) if leading else None),
    )


def _read_status(value: Any) -> int | None:
    """An HTTP status of a failure, from a number or its digits; None for anything else."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    match = _FAILURE_STATUS.fullmatch(text)
    return int(match[1]) if match else None


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
