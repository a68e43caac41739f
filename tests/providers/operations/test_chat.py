"""Chat: requests, and replies of every shape."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.domain import Payload, Usage
from mediamill.tasks.errors import BadInput, BadReply
from mediamill.tasks.providers.operations.chat_stream import has_token
from mediamill.tasks.wire import FIRST_CHUNK_HEADER, Reply
from tests.helpers.hypothesis_profile import make_repeatable
from tests.providers.builders import (
    build_ask,
    build_body,
    build_event_stream,
    build_provider,
    build_reply,
    build_request,
    parse_reply,
)

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@pytest.mark.parametrize(
    ("provider", "path", "field"),
    [
        ("together", "/v1/chat/completions", "max_tokens"),
        ("openai", "/v1/chat/completions", "max_completion_tokens"),
        ("groq", "/openai/v1/chat/completions", "max_completion_tokens"),
        ("xai", "/v1/chat/completions", "max_completion_tokens"),
        ("compatible", "/v1/chat/completions", "max_tokens"),
    ],
)
def test_each_endpoint_gets_its_own_field_for_the_token_limit(provider: str, path: str, field: str) -> None:
    ask = build_ask("chat", seed=7, temperature=0.5)
    assert build_request(provider, ask).path == path
    body = build_body(provider, ask)
    assert (body[field], body["seed"], body["temperature"]) == (50, 7, 0.5)
    assert body["messages"] == [{"role": "user", "content": "hello"}]
    assert "stream" not in body


def test_images_are_sent_as_data_urls_and_their_bytes_are_not_in_the_wire() -> None:
    ask = build_ask("vision_chat", payload=Payload("a.jpg", "image/jpeg", 3, data=b"\xff\xd8\xff"))
    parts = build_body("together", ask)["messages"][0]["content"]
    assert parts[0] == {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/"}}
    assert parts[1] == {"type": "text", "text": "What is it?"}
    assert "base64" not in str(build_provider("together").to_wire(ask).params)
    linked = build_ask("vision_chat", payload=IMAGE_LINK)
    assert build_body("openai", linked)["messages"][0]["content"][0]["image_url"]["url"] == "https://example.org/a.jpg"


IMAGE_LINK = Payload("", "", 0, url="https://example.org/a.jpg")


def test_streaming_does_not_change_the_wire_parameters() -> None:
    complete, streamed = build_ask("chat"), build_ask("chat", stream=True)
    assert build_provider("groq").to_wire(complete).params == build_provider("groq").to_wire(streamed).params
    body = build_body("groq", streamed)
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})
    assert "stream_options" not in build_body("together", streamed)


def test_a_schema_is_sent_in_the_form_that_the_model_supports() -> None:
    bound = build_body("together", build_ask("chat", schema=SCHEMA))["response_format"]
    assert bound == {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
    assert build_body("groq", build_ask("chat", "qwen/qwen3.8-27b", schema=SCHEMA))["response_format"] == {
        "type": "json_object"
    }


@pytest.mark.parametrize(
    ("provider", "params", "named"),
    [("openai", {"top_k": 5}, "top_k"), ("groq", {"logprobs": 2}, "logprobs"), ("groq", {"n": 2}, "n")],
)
def test_a_parameter_that_the_endpoint_lacks_is_refused_before_sending(
    provider: str, params: dict[str, Any], named: str
) -> None:
    with pytest.raises(BadInput, match=named):
        build_provider(provider).to_wire(build_ask("chat", **params))


def build_delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def parse_chat_reply(provider: str, reply: Reply) -> tuple[dict[str, Any], Usage]:
    parsed = parse_reply(provider, build_ask("chat"), reply)
    return parsed.data, parsed.usage


def test_a_complete_reply_gives_choices_and_usage() -> None:
    body = {
        "model": "m-2",
        "choices": [{"message": {"content": "Hi", "reasoning": "hm"}, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 11,
            "completion_tokens": 7,
            "total_tokens": 18,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 3},
        },
    }
    data, usage = parse_chat_reply("openai", build_reply(body))
    assert (data["choices"][0]["text"], data["choices"][0]["reasoning"], data["model"]) == ("Hi", "hm", "m-2")
    assert usage == Usage(input_tokens=11, cached_input_tokens=4, output_tokens=7, requests=1)
    assert data["reasoning_tokens"] == 3


def test_xai_reasoning_tokens_are_added_and_its_price_is_read() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 115,
        "completion_tokens_details": {"reasoning_tokens": 100},
        "cost_in_usd_ticks": 12_345_678,
    }
    _, parsed_usage = parse_chat_reply("xai", build_reply({"choices": [{"message": {"content": "a"}}], "usage": usage}))
    assert (parsed_usage.output_tokens, parsed_usage.billed_usd) == (105, Decimal("0.0012345678"))


def test_the_chunks_of_a_stream_are_merged() -> None:
    stream = build_event_stream(
        {"choices": []},
        build_delta(role="assistant", content=None),
        build_delta(reasoning="think ", reasoning_content="think "),
        build_delta(content="Hel"),
        build_delta(content="lo\u2028there"),
        build_delta(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a"'}}]),
        build_delta(tool_calls=[{"index": 0, "function": {"arguments": ":1}"}}]),
        build_delta("stop"),
        {"choices": [], "x_groq": {"usage": {"prompt_tokens": 3, "completion_tokens": 2}}},
    )
    data, usage = parse_chat_reply("groq", stream)
    choice = data["choices"][0]
    assert (choice["text"], choice["reasoning"], choice["finish_reason"]) == ("Hello\u2028there", "think ", "stop")
    assert choice["tool_calls"] == [{"id": "c1", "name": "f", "arguments": '{"a":1}'}]
    assert (usage.input_tokens, usage.output_tokens) == (3, 2)


def test_logprobs_are_parsed_from_numbers_and_objects() -> None:
    number_stream = build_event_stream(
        {"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": -0.5}]}, build_delta("stop")
    )
    assert parse_chat_reply("together", number_stream)[0]["choices"][0]["logprobs"] == {
        "content": [{"token": "a", "logprob": -0.5}]
    }
    token = {"token": "a", "logprob": -1}
    object_stream = build_event_stream(
        {"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [token]}}]}, build_delta("stop")
    )
    assert parse_chat_reply("openai", object_stream)[0]["choices"][0]["logprobs"] == {"content": [token]}


def test_a_stream_without_done_is_complete_if_it_has_a_finish_reason() -> None:
    assert (
        parse_chat_reply("together", build_event_stream(build_delta(content="a"), build_delta("stop"), end=b""))[0][
            "choices"
        ][0]["text"]
        == "a"
    )
    problem = build_provider("together").classify(build_event_stream(build_delta(content="a"), end=b""), "chat")
    assert problem
    assert (problem.verdict, problem.billed) == ("unknown", True)


def test_an_error_inside_a_stream_is_billed_only_after_a_token() -> None:
    at_once = build_provider("openai").classify(
        build_event_stream({"error": {"message": "no", "code": "rate_limit_exceeded"}}), "chat"
    )
    assert at_once
    assert not at_once.billed
    later = build_provider("groq").classify(
        build_event_stream(build_delta(content="a"), {"x_groq": {"error": "over capacity"}}), "chat"
    )
    assert later
    assert (later.verdict, later.billed) == ("unknown", True)


def test_the_first_token_is_timed_and_reasoning_counts() -> None:
    assert has_token(b'data: {"choices":[{"delta":{"reasoning":"so"}}]}')
    assert not has_token(b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}')
    assert not has_token(b": keepalive")
    data, _ = parse_chat_reply(
        "together", build_reply({"choices": [{"message": {"content": "a"}}]}, headers={FIRST_CHUNK_HEADER: "321"})
    )
    assert data["first_token_ms"] == 321


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["choices", "delta", "message", "content", "index", "tool_calls", "usage", "error", "function"])
SHAPED: Any = st.recursive(
    JSON, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=25
)


@make_repeatable()
@given(st.lists(SHAPED, max_size=4), st.booleans(), st.booleans())
def test_any_reply_is_parsed_or_classified(chunks: list[Any], streamed: bool, done: bool) -> None:
    reply = (
        build_event_stream(*chunks, end=b"data: [DONE]\n\n" * done)
        if streamed
        else build_reply(chunks[0] if chunks else {})
    )
    adapter = build_provider("together")
    if adapter.classify(reply, "chat") is None:
        with contextlib.suppress(BadReply):
            (parsed,) = adapter.parse(reply, [build_ask("chat")])
            assert parsed.data["choices"]
