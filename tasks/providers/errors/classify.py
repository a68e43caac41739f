"""What an error reply means, by provider, status and code; the message only refines what those leave open."""

from __future__ import annotations

import re
from dataclasses import replace
from http import HTTPStatus

from mediamill.tasks.providers.errors.error_body import (
    ErrorBody,
    NotJSON,
    decode_json,
    find_error,
    read_error_phrase,
    read_page_title,
    read_status_line,
    read_xml_error,
    redact_line,
)
from mediamill.tasks.providers.errors.format_refusals import refuses_format
from mediamill.tasks.providers.errors.moderation import is_content_refusal
from mediamill.tasks.providers.errors.stated_limits import read_stated_limit, states_length_limit
from mediamill.tasks.providers.provider_info import ProviderInfo
from mediamill.tasks.providers.rate_limit_headers import read_wait_seconds
from mediamill.tasks.retry_after import MAX_HINT
from mediamill.tasks.wire import Problem, Reply, Verdict

Classification = tuple[Verdict, str]

_INPUT_STATUSES = frozenset({400, 413, 422})
_FORMAT_STATUSES = frozenset({400, 415, 422, 501})
_UNREADABLE: Classification = ("fail", "unreadable_audio")
_UNREADABLE_AUDIO = re.compile(
    r"(fail\w*|unable|could not|cannot) (to )?(read|decode|load|open)\b.{0,40}audio", re.IGNORECASE
)
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_BY_CODE: dict[str, Classification] = {
    "insufficient_quota": ("stop", "credits"),
    "billing_hard_limit_reached": ("stop", "credits"),
    "billing_not_active": ("stop", "credits"),
    "blocked_api_access": ("stop", "credits"),
    "credit_limit": ("stop", "credits"),
    "invalid_api_key": ("stop", "auth"),
    "account_deactivated": ("stop", "auth"),
    "organization_restricted": ("stop", "forbidden"),
    "not_available_for_plan": ("stop", "forbidden"),
    "model_not_available": ("stop", "no_model"),
    "model_not_found": ("stop", "no_model"),
    "model_decommissioned": ("stop", "no_model"),
    "deployment_not_found": ("stop", "no_model"),
    "arrearage": ("stop", "credits"),
    "unknown_url": ("stop", "not_found"),
    "audio_too_long": ("fail", "too_long"),
    "context_length_exceeded": ("fail", "too_long"),
    "exceed_context_size_error": ("fail", "too_long"),
    "file_too_large": ("fail", "too_large"),
    "request_too_large": ("fail", "too_large"),
    "unsupported_format": ("fail", "unsupported_format"),
}
_BAD_REQUEST = 400
_RATE_LIMIT = 429
_RATE_LIMIT_STATUSES = frozenset({400, 403, 409, 422, 500, 502, 503})
"""Statuses under which servers say that a rate limit is exceeded."""
_TOKEN_LIMIT_ERROR = (413, "rate_limit_exceeded")
_BY_STATUS: dict[int, Classification] = {
    401: ("stop", "auth"),
    402: ("stop", "credits"),
    403: ("stop", "forbidden"),
    404: ("fail", "not_found"),
    405: ("stop", "not_found"),
    408: ("retry", "timeout"),
    409: ("retry", "conflict"),
    413: ("fail", "too_large"),
    415: ("fail", "unsupported_format"),
    421: ("retry", "server_error"),
    422: ("fail", "bad_request"),
    424: ("retry", "server_error"),
    425: ("retry", "too_early"),
    429: ("retry", "rate_limit"),
    498: ("retry", "overloaded"),
    499: ("retry", "timeout"),
    500: ("retry", "server_error"),
    501: ("fail", "not_supported"),
    502: ("retry", "server_error"),
    503: ("retry", "overloaded"),
    504: ("retry", "timeout"),
    524: ("retry", "timeout"),
    529: ("retry", "overloaded"),
}
_STATUS_BY_NAME = {
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "too_many_requests": 429,
    "resource_exhausted": 429,
    "throttling_exception": 429,
    "throttling": 429,
    "quota_exceeded": 429,
    "internal_error": 500,
    "not_found": 404,
    "access_denied": 403,
    "access_denied_exception": 403,
    "validation_exception": 400,
    "invalid_parameter": 400,
    "model_timeout_exception": 504,
    "service_unavailable": 503,
    "slow_down": 503,
    "server_busy": 503,
    "request_limit_exceeded": 429,
    "request_timeout": 408,
    "internal_failure": 500,
    "invalid_access_key_id": 401,
    "signature_does_not_match": 401,
    "authentication_failed": 401,
    "service_unavailable_exception": 503,
    "overloaded_error": 529,
    "authentication_error": 401,
    "invalid_authentication": 401,
    "unauthorized": 401,
    "unauthenticated": 401,
    "permission_error": 403,
    "permission_denied": 403,
    "forbidden": 403,
    "payment_required": 402,
    "billing_error": 402,
    "insufficient_balance": 402,
    "insufficient_credits": 402,
    "insufficient_funds": 402,
    "invalid_argument": 400,
    "not_found_error": 404,
    "request_too_large": 413,
    "timeout_error": 504,
    "deadline_exceeded": 504,
    "unavailable": 503,
}
"""Names of errors inside a 200, and the status that the provider sends elsewhere (provider docs)."""
_GATEWAY_STATUSES = frozenset({499, 502, 504, 520, 524})
"""A gateway lost the reply: the provider may have sent one and billed it."""

