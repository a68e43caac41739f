"""What errors mean: retry, fail this item, stop the run, or unknown."""

from __future__ import annotations

from typing import Any

import pytest

from mediamill.tasks.retry_after import MAX_HINT
from tests.providers.builders import SECRET_KEY, build_provider, build_reply

BAD: dict[str, Any] = {"type": "invalid_request_error"}


def classify(name: str, status: int, body: Any = b"", **headers: str) -> tuple[str, str]:
    problem = build_provider(name).classify(build_reply(body, status, headers))
    assert problem is not None
    return problem.verdict, problem.kind


def make_coded_error(code: str | int | None, message: str = "no", **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code, **more}}


@pytest.mark.parametrize(
    ("name", "status", "body", "verdict"),
    [
        ("together", 401, make_coded_error("invalid_api_key"), ("stop", "auth")),
        ("together", 402, make_coded_error(None, "Credit limit exceeded"), ("stop", "credits")),
        ("together", 400, make_coded_error("invalid_params"), ("fail", "bad_request")),
        ("together", 400, make_coded_error("audio_too_long"), ("fail", "too_long")),
        ("together", 400, make_coded_error("file_too_large"), ("fail", "too_large")),
        ("together", 413, make_coded_error("request_too_large"), ("fail", "too_large")),
        ("together", 400, make_coded_error("unsupported_format"), ("fail", "unsupported_format")),
        ("together", 400, make_coded_error("model_not_available"), ("stop", "no_model")),
        ("together", 400, make_coded_error(None, "Unable to access non-serverless model x"), ("stop", "no_model")),
        ("together", 403, make_coded_error(None, "prompt and max_tokens exceed the context"), ("fail", "too_long")),
        ("together", 403, make_coded_error(None, "bad request"), ("fail", "bad_request")),
        ("together", 403, b"<html><title>Access denied</title>", ("stop", "forbidden")),
        ("together", 429, {**make_coded_error(None), "error_type": "dynamic_request_limited"}, ("retry", "rate_limit")),
        ("together", 500, make_coded_error("processing_failed"), ("retry", "server_error")),
        ("together", 503, make_coded_error(None, "overloaded"), ("retry", "overloaded")),
        ("together", 529, b"", ("retry", "overloaded")),
        ("openai", 429, make_coded_error("rate_limit_exceeded"), ("retry", "rate_limit")),
        ("openai", 429, make_coded_error("insufficient_quota"), ("stop", "credits")),
        ("openai", 429, make_coded_error(None, type="insufficient_quota"), ("stop", "credits")),
        ("openai", 404, make_coded_error("model_not_found"), ("stop", "no_model")),
        ("openai", 400, make_coded_error(None, "invalid model ID", param="model"), ("stop", "no_model")),
        ("openai", 400, make_coded_error("unsupported_value", param="response_format"), ("fail", "response_format")),
        ("openai", 403, make_coded_error("unsupported_country_region_territory"), ("stop", "forbidden")),
        ("openai", 404, make_coded_error("unknown_url"), ("stop", "not_found")),
        ("groq", 413, make_coded_error("rate_limit_exceeded"), ("fail", "token_limit")),
        ("groq", 429, make_coded_error("rate_limit_exceeded"), ("retry", "rate_limit")),
        ("groq", 400, make_coded_error("blocked_api_access"), ("stop", "credits")),
        ("groq", 403, make_coded_error("not_available_for_plan"), ("stop", "forbidden")),
        ("groq", 498, make_coded_error("capacity_exceeded"), ("retry", "overloaded")),
        ("groq", 422, make_coded_error(None), ("fail", "bad_request")),
        ("compatible", 404, {"error": {"message": "The model `x` does not exist.", "code": 404}}, ("stop", "no_model")),
        ("compatible", 404, {"detail": "Not Found"}, ("stop", "not_found")),
        ("compatible", 404, b"<html><title>404</title>", ("stop", "not_found")),
        ("compatible", 404, {"detail": "no such recording"}, ("fail", "not_found")),
        ("compatible", 405, {"detail": "Method Not Allowed"}, ("stop", "not_found")),
        ("compatible", 422, {"detail": [{"loc": ["body", "file"], "msg": "Field required"}]}, ("fail", "bad_request")),
        ("compatible", 422, {"detail": [{"loc": ["body", "model"], "msg": "unknown"}]}, ("stop", "no_model")),
        ("compatible", 400, {"code": "x", "error": "Incorrect API key provided"}, ("stop", "auth")),
        ("compatible", 400, make_coded_error("exceed_context_size_error"), ("fail", "too_long")),
        ("compatible", 415, b"", ("fail", "unsupported_format")),
        ("compatible", 418, b"", ("fail", "bad_request")),
        ("compatible", 302, b"", ("fail", "redirect")),
        *(("compatible", status, b"", ("retry", "server_error")) for status in (500, 502, 520, 521, 522, 523, 599)),
        *(("compatible", status, b"", ("retry", "timeout")) for status in (408, 504, 524)),
        ("compatible", 425, b"", ("retry", "too_early")),
        ("compatible", 409, b"", ("retry", "conflict")),
        ("compatible", 501, b"", ("fail", "not_supported")),
    ],
)
def test_provider_status_and_code_decide_the_verdict(
    name: str, status: int, body: Any, verdict: tuple[str, str]
) -> None:
    assert classify(name, status, body) == verdict


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "m"}}, "m"),
        ({"error": "m"}, "m"),
        ({"code": "c", "error": "m"}, "m"),
        ({"code": "c", "message": "m"}, "m"),
        ({"message": "m", "id": "1"}, "m"),
        ({"detail": "m"}, "m"),
        ({"detail": [{"loc": ["body", "file"], "msg": "m"}]}, "file: m"),
        ({"object": "error", "message": "m", "type": "t", "code": 400}, "m"),
        ({"data": None, "errors": ["m"]}, "m"),
        (b"<html><head><TITLE>\n m\t</TITLE>", "m"),
        (b"error code: 1015", "error code: 1015"),
        (b"", "no message"),
        (b"null", "null"),
    ],
)
def test_the_message_is_read_from_every_shape_of_error_body(body: Any, message: str) -> None:
    problem = build_provider("openai").classify(build_reply(body, 400))
    assert problem is not None
    assert problem.message == f"openai answered 400: {message}"


