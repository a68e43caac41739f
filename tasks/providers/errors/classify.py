"""What an error reply means, by provider, status and code; the message only refines what those leave open."""

from __future__ import annotations

from http import HTTPStatus

from mediamill.tasks.providers.errors.error_body import (
    ErrorBody,
    NotJSON,
    decode_json,
    find_error,
    read_page_title,
    redact_line,
)
from mediamill.tasks.providers.provider_info import ProviderInfo
from mediamill.tasks.providers.rate_limit_headers import read_wait_seconds
from mediamill.tasks.wire import Problem, Reply, Verdict

Classification = tuple[Verdict, str]

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
    "unknown_url": ("stop", "not_found"),
    "audio_too_long": ("fail", "too_long"),
    "context_length_exceeded": ("fail", "too_long"),
    "exceed_context_size_error": ("fail", "too_long"),
    "file_too_large": ("fail", "too_large"),
    "request_too_large": ("fail", "too_large"),
    "unsupported_format": ("fail", "unsupported_format"),
}
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
    422: ("fail", "bad_request"),
    425: ("retry", "too_early"),
    429: ("retry", "rate_limit"),
    498: ("retry", "overloaded"),
    500: ("retry", "server_error"),
    501: ("fail", "not_supported"),
    502: ("retry", "server_error"),
    503: ("retry", "overloaded"),
    504: ("retry", "timeout"),
    524: ("retry", "timeout"),
    529: ("retry", "overloaded"),
}
_GATEWAY_STATUSES = frozenset({502, 504, 520, 524})
"""A gateway lost the reply: the provider may have sent one and billed it."""

_HINTS = {
    "auth": "check the key in {key}",
    "credits": "add credits or raise the spending cap, then run again",
    "forbidden": "the key's account, plan or region has no access; choose another --model or --provider",
    "no_model": "choose another --model; `mediamill models` lists the known ones",
    "not_found": "check --base-url: there is no such endpoint",
    "redirect": "check --base-url: the endpoint has moved; http instead of https?",
    "too_large": "the provider accepts less than its configuration says",
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
        error = None
        message = read_page_title(reply.body)
    else:
        error = find_error(content)
        message = error.message if error else redact_line(reply.body[:400].decode("utf-8", "replace"))
        if reply.status < HTTPStatus.MULTIPLE_CHOICES:
            return _classify_success_body(provider, reply, error)
    if reply.status < HTTPStatus.MULTIPLE_CHOICES:
        message = (
            f"{provider.name} answered {reply.status} with {redact_line(message)[:80] or 'nothing'} instead of JSON"
        )
        return Problem("unknown", "bad_body", message, billed=True)
    verdict, kind = _classify_failure(provider, reply, error)
    message = f"{provider.name} answered {reply.status}: {message or 'no message'}"
    return _build_problem(verdict, kind, message, provider, reply, error)


def _classify_success_body(provider: ProviderInfo, reply: Reply, error: ErrorBody | None) -> Problem | None:
    """An error object in a success is classified by its code, and without a code as a temporary failure."""
    if error is None:
        return None
    verdict, kind = _classify_failure(provider, Reply(500, reply.headers, b""), error)
    message = f"{provider.name} answered {reply.status} with an error: {error.message or 'no message'}"
    return _build_problem(verdict, kind, message, provider, reply, error)


def _build_problem(
    verdict: Verdict,
    kind: str,
    message: str,
    provider: ProviderInfo,
    reply: Reply,
    error: ErrorBody | None,
) -> Problem:
    hint = _HINTS.get(kind)
    return Problem(
        verdict=verdict,
        kind=kind,
        message=message,
        billed=verdict == "retry" and reply.status in _GATEWAY_STATUSES,
        wait=read_wait_seconds(provider.rate_limit_headers, reply.headers, message) if verdict == "retry" else None,
        code=next(iter(error.codes), None) if error else None,
        hint=hint.format(key=provider.endpoint.key_env or "the environment") if hint else None,
    )


def _classify_failure(provider: ProviderInfo, reply: Reply, error: ErrorBody | None) -> Classification:
    for code in error.codes if error else ():
        if code in _BY_CODE:
            return _BY_CODE[code]
        if (reply.status, code) == _TOKEN_LIMIT_ERROR and "too_large_means_token_limit" in provider.error_quirks:
            return "fail", "token_limit"
    refined = _refine_status(provider, reply.status, error)
    if refined:
        return refined
    verdict, kind = _BY_STATUS.get(reply.status) or _classify_unlisted_status(reply.status)
    should_retry = reply.headers.get("x-should-retry")
    if verdict != "stop" and should_retry in ("true", "false"):
        verdict = "retry" if should_retry == "true" else "fail"
    return verdict, kind


def _refine_status(provider: ProviderInfo, status: int, error: ErrorBody | None) -> Classification | None:
    """The more exact meaning of a status, from the error's parameter and message."""
    param = error.param if error else None
    message = error.message.lower() if error else ""
    if status in (400, 404, 422) and param == "model":
        return "stop", "no_model"
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


def _classify_unlisted_status(status: int) -> Classification:
    if status < HTTPStatus.BAD_REQUEST:
        return "fail", "redirect"
    return ("retry", "server_error") if status >= HTTPStatus.INTERNAL_SERVER_ERROR else ("fail", "bad_request")