_HINTS = {
    "auth": "check the key in {key}",
    "credits": "add credits or raise the spending cap, then run again",
    "forbidden": "the key's account, plan or region has no access; choose another --model or --provider",
    "no_model": "choose another --model; `mediamill models` lists the known ones",
    "not_found": "check --base-url: there is no such endpoint",
    "redirect": "check --base-url: the endpoint has moved; http instead of https?",
    "too_large": "the provider accepts less than its configuration says",
    "unreadable_audio": "listen to the file; a server of your own may read WAV only (whisper-server: --convert)",
    "refused": "the provider refuses this content; change the prompt or the input, or choose another --model",
    "token_limit": "this one request needs more tokens than the account has per minute",
}


def classify_error(provider: ProviderInfo, reply: Reply) -> Problem | None:
    """None for a success; otherwise what the error means (provider docs).

    An error object inside a 200 is an error. A 200 without complete JSON may have been billed, and so may a reply that
    a gateway lost. An error that every other item would meet, too, stops the run: a key or an account that is refused,
    a model or an endpoint that does not exist.
    """
    try:
        content = decode_json(reply.body)
    except NotJSON:
        error = read_xml_error(reply.body)
        message = error.message if error else read_page_title(reply.body)
        if reply.status < HTTPStatus.MULTIPLE_CHOICES and (error := error or _read_bare_error(message)):
            problem = _classify_success_body(provider, reply, error)
            is_lost = problem.verdict == "retry" and error.status in _GATEWAY_STATUSES
            return replace(problem, billed=True) if is_lost else problem
    else:
        error = find_error(content, in_success=reply.status < HTTPStatus.MULTIPLE_CHOICES)
        if error is None and isinstance(content, str):
            error = _read_bare_error(redact_line(content))
        message = error.message if error else redact_line(reply.body[:400].decode("utf-8", "replace"))
        if reply.status < HTTPStatus.MULTIPLE_CHOICES:
            return _classify_success_body(provider, reply, error) if error else None
    if reply.status < HTTPStatus.MULTIPLE_CHOICES:
        message = (
            f"{provider.name} answered {reply.status} with {redact_line(message)[:80] or 'nothing'} instead of JSON"
        )
        return Problem("unknown", "bad_body", message, billed=True)
    verdict, kind = _classify_failure(provider, reply, error)
    is_open = verdict != "stop" or kind == "forbidden"
    if is_open and reply.status in _RATE_LIMIT_STATUSES and read_error_phrase(message) == _RATE_LIMIT:
        verdict, kind = "retry", "rate_limit"
    message = f"{provider.name} answered {reply.status}: {message or 'no message'}"
    return _build_problem(verdict, kind, message, provider, reply, error)


def _read_bare_error(text: str) -> ErrorBody | None:
    """The error of a body that is nothing but a status line or its phrase; None for any other text."""
    status = read_status_line(text) or read_error_phrase(text)
    return None if status is None else ErrorBody(text, status=status)


def _classify_success_body(provider: ProviderInfo, reply: Reply, error: ErrorBody) -> Problem:
    """An error object in a success is classified by its status or code; without one it is a temporary failure."""
    named = (_STATUS_BY_NAME.get(name) for code in error.codes for name in _list_names(code))
    status = error.status or next((status for status in named if status), None) or read_error_phrase(error.message)
    if status is None and _UNREADABLE_AUDIO.search(error.message):
        verdict, kind = _UNREADABLE
    elif status is None and _blames_request(reply.status, error):
        verdict, kind = _classify_failure(provider, Reply(_BAD_REQUEST, reply.headers, b""), error)
    else:
        verdict, kind = _classify_failure(provider, Reply(status or 500, reply.headers, b""), error)
    message = f"{provider.name} answered {reply.status} with an error: {error.message or 'no message'}"
    return _build_problem(verdict, kind, message, provider, reply, error)