def test_x_should_retry_decides_unless_the_run_must_stop() -> None:
    assert classify("openai", 400, make_coded_error(None), x_should_retry="true")[0] == "retry"
    assert classify("openai", 500, make_coded_error(None), x_should_retry="false")[0] == "fail"
    assert classify("openai", 429, make_coded_error("insufficient_quota"), x_should_retry="true")[0] == "stop"
    assert classify("groq", 413, make_coded_error("rate_limit_exceeded"), x_should_retry="true")[0] == "fail"
    assert classify("openai", 500, make_coded_error(None), x_should_retry="maybe")[0] == "retry"


@pytest.mark.parametrize(
    "body", [b"", b"  ", b'{"text": "cut o', b"<html><title>Welcome</title>", b"hello", b"\xff\xfe"]
)
def test_a_success_without_complete_json_may_have_been_billed(body: bytes) -> None:
    problem = build_provider("together").classify(build_reply(body))
    assert problem is not None
    assert (problem.verdict, problem.kind, problem.billed) == ("unknown", "bad_body", True)


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (make_coded_error("insufficient_quota"), "stop"),
        (make_coded_error(None, "try later"), "retry"),
        ({"error": "overloaded"}, "retry"),
        (make_coded_error("audio_too_long"), "fail"),
    ],
)
def test_an_error_object_in_a_success_is_an_error(body: Any, verdict: str) -> None:
    assert classify("together", 200, body)[0] == verdict


@pytest.mark.parametrize("extra", [{"error": None}, {"error": ""}, {"error": {}}, {"message": "ok"}, {"errors": []}])
def test_an_empty_error_field_in_a_success_is_no_error(extra: dict[str, Any]) -> None:
    assert build_provider("groq").classify(build_reply({"text": "hello", **extra})) is None


def test_a_reply_lost_behind_a_gateway_may_have_been_billed() -> None:
    for status in (502, 504, 520, 524):
        problem = build_provider("together").classify(build_reply(b"", status))
        assert problem is not None
        assert problem.billed
    for status in (429, 500, 503, 521, 522, 529):
        problem = build_provider("together").classify(build_reply(b"", status))
        assert problem is not None
        assert not problem.billed


def test_the_hint_names_the_variable_of_the_key() -> None:
    problem = build_provider("groq").classify(build_reply(make_coded_error("invalid_api_key"), 401))
    assert problem is not None
    assert problem.hint == "check the key in GROQ_API_KEY"
    assert problem.code == "invalid_api_key"


@pytest.mark.parametrize(
    "message",
    [
        f"Incorrect API key provided: {SECRET_KEY}.",
        f"Authorization: Bearer {SECRET_KEY}",
        "Bearer 0123456789abcdef0123456789abcdef",
        "your api_key='abcdefgh12345678' is wrong",
        "gsk_abcdefghijklmnop1234",
        "tgp_v1_abcdefghijklmnop1234",
        "xai-abcdefghijklmnop1234",
        "the key 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 has no credits",
    ],
)
def test_what_looks_like_a_key_is_masked(message: str) -> None:
    problem = build_provider("openai").classify(build_reply(make_coded_error("invalid_api_key", message), 401))
    assert problem is not None
    for word in message.replace("=", " ").replace("'", " ").replace(":", " ").split():
        assert word.rstrip(".") not in problem.message or len(word) < 16
    assert "***" in problem.message


def test_messages_without_a_key_are_not_masked() -> None:
    for message in (
        "Incorrect API key provided",
        "The model `meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8` does not exist",
        "Rate limit reached for model whisper-large-v3 in organization: please try again in 2s",
        "Token usage was exceeded",
    ):
        problem = build_provider("openai").classify(build_reply(make_coded_error(None, message), 400))
        assert problem is not None
        assert problem.message == f"openai answered 400: {message}"


def test_messages_are_short_and_on_one_line() -> None:
    problem = build_provider("openai").classify(
        build_reply(make_coded_error(None, "a\x1b[2J\r\nb\u202e" + "x" * 5000), 400)
    )
    assert problem is not None
    assert problem.message.startswith("openai answered 400: a [2J b xxx")
    assert len(problem.message) < 250


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry_after": "3"}, 3),
        ({"retry_after_ms": "250", "retry_after": "3"}, 0.25),
        ({"retry_after": "31536000"}, MAX_HINT),
        ({"retry_after": "-5"}, None),
        ({"x_ratelimit_reset": "2"}, 2),
        ({}, None),
    ],
)
def test_the_requested_wait_is_limited(headers: dict[str, str], wait: float | None) -> None:
    problem = build_provider("together").classify(build_reply(make_coded_error(None), 429, headers))
    assert problem is not None
    assert problem.wait == wait
