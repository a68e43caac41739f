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
        ("Audio is too long: 00:25:01 exceeds the maximum of 00:10:00", 600.0),
        ("file: audio duration must not exceed 600000 ms", 600.0),
        ("the recording of 25:01 exceeds 10:00", 600.0),
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


@pytest.mark.parametrize(
    ("body", "verdict", "kind"),
    [
        ({"code": 401, "msg": "invalid key"}, "stop", "auth"),
        ({"errcode": 429, "errmsg": "slow"}, "retry", "rate_limit"),
        ({"error_code": "503", "error_msg": "x"}, "retry", "overloaded"),
        ({"success": False, "data": {"text": ""}, "message": "quota"}, "retry", "server_error"),
        ({"error": {"code": "InvalidApiKey", "message": "x"}}, "stop", "auth"),
        ({"code": "Throttling.RateQuota", "message": "x"}, "retry", "rate_limit"),
        ({"code": "Arrearage", "message": "x"}, "stop", "credits"),
        ({"error": {"code": "DeploymentNotFound", "message": "x"}}, "stop", "no_model"),
        ({"__type": "ThrottlingException", "message": "x"}, "retry", "rate_limit"),
        ({"status": "error", "message": "x", "code": 402}, "stop", "credits"),
        ({"error": "429 Too Many Requests"}, "retry", "rate_limit"),
        ({"error": {"message": "Error code: 402 - insufficient balance"}}, "stop", "credits"),
        ({"error": {"error": {"code": 402, "message": "x"}}}, "stop", "credits"),
        ({"Error": {"Code": "429", "Message": "x"}}, "retry", "rate_limit"),
        ({"error": [{"code": 402, "message": "x"}]}, "stop", "credits"),
        ({"data": {"error": {"code": 402, "message": "x"}}}, "stop", "credits"),
        ({"code": 429.0, "message": "x"}, "retry", "rate_limit"),
        ({"error": {"code": "HTTP 402", "message": "x"}}, "stop", "credits"),
        ({"base_resp": {"status_code": 1026, "status_msg": "input new_sensitive"}}, "fail", "refused"),
        ({"promptFeedback": {"blockReason": "SAFETY"}}, "fail", "refused"),
        ({"error": {"message": "This model only supports response_format json"}}, "fail", "response_format"),
        ({"error": {"message": "audio is longer than 1400 seconds"}}, "fail", "too_long"),
    ],
)
def test_every_vendors_error_in_a_success_acts_like_its_status(body: Any, verdict: str, kind: str) -> None:
    problem = classify(body)
    assert problem is not None
    assert (problem.verdict, problem.kind) == (verdict, kind)


@pytest.mark.parametrize("body", [{"id": "v1", "status": "failed"}, {"object": "list", "data": []}])
def test_a_job_that_failed_and_an_empty_list_are_no_error_replies(body: Any) -> None:
    assert classify(body) is None


@pytest.mark.parametrize("status", [400, 200])
@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("Content Exists Risk", "invalid_request_error"),
        ("The request was rejected because it was considered high risk", "content_filter"),
        ("Output blocked by content filtering policy", "invalid_request_error"),
        ("\u7cfb\u7edf\u68c0\u6d4b\u5230\u8f93\u5165\u53ef\u80fd\u5305\u542b\u4e0d\u5b89\u5168\u5185\u5bb9", "1301"),
        ("E005: The input or output was flagged as sensitive.", None),
        ("Request Moderated", None),
        ("rejected", "SAFETY.INPUT.TEXT"),
        ("Prompt failed safety check", None),
        ("The image contains explicit content", None),
        ("stopped", "guardrail_intervened"),
        ("stopped", "PROHIBITED_CONTENT"),
        ("Prompt contains banned words", None),
    ],
)
def test_content_filters_refuse_with_any_status(status: int, message: str, code: str | None) -> None:
    for body in ({"error": {"message": message, "code": code}}, {"code": code or 1, "message": message}):
        problem = classify(body, status)
        assert problem is not None
        assert (problem.verdict, problem.kind) == ("fail", "refused")


@pytest.mark.parametrize(
    "message",
    [
        "Invalid parameter: content is required",
        "Invalid image content type",
        "messages.content: text is sensitive to length",
        "content length exceeds the limit: input contains 9000 tokens",
        "input text contains invalid utf-8",
    ],
)
def test_a_wrong_request_is_no_refused_content(message: str) -> None:
    problem = classify({"error": {"message": message}}, 400)
    assert problem is not None
    assert problem.kind != "refused"


@pytest.mark.parametrize("status", [400, 415, 422, 501, 200])
@pytest.mark.parametrize(
    "message",
    [
        "only support json",
        "only json is supported",
        "We only support `json` response_format",
        "Currently do not support verbose_json for this model",
        "Invalid response_format 'verbose_json'",
        "response_format must be one of: json, text",
        "body.response_format: Input should be 'json' or 'text'",
        "Unrecognized request argument supplied: timestamp_granularities",
        "Extra inputs are not permitted: timestamp_granularities",
        "The requested response format is unsupported",
    ],
)
def test_a_format_that_a_server_does_not_have_brings_the_next_try(status: int, message: str) -> None:
    problem = classify({"error": {"message": message}}, status)
    assert problem is not None
    assert (problem.verdict, problem.kind) == ("fail", "response_format")


@pytest.mark.parametrize("status", [408, 421, 424, 425, 429, 498, 499, 500, 502, 503, 504, 520, 522, 524, 529, 530])
@pytest.mark.parametrize("body", [{"error": {"message": "x"}}, b"", b"<html><title>x</title></html>"])
def test_a_passing_status_is_tried_again_whatever_its_body(status: int, body: Any) -> None:
    problem = classify(body, status)
    assert problem is not None
    assert problem.verdict in ("retry", "unknown")


@pytest.mark.parametrize(
    ("status", "body", "verdict", "kind"),
    [
        (200, {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, "stop", "credits"),
        (200, {"base_resp": {"status_code": 1004, "status_msg": "login fail"}}, "stop", "auth"),
        (200, {"base_resp": {"status_code": 1039, "status_msg": "too many tokens"}}, "retry", "rate_limit"),
        (
            403,
            {"error": "Content violates usage guidelines. Team: 1, API key ID: 2, Failed check: X"},
            "fail",
            "refused",
        ),
        (403, {"error": {"message": "any/model requires moderation and your input was flagged"}}, "fail", "refused"),
        (403, {"error": {"message": "your organization was flagged for a violation"}}, "stop", "forbidden"),
    ],
)
def test_refused_content_is_no_refused_account(status: int, body: Any, verdict: str, kind: str) -> None:
    problem = classify(body, status)
    assert problem is not None
    assert (problem.verdict, problem.kind) == (verdict, kind)
