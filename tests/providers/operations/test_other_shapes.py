"""Answers in the shapes and encodings of other APIs and programs are read; what failed under other names failed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mediamill.tasks.errors import BadReply
from mediamill.tasks.providers.operations.finish_reasons import is_length_reason, is_refusal_reason
from mediamill.tasks.wire import Reply
from tests.providers.builders import build_ask_for, build_provider, parse_reply

WHISPER_CPP = {
    "result": {"language": "en"},
    "transcription": [
        {
            "timestamps": {"from": "00:00:00,100", "to": "00:00:00,500"},
            "offsets": {"from": 100, "to": 500},
            "text": " hi",
        }
    ],
}
COMPLETION = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}


def classify(operation: str, body: Any, content_type: str = "application/json") -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return build_provider("compatible").classify(Reply(200, {"content-type": content_type}, content), operation)


def read(operation: str, body: Any, content_type: str = "application/json") -> Any:
    """The data of a success."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert classify(operation, content, content_type) is None
    provider = build_provider("compatible")
    reply = Reply(200, {"content-type": content_type}, content)
    return parse_reply(provider, build_ask_for(provider, operation), reply).data


@pytest.mark.parametrize(
    "times",
    [
        {"start_time": 0.1, "end_time": 0.5},
        {"startTime": "0.100s", "endTime": "0.500s"},
        {"start": "00:00:00.100", "end": "00:00,500"},
        {"timestamp": [0.1, 0.5]},
        {"offsets": {"from": 100, "to": 500}},
        {"timestamps": {"from": "00:00:00,100", "to": "00:00:00,500"}},
        {"start_ms": 100, "end_ms": 500},
        {"start": "100 ms", "end": "500ms"},
    ],
)
@pytest.mark.parametrize("part", ["segments", "words"])
def test_times_under_any_name_and_in_any_form_are_times(times: Any, part: str) -> None:
    data = read("transcription", {"text": "hi", part: [{"text": "hi", **times}]})
    assert [(each["start"], each["end"]) for each in data[part]] == [(0.1, 0.5)]


def test_a_word_that_begins_just_before_the_audio_begins_with_it() -> None:
    assert (
        read("transcription", {"text": "hi", "words": [{"word": "hi", "start": -0.02, "end": 1}]})["words"][0]["start"]
        == 0
    )


def test_whisper_cpp_s_own_reply_has_its_times_and_language() -> None:
    data = read("transcription", WHISPER_CPP)
    assert (data["text"], data["language"]) == ("hi", "en")
    assert (data["segments"][0]["start"], data["segments"][0]["end"]) == (0.1, 0.5)


@pytest.mark.parametrize("language", [["en"], {"code": "en"}, "<|en|>", "English", "en-US"])
def test_a_language_in_any_form_is_one(language: Any) -> None:
    assert read("transcription", {"text": "hi", "language": language})["language"] == "en"


def test_an_empty_text_beside_segments_is_theirs() -> None:
    assert read("transcription", {"text": " ", "segments": [{"start": 0, "end": 1, "text": "hi"}]})["text"] == "hi"


@pytest.mark.parametrize(
    ("body", "times"),
    [
        (b"[00:00:00.100 --> 00:00:01.000]   hi\n[00:00:01.000 --> 00:00:02.000]   you\n", [(0.1, 1.0), (1.0, 2.0)]),
        (b"[00:00.10]hi\n[00:01.00]you\n", [(0.1, 1.0), (1.0, None)]),
    ],
)
def test_lines_as_programs_print_them_are_segments(body: bytes, times: Any) -> None:
    data = read("transcription", body, "text/plain")
    assert data["text"] == "hi you"
    assert [(each["start"], each["end"]) for each in data["segments"]] == times


@pytest.mark.parametrize("content_type", ["", "application/octet-stream", "text/plain"])
def test_a_text_needs_no_content_type(content_type: str) -> None:
    assert read("transcription", b"hi there", content_type)["text"] == "hi there"


@pytest.mark.parametrize("body", [json.dumps(json.dumps({"text": "hi"})).encode(), b'```json\n{"text":"hi"}\n```'])
def test_json_that_is_encoded_twice_is_read(body: bytes) -> None:
    assert read("transcription", body, "text/plain")["text"] == "hi"


@pytest.mark.parametrize(
    ("text", "charset"), [("\u3053\u3093\u306b\u3061\u306f", "shift_jis"), ("h\xe9", "iso-8859-1"), ("h\xe9", "utf-8")]
)
@pytest.mark.parametrize("is_json", [True, False])
def test_the_character_set_that_a_reply_names_is_taken(text: str, charset: str, is_json: bool) -> None:
    body = (json.dumps({"text": text}, ensure_ascii=False) if is_json else text).encode(charset)
    content_type = f"{'application/json' if is_json else 'text/plain'}; charset={charset}"
    assert read("transcription", body, content_type)["text"] == text


def test_utf_8_that_is_called_something_else_stays_utf_8() -> None:
    assert read("transcription", "h\xe9".encode(), "text/plain; charset=iso-8859-1")["text"] == "h\xe9"


