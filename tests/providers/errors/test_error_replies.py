"""Error replies: every one gets a verdict, a short line and no key."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mediamill.tasks.retry_after import MAX_HINT
from mediamill.tasks.wire import Problem, Reply
from tests.helpers.hypothesis_profile import make_repeatable
from tests.providers.builders import PROVIDERS, SECRET_KEY, build_provider, build_reply

VERDICTS = {"retry", "fail", "stop", "unknown"}
KEYLIKE = [
    SECRET_KEY,
    "sk-proj-abcDEF0123456789abcDEF",
    "gsk_0123456789abcdefABCDEF",
    "xai-0123456789abcdefABCDEF",
    "a1" * 32,
]


def classify(status: int, body: Any, provider: str = "together", **headers: str) -> Problem:
    """The problem that an error reply is classified as."""
    problem = build_provider(provider).classify(build_reply(body, status, headers))
    assert problem is not None
    return problem


def make_error_body(message: str, code: Any = None, kind: Any = None) -> dict[str, Any]:
    """The usual error body."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize(
    ("status", "verdict", "kind"),
    [
        (400, "fail", "bad_request"),
        (401, "stop", "auth"),
        (402, "stop", "credits"),
        (408, "retry", "timeout"),
        (409, "retry", "conflict"),
        (413, "fail", "too_large"),
        (415, "fail", "unsupported_format"),
        (421, "retry", "server_error"),
        (422, "fail", "bad_request"),
        (424, "retry", "server_error"),
        (499, "retry", "timeout"),
        (425, "retry", "too_early"),
        (429, "retry", "rate_limit"),
        (498, "retry", "overloaded"),
        (500, "retry", "server_error"),
        (502, "retry", "server_error"),
        (503, "retry", "overloaded"),
        (504, "retry", "timeout"),
        (529, "retry", "overloaded"),
        (302, "fail", "redirect"),
        (418, "fail", "bad_request"),
        (599, "retry", "server_error"),
    ],
)
def test_every_status_has_its_verdict_for_every_provider(name: str, status: int, verdict: str, kind: str) -> None:
    for body in (b"", make_error_body("it broke"), b"<html><title>it broke</title></html>"):
        problem = classify(status, body, name)
        assert (problem.verdict, problem.kind) == (verdict, kind)
        assert problem.message.startswith(f"{name} answered {status}: ")


@pytest.mark.parametrize(
    ("status", "body", "verdict", "kind"),
    [
        (429, make_error_body("quota", "insufficient_quota"), "stop", "credits"),
        (429, make_error_body("quota", None, "insufficient_quota"), "stop", "credits"),
        (400, make_error_body("spend cap", "blocked_api_access"), "stop", "credits"),
        (400, make_error_body("no such", "model_not_available"), "stop", "no_model"),
        (404, make_error_body("The model `x` does not exist"), "stop", "no_model"),
        (404, make_error_body("gone", "model_not_found"), "stop", "no_model"),
        (400, make_error_body("long", "audio_too_long"), "fail", "too_long"),
        (400, make_error_body("big", "file_too_large"), "fail", "too_large"),
        (413, make_error_body("too many tokens", "rate_limit_exceeded"), "fail", "too_large"),
        (400, {"code": "c", "error": "Incorrect API key provided: x."}, "stop", "auth"),
        (500, make_error_body("retry", "processing_failed"), "retry", "server_error"),
        (400, make_error_body("both", "invalid_api_key", "insufficient_quota"), "stop", "auth"),
    ],
)
def test_error_codes_refine_what_the_status_means(status: int, body: Any, verdict: str, kind: str) -> None:
    assert (classify(status, body).verdict, classify(status, body).kind) == (verdict, kind)


@pytest.mark.parametrize(
    "body",
    [
        make_error_body("it broke"),
        {"id": "r", **make_error_body("it broke")},
        {"error": "it broke"},
        {"code": "c", "error": "it broke"},
        {"code": 3, "message": "it broke"},
        {"message": "it broke", "id": "i"},
        {"detail": "it broke"},
        {"detail": [{"loc": ["body"], "msg": "it broke", "type": "t"}]},
        {"object": "error", "message": "it broke", "type": "t", "code": 400},
        {"data": None, "errors": ["it broke"]},
        b"<!DOCTYPE html><TITLE>\n it broke\n</TITLE>",
        b"it\r\nbroke",
    ],
)
def test_the_message_of_every_shape_of_body_is_one_line(body: Any) -> None:
    assert classify(400, body).message == "together answered 400: it broke"