def _blames_request(status: int, error: ErrorBody) -> bool:
    """True where an error without a status says of the request what a 400 would say."""
    message = error.message.lower()
    is_refused = is_content_refusal(status, error.codes, error.message)
    return is_refused or states_length_limit(message) or refuses_format(message, error.param)


def _build_problem(
    verdict: Verdict,
    kind: str,
    message: str,
    provider: ProviderInfo,
    reply: Reply,
    error: ErrorBody | None,
) -> Problem:
    hint = _HINTS.get(kind)
    seconds = read_stated_limit(message) if kind == "too_long" else None
    if seconds is not None:
        hint = f"add --piece-seconds {seconds:g}, or max_seconds to the model in the provider's YAML: it is then cut"
    dialects, wait = provider.rate_limit_headers, None
    if verdict == "retry":
        wait = read_wait_seconds(dialects, reply.headers, message, max_seconds=MAX_HINT)
    return Problem(
        verdict=verdict,
        kind=kind,
        message=message,
        billed=verdict == "retry" and reply.status in _GATEWAY_STATUSES,
        wait=wait,
        code=next(iter(error.codes), None) if error else None,
        hint=hint.format(key=provider.endpoint.key_env or "the environment") if hint else None,
        max_seconds=seconds,
    )


def _classify_failure(provider: ProviderInfo, reply: Reply, error: ErrorBody | None) -> Classification:
    for code in error.codes if error else ():
        if known := next((_BY_CODE[name] for name in _list_names(code) if name in _BY_CODE), None):
            return known
        if (reply.status, code) == _TOKEN_LIMIT_ERROR and "too_large_means_token_limit" in provider.error_quirks:
            return "fail", "token_limit"
    if error and is_content_refusal(reply.status, error.codes, error.message):
        return "fail", "refused"
    refined = _refine_status(provider, reply.status, error)
    if refined:
        return refined
    verdict, kind = _BY_STATUS.get(reply.status) or _classify_unlisted_status(reply.status)
    should_retry = reply.headers.get("x-should-retry")
    if verdict != "stop" and should_retry in ("true", "false"):
        verdict = "retry" if should_retry == "true" else "fail"
    return verdict, kind


def _list_names(code: str) -> tuple[str, ...]:
    """A code as it is, in small letters with underscores (``InvalidApiKey``), and the first part of that."""
    words = _WORD_START.sub("_", code).lower().replace(" ", "_").replace("-", "_")
    return code, words, words.partition(".")[0]


def _refine_status(provider: ProviderInfo, status: int, error: ErrorBody | None) -> Classification | None:
    """The more exact meaning of a status, from the error's parameter and message."""
    param = error.param if error else None
    message = error.message.lower() if error else ""
    if status in (400, 404, 422) and param == "model":
        return "stop", "no_model"
    if kind := _find_input_kind(status, message, param):
        return "fail", kind
    if status == HTTPStatus.BAD_REQUEST:
        if "incorrect api key" in message:  # xAI sends this instead of a 401
            return "stop", "auth"
        if "non-serverless model" in message:
            return "stop", "no_model"
    if status == HTTPStatus.NOT_FOUND:
        if "model" in message:
            return "stop", "no_model"
        if error is None or message in ("not found", ""):  # sent by a web server, not by the API
            return "stop", "not_found"
    if status == HTTPStatus.FORBIDDEN and error is not None and "forbidden_means_input" in provider.error_quirks:
        return "fail", "too_long" if "context" in message or "max_tokens" in message else "bad_request"
    return None


def _find_input_kind(status: int, message: str, param: str | None) -> str | None:
    """What an error says of the input: too long, or requested in a response format that the model does not have."""
    if status in _INPUT_STATUSES and states_length_limit(message):
        return "too_long"
    return "response_format" if status in _FORMAT_STATUSES and refuses_format(message, param) else None


def _classify_unlisted_status(status: int) -> Classification:
    if status < HTTPStatus.BAD_REQUEST:
        return "fail", "redirect"
    return ("retry", "server_error") if status >= HTTPStatus.INTERNAL_SERVER_ERROR else ("fail", "bad_request")
