"""What an error reply means, by provider, status and code; text only refines what those leave open."""

from __future__ import annotations

from tasks.calls.hints import wait_hint
from tasks.providers.base import Problem, Reply, Verdict
from tasks.providers.envelopes import Envelope, clean, open_envelope

_STOP_CODES = {
    "insufficient_quota": "credits",
    "billing_hard_limit_reached": "credits",
    "blocked_api_access": "credits",
    "credit_limit": "credits",
    "invalid_api_key": "auth",
    "account_deactivated": "auth",
}
_FAIL_CODES = {
    "audio_too_long": "too_long",
    "file_too_large": "too_large",
    "request_too_large": "too_large",
    "unsupported_format": "unsupported_format",
    "invalid_params": "bad_request",
    "context_length_exceeded": "too_long",
}
_NO_MODEL_CODES = frozenset({"model_not_available", "model_not_found", "model_decommissioned"})
_STATUS: dict[int, tuple[Verdict, str]] = {
    401: ("stop", "auth"),
    402: ("stop", "credits"),
    403: ("fail", "forbidden"),
    404: ("fail", "not_found"),
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
    529: ("retry", "overloaded"),
}
_HINTS = {
    "auth": "check the key in {key}",
    "credits": "add credits or raise the spending cap, then run again",
    "no_model": "choose another --model; `mediamill models` lists those known",
    "too_large": "the provider takes less than its configuration says",
}


def judge(provider: str, key_env: str | None, reply: Reply) -> Problem | None:
    """None for an answer; otherwise what the error means (provider docs).

    An error object inside a 200 counts as an error; a 200 that is not JSON may have been billed. A model that
    does not exist stops the run, for every other item would fail the same way.
    """
    envelope = open_envelope(reply.body)
    if reply.status < 300:  # noqa: PLR2004
        return _inside_success(provider, reply, envelope)
    message = envelope.message if envelope else clean(reply.body[:400].decode("utf-8", "replace"))
    code = (envelope.code or envelope.type) if envelope else None
    verdict, kind = _verdict(reply, envelope)
    hint = _HINTS.get(kind)
    return Problem(
        verdict=verdict,
        kind=kind,
        message=f"{provider} answered {reply.status}: {message or 'no message'}",
        wait=wait_hint(provider, reply.headers, message) if verdict == "retry" else None,
        code=code,
        hint=hint.format(key=key_env or "the environment") if hint else None,
    )


def _verdict(reply: Reply, envelope: Envelope | None) -> tuple[Verdict, str]:
    codes = {envelope.code, envelope.type} - {None} if envelope else set()
    for code in codes:
        if code in _STOP_CODES:
            return "stop", _STOP_CODES[code]
    if codes & _NO_MODEL_CODES:
        return "stop", "no_model"
    for code in codes:
        if code in _FAIL_CODES:
            return "fail", _FAIL_CODES[code]
    message = envelope.message.lower() if envelope else ""
    if reply.status == 400 and "incorrect api key" in message:  # noqa: PLR2004 - xAI's way to say 401
        return "stop", "auth"
    if reply.status == 404 and "model" in message:  # noqa: PLR2004
        return "stop", "no_model"
    verdict, kind = _STATUS.get(reply.status) or _by_class(reply.status)
    should = reply.headers.get("x-should-retry")
    if verdict != "stop" and should in ("true", "false"):
        verdict = "retry" if should == "true" else "fail"
    return verdict, kind


def _by_class(status: int) -> tuple[Verdict, str]:
    if 300 <= status < 400:  # noqa: PLR2004
        return "fail", "redirect"
    if 520 <= status <= 524:  # noqa: PLR2004 - between the provider and its gateway
        return "retry", "server_error"
    return ("retry", "server_error") if status >= 500 else ("fail", "bad_request")  # noqa: PLR2004


def _inside_success(provider: str, reply: Reply, envelope: Envelope | None) -> Problem | None:
    body = reply.body.lstrip()
    if envelope is not None and body[:1] == b"{":
        verdict, kind = _verdict(Reply(500, reply.headers, reply.body), envelope)
        return Problem(verdict, kind, f"{provider} answered with an error: {envelope.message}", code=envelope.code)
    if body[:1] not in (b"{", b"["):
        shown = clean(body[:80].decode("utf-8", "replace")) or "nothing"
        return Problem("unknown", "bad_body", f"{provider} answered 200 with {shown}", billed=True)
    return None