def test_a_validation_error_names_its_field() -> None:
    body = {"detail": [{"loc": ["body", "file"], "msg": "field required", "type": "t"}]}
    assert classify(422, body).message.endswith("file: field required")


def test_x_should_retry_changes_retry_and_fail_but_not_stop() -> None:
    assert classify(503, b"", x_should_retry="false").verdict == "fail"
    assert classify(400, b"", x_should_retry="true").verdict == "retry"
    assert classify(401, b"", x_should_retry="true").verdict == "stop"


def test_only_problems_to_retry_have_a_wait() -> None:
    assert classify(429, make_error_body("Please try again in 2s"), "groq").wait == 2
    assert classify(429, b"", retry_after="7").wait == 7
    assert classify(400, b"", retry_after="7").wait is None


def test_a_hint_names_the_variable_and_not_the_key() -> None:
    assert classify(401, b"").hint == "check the key in TOGETHER_API_KEY"


def test_a_success_is_no_problem() -> None:
    for body in (b'{"text":"hi"}', b'{"text":"hi","message":"fine"}', b' {"text":""}', b'{"text":"x","error":null}'):
        assert build_provider("together").classify(Reply(200, {}, body)) is None


@pytest.mark.parametrize("body", [b"", b"hello", b"<html><title>Login</title>", b"\x00\xff"])
def test_a_200_that_is_not_json_may_have_been_billed(body: bytes) -> None:
    problem = classify(200, body)
    assert (problem.verdict, problem.billed) == ("unknown", True)


def test_a_deeply_nested_error_body_is_classified() -> None:
    for depth in (500, 900, 1023, 5000, 100_000):
        for body in (
            b'{"error":' * depth + b"1" + b"}" * depth,
            b'{"error":{"message":' + b"[" * depth + b"]" * depth + b"}}",
        ):
            assert classify(400, body).verdict == "fail"
            assert len(classify(400, body).message) <= 250


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300) | st.sampled_from(KEYLIKE)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_NAMES = ("error", "message", "code", "type", "detail", "errors", "object", "text", "loc", "msg")
envelopes = st.dictionaries(
    st.sampled_from(_NAMES), values | st.dictionaries(st.sampled_from(_NAMES), values), max_size=4
)
bodies = st.binary(max_size=300) | envelopes.map(
    lambda e: orjson.dumps(_to_json_values(e), option=orjson.OPT_NON_STR_KEYS)
)


def _to_json_values(value: Any) -> Any:
    """The value without what JSON cannot hold."""
    if isinstance(value, dict):
        return {_to_json_values(k): _to_json_values(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_to_json_values(v) for v in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return float(value) if isinstance(value, int) and abs(value) >= 2**63 else value


@make_repeatable()
@given(st.integers(0, 999), bodies, st.sampled_from(PROVIDERS))
@example(400, b"\xff\xfe{}", "local")
def test_any_status_with_any_body_is_classified(status: int, body: bytes, name: str) -> None:
    problem = build_provider(name).classify(Reply(status, {"retry-after": "1e309"}, body))
    if problem is None:
        assert status < 300
        return
    assert problem.verdict in VERDICTS
    assert problem.kind.isidentifier()
    assert len(problem.message) <= 250
    assert len(problem.message.splitlines()) == 1
    assert problem.wait is None or 0 <= problem.wait <= MAX_HINT


@make_repeatable()
@given(
    st.integers(300, 599),
    st.sampled_from(KEYLIKE),
    st.text(max_size=260),
    st.sampled_from([" ", ": ", "=", '"', "'", " Bearer ", "\n", "(", "_", "0_", "é"]),
    st.sampled_from(["message", "error", "detail", "raw", "html", "code"]),
)
@example(500, KEYLIKE[0], "x" * 190, " ", "raw")
@example(500, KEYLIKE[4], "x" * 380, " ", "raw")
def test_a_key_in_an_error_body_is_never_in_the_message(
    status: int, key: str, text: str, before: str, where: str
) -> None:
    line = text.encode("utf-8", "replace").decode() + before + key
    bodies_by_place: dict[str, Any] = {
        "message": make_error_body(line),
        "error": {"error": line},
        "detail": {"detail": [{"loc": [line], "msg": line}]},
        "raw": line.encode(),
        "html": f"<title>{line}</title>".encode(),
        "code": make_error_body("x", line, line),
    }
    problem = classify(status, bodies_by_place[where])
    shown = f"{problem.message} {problem.code} {problem.hint}"
    assert key not in shown
    assert key[:16] not in shown