@pytest.mark.parametrize(
    "completion",
    [
        {"type": "message", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn"},
        {
            "object": "response",
            "status": "completed",
            "output": [{"type": "reasoning"}, {"type": "message", "content": [{"type": "output_text", "text": "hi"}]}],
        },
        {"candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}]},
        {"model": "m", "response": "hi", "done": True},
        {"choices": {"message": {"content": "hi"}, "finish_reason": "stop"}},
        {"choices": [{"message": "hi", "finish_reason": "stop"}]},
        {"choices": [{"message": {"content": ["h", "i"]}, "finish_reason": "stop"}]},
        {"code": 0, "response": COMPLETION},
        json.dumps(COMPLETION),
    ],
)
def test_a_completion_in_another_apis_shape_is_one(completion: Any) -> None:
    assert [choice["text"] for choice in read("chat", completion)["choices"]] == ["hi"]


def test_tokens_under_another_apis_names_are_counted() -> None:
    provider = build_provider("compatible")
    body = {"type": "message", "content": [{"text": "hi"}], "usage": {"input_tokens": 3, "output_tokens": 2}}
    usage = parse_reply(provider, build_ask_for(provider, "chat"), Reply(200, {}, json.dumps(body).encode())).usage
    assert (usage.input_tokens, usage.output_tokens) == (3, 2)


@pytest.mark.parametrize("reason", ["error", "network_error", "abort", "insufficient_system_resource"])
def test_half_a_text_whose_generation_failed_is_no_answer(reason: str) -> None:
    problem = classify("chat", {"choices": [{"message": {"content": "half"}, "finish_reason": reason}]})
    assert (problem.verdict, problem.kind) == ("unknown", "server_error")


def test_reasons_are_known_in_any_spelling() -> None:
    assert all(map(is_refusal_reason, ("RECITATION", "content_filter: PROHIBITED", "content-filter", "refusal")))
    assert is_refusal_reason("guardrail_intervened")
    assert all(map(is_length_reason, ("MAX_TOKENS", "length", "model_context_window_exceeded")))
    assert not any(map(is_refusal_reason, ("stop", None, "length")))


@pytest.mark.parametrize(
    ("body", "verdict", "kind"),
    [
        (b"429 Too Many Requests", "retry", "rate_limit"),
        (b"<html><title>429 Too Many Requests</title>", "retry", "rate_limit"),
        (b"503 Service Temporarily Unavailable", "retry", "overloaded"),
        (b"HTTP/1.1 401 Unauthorized", "stop", "auth"),
        (b"rate limit exceeded", "retry", "rate_limit"),
        (b'"Rate limit exceeded."', "retry", "rate_limit"),
        (b'{"error": "rate limit exceeded"}', "retry", "rate_limit"),
        (b'{"message": "You have been rate limited. Try again in 5 s"}', "retry", "rate_limit"),
        (b"Rate limit reached, retry after 20 seconds", "retry", "rate_limit"),
        (b'{"text": "429 Too Many Requests"}', "retry", "rate_limit"),
        (b"Service Unavailable", "retry", "overloaded"),
        (b'"Unauthorized"', "stop", "auth"),
        (b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>", "retry", "overloaded"),
        (b'<?xml version="1.0"?><error><code>429</code><message>Busy</message></error>', "retry", "rate_limit"),
        (b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>", "stop", "forbidden"),
        (b'{"fault":{"faultstring":"Invalid ApiKey","detail":{"errorcode":"oauth.v2.InvalidApiKey"}}}', "stop", "auth"),
    ],
)
def test_a_status_line_in_a_success_acts_like_that_status(body: bytes, verdict: str, kind: str) -> None:
    problem = classify("transcription", body, "text/plain")
    assert (problem.verdict, problem.kind) == (verdict, kind)


@pytest.mark.parametrize("status", [400, 403, 500, 503])
@pytest.mark.parametrize("body", [b"rate limit exceeded", b'{"error": "Rate limit exceeded"}', b'"too many requests"'])
def test_a_rate_limit_is_one_under_any_status(status: int, body: bytes) -> None:
    problem = build_provider("compatible").classify(Reply(status, {}, body), "chat")
    assert problem is not None
    assert (problem.verdict, problem.kind) == ("retry", "rate_limit")


def test_an_error_in_xml_is_told_in_its_own_words() -> None:
    body = b"<Error><Code>NoSuchBucket</Code><Message>The bucket &quot;a&quot; does not exist</Message></Error>"
    problem = build_provider("compatible").classify(Reply(404, {}, body), "chat")
    assert problem is not None
    assert problem.message == 'compatible answered 404: The bucket "a" does not exist'


@pytest.mark.parametrize(
    "text",
    [
        "429 Main Street",
        "They said 401 unauthorized people came",
        "The rate limit was hit by the news",
        "404 not found a home",
    ],
)
def test_a_text_that_begins_with_a_number_is_a_text(text: str) -> None:
    assert read("transcription", text.encode(), "text/plain")["text"] == text


def test_a_message_alone_is_no_completion() -> None:
    with pytest.raises(BadReply):
        read("chat", {"candidates": []})
