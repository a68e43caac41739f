"""What stands in a 200: an answer beside notes, or an error that acts like the status it names."""

from __future__ import annotations

from typing import Any

import pytest

from mediamill.tasks.providers.errors.stated_limits import read_stated_limit
from mediamill.tasks.wire import Problem
from tests.providers.builders import build_provider, build_reply

_COMPLETION = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "hi"}}]}


def classify(body: Any, status: int = 200) -> Problem | None:
    """What the reply means for a server with OpenAI's API."""
    return build_provider("compatible").classify(build_reply(body, status))


@pytest.mark.parametrize(
    "body",
    [
        {"code": 0, "message": "Success", **_COMPLETION},
        {"message": "ok", "results": [{"index": 0, "relevance_score": 1}]},
        {"detail": "cached", **_COMPLETION},
        {"errors": [], "detail": [], **_COMPLETION},
        {"text": "hi", "error": {"code": 0, "message": ""}},
        {"text": "hi", "error": {"code": "200", "message": "OK", "type": None}},
        {"text": "hi", "error": {}},
        {"text": "hi", "error": False},
        {"text": "hi", "error": "none"},
        {"text": "", "message": "no speech"},
        b'{"text":"hi","avg_logprob":NaN}',
        b'\xef\xbb\xbf{"text":"hi"}',
        rb'{"text":"hi \ud83d"}',
    ],
)
def test_an_answer_with_notes_beside_it_is_an_answer(body: Any) -> None:
    assert classify(body) is None


@pytest.mark.parametrize("code", [402, "402"])
@pytest.mark.parametrize(
    "shape",
    [
        lambda code: {"error": {"code": code, "message": "no more"}},
        lambda code: {"error": {"status": code, "message": "no more"}},
        lambda code: {"error": {"message": "no more", "metadata": {}}, "status_code": code},
        lambda code: {"code": code, "message": "no more"},
        lambda code: {"statusCode": code, "message": "no more", "error": "Payment Required"},
        lambda code: {"status": code, "title": "Payment Required", "detail": "no more"},
        lambda code: {"errors": [{"status": code, "detail": "no more"}]},
        lambda code: {"object": "error", "code": code, "message": "no more"},
        lambda code: [{"error": {"code": code, "message": "no more", "status": "X"}}],
    ],
)
def test_a_status_in_a_success_acts_like_that_status_in_every_shape(shape: Any, code: Any) -> None:
    problem = classify(shape(code))
    assert problem is not None
    assert (problem.verdict, problem.kind) == ("stop", "credits")
    assert problem.message.endswith("no more")


@pytest.mark.parametrize(
    ("error", "verdict", "kind"),
    [
        ({"code": 401}, "stop", "auth"),
        ({"code": 429}, "retry", "rate_limit"),
        ({"code": "503"}, "retry", "overloaded"),
        ({"code": 400}, "fail", "bad_request"),
        ({"code": 7}, "retry", "server_error"),
        ({"type": "rate_limit_error"}, "retry", "rate_limit"),
        ({"type": "authentication_error"}, "stop", "auth"),
        ({"status": "RESOURCE_EXHAUSTED"}, "retry", "rate_limit"),
        ({"code": "insufficient_quota"}, "stop", "credits"),
        ({"code": 403, "message": "Your input was flagged for violence"}, "fail", "refused"),
        ({"message": "failed to read audio data"}, "fail", "unreadable_audio"),
    ],
)
def test_an_error_in_a_success_is_what_its_code_says(error: dict[str, Any], verdict: str, kind: str) -> None:
    problem = classify({"error": {"message": "it broke", **error}})
    assert problem is not None
    assert (problem.verdict, problem.kind) == (verdict, kind)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"message": "The response was filtered due to Azure OpenAI's content management policy.",
                         "code": "content_filter", "status": 400}}),
        (400, {"error": {"message": "Your request was rejected as a result of our safety system.",
                         "code": "content_policy_violation", "type": "invalid_request_error"}}),
        (403, {"error": {"message": 'meta/llama requires moderation. Your input was flagged for "hate"', "code": 403}}),
        (403, {"code": "The caller does not have permission", "error": "Content violates usage guidelines."}),
        (422, {"error": {"message": "The prompt was blocked due to our safety policy", "type": "x"}}),
        (400, {"message": "blocked input: please modify it and try again"}),
        (400, {"code": "DataInspectionFailed", "message": "Input data may contain inappropriate content."}),
    ],
)  # fmt: skip
def test_the_content_filter_of_every_vendor_is_a_refusal(status: int, body: Any) -> None:
    problem = classify(body, status)
    assert problem is not None
    assert (problem.verdict, problem.kind) == ("fail", "refused")
    assert problem.hint is not None


@pytest.mark.parametrize("message", ["Your account was flagged for violating our policies", "key not allowed"])
def test_a_refused_account_is_no_refused_content(message: str) -> None:
    problem = classify({"error": {"message": message}}, 403)
    assert problem is not None
    assert (problem.verdict, problem.kind) == ("stop", "forbidden")


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("audio duration 1501.0 seconds is longer than 1400 seconds which is the maximum for this model", 1400),
        ("Maximum clip duration (30s) exceeded.", 30),
        ("The audio is too long: the limit is 4 hours", 14400),
        ("audio exceeds the maximum allowed length of 10 minutes", 600),
        ("a recording may have at most 90 s", 90),
        ("the audio must be within 2 min", 120),
        ("max_tokens exceeds the limit of 4096", None),
        ("Rate limit: audio, try again in 20s", None),
        ("audio is longer than 0 seconds", None),
        ("it broke", None),
    ],
)
def test_a_stated_maximum_length_is_read(message: str, seconds: float | None) -> None:
    assert read_stated_limit(message) == seconds


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_that_states_a_length_is_too_long(status: int) -> None:
    message = "audio duration 1501.0 seconds is longer than 1400 seconds which is the maximum for this model"
    problem = classify({"error": {"message": message, "code": "invalid_value"}}, status)
    assert problem is not None
    assert (problem.verdict, problem.kind) == ("fail", "too_long")
